//! Messages to people, on standard error.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Logger;

/// Where the messages of the program itself come from; those of others are named.
const OURS: &str = "butter::";

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The runtime's own messages are not about this node.
        metadata.target().starts_with("butter")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
        let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
        let level = match record.level() {
            Level::Error => "error: ",
            Level::Warn => "warning: ",
            Level::Info => "",
            Level::Debug => "debug: ",
            Level::Trace => "trace: ",
        };
        let target = record.target();
        let place = if target == "butter" || target.starts_with(OURS) { "" } else { target };
        let between = if place.is_empty() { "" } else { ": " };
        // Nobody may be listening any more; that does not stop a node.
        let _ = writeln!(std::io::stderr().lock(), "{h:02}:{m:02}:{s:02}Z {level}{place}{between}{}", record.args());
    }

    fn flush(&self) {}
}

/// Begins to show messages. `verbosity`: −1 errors only, 0 what happens, 1 details, 2 everything.
pub fn init(verbosity: i8) {
    let level = match verbosity {
        ..0 => LevelFilter::Error,
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        2.. => LevelFilter::Trace,
    };
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(level);
    }
}

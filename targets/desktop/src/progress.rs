//! How far something is, on a terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use crate::units::{duration, size};

/// How often the line is drawn anew.
const EVERY: Duration = Duration::from_millis(200);

/// A line on standard error that tells how far something is; nothing where that is no terminal.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
    begun: Instant,
    drawn: Option<Instant>,
    /// Bytes done when it began, which say nothing of its speed.
    before: u64,
}

impl Progress {
    /// Begins to tell, unless `quiet`.
    pub fn new(quiet: bool) -> Progress {
        Progress { shown: !quiet && stderr().is_terminal(), begun: Instant::now(), drawn: None, before: 0 }
    }

    /// Begins anew, with something of which `before` bytes are done already.
    pub fn begin(&mut self, before: u64) {
        self.begun = Instant::now();
        self.before = before;
    }

    /// Tells that `done` bytes are done of `total`, when that is known.
    pub fn tell(&mut self, what: &str, done: u64, total: Option<u64>) {
        if self.due() {
            self.show(&line(what, done, total, self.before, self.begun.elapsed()));
        }
    }

    fn due(&self) -> bool {
        self.shown && self.drawn.is_none_or(|drawn| drawn.elapsed() >= EVERY)
    }

    /// Shows a line, unless one was shown just now.
    pub fn show(&mut self, line: &str) {
        if !self.due() {
            return;
        }
        self.drawn = Some(Instant::now());
        // To the line's begin, the text, and clear to its end.
        let _ = write!(stderr().lock(), "\r{line}\x1b[K");
    }

    /// Wipes the line.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(stderr().lock(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// `storing  12.3 MiB of 64.0 MiB  19 %  4.10 MiB/s  12.6 s left`
fn line(what: &str, done: u64, total: Option<u64>, before: u64, time: Duration) -> String {
    let mut line = format!("{what}  {}", size(done));
    if let Some(total) = total {
        let percent = u128::from(done) * 100 / u128::from(total.max(1));
        line.push_str(&format!(" of {}  {percent} %", size(total)));
    }
    let moved = done.saturating_sub(before);
    let ms = time.as_millis().max(1);
    if moved > 0 && ms >= 200 {
        let rate = u64::try_from(u128::from(moved) * 1000 / ms).unwrap_or(u64::MAX);
        line.push_str(&format!("  {}/s", size(rate)));
        if let Some(left) = total.map(|total| total.saturating_sub(done)).filter(|_| rate > 0) {
            line.push_str(&format!("  {} left", duration(Duration::from_secs(left / rate))));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_size_share_speed_and_rest() {
        let two_s = Duration::from_secs(2);
        assert_eq!(
            line("a", 2 << 20, Some(8 << 20), 0, two_s),
            "a  2.00 MiB of 8.00 MiB  25 %  1.00 MiB/s  6.0 s left"
        );
        assert_eq!(
            line("a", 6 << 20, Some(8 << 20), 4 << 20, two_s),
            "a  6.00 MiB of 8.00 MiB  75 %  1.00 MiB/s  2.0 s left"
        );
        assert_eq!(line("a", 5, None, 0, two_s), "a  5 B  2 B/s");
        assert_eq!(line("a", 0, Some(0), 0, Duration::ZERO), "a  0 B of 0 B  0 %");
    }
}

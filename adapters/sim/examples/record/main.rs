//! Records nodes of a simulated world, to be replayed on other machines: `cargo xtask ci trace` does so on microcontrollers.
//!
//! ```sh
//! cargo run --release -p butter-sim --example record -- 1 target/trace
//! ```
//!
//! writes `target/trace/0/recording`, `target/trace/1/recording` and so on, after replaying each here, and prints a line for each: its folder, its
//! bytes, and what every replay has to print.

mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use butter_replay::replay;

fn main() -> ExitCode {
    let args = std::env::args().skip(1).collect::<Vec<_>>();
    let [seed, folder] = args.as_slice() else {
        eprintln!("usage: record SEED FOLDER");
        return ExitCode::FAILURE;
    };
    let Ok(seed) = seed.parse() else {
        eprintln!("error: the seed has to be a number: {seed}");
        return ExitCode::FAILURE;
    };
    match write(seed, &PathBuf::from(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn write(seed: u64, folder: &std::path::Path) -> Result<(), String> {
    for (n, recording) in world::record(seed).into_iter().enumerate() {
        let mut bytes = recording.bytes.as_slice();
        let replayed = replay(|buffer| std::io::Read::read(&mut bytes, buffer).unwrap_or(0));
        if replayed != Ok(recording.replayed) {
            return Err(format!("node {n} of seed {seed} said {:?}, and replayed {replayed:?}", recording.replayed));
        }
        let folder = folder.join(n.to_string());
        let file = folder.join("recording");
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&file, &recording.bytes))
            .map_err(|e| format!("{}: {e}", file.display()))?;
        println!("{} {} {}", folder.display(), recording.bytes.len(), recording.replayed);
    }
    Ok(())
}

//! Running other programs from the repository's root, so that what failed can be repeated by hand.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a check ends with: why it failed.
pub type Done = Result<(), String>;

/// The folder that holds the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Runs `line` (words split at white space) in `folder`, a path from the root, with the environment `env` added.
pub fn run_in(folder: &str, env: &[(&str, &str)], line: &str) -> Done {
    let mut shown = String::new();
    if !folder.is_empty() {
        shown += &format!("cd {folder} && ");
    }
    for (name, value) in env {
        shown += &format!("{name}='{value}' ");
    }
    shown += line;
    println!("$ {shown}");
    let mut words = line.split_whitespace();
    let program = words.next().ok_or("an empty command")?;
    let mut command = Command::new(program);
    command.args(words).envs(env.iter().copied()).current_dir(root().join(folder));
    // Cargo tells its children which target folder and which package they belong to; a folder with a
    // configuration of its own must not hear of that.
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{status} from: {shown}")),
        Err(e) => Err(format!("{e}: {shown}")),
    }
}

/// Runs `line` in the root.
pub fn run(line: &str) -> Done {
    run_in("", &[], line)
}

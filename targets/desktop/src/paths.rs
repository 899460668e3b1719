//! Where things are kept.

use std::env;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The control socket's name in the data directory.
pub const SOCKET: &str = "control.sock";

/// The data directory when none is named: the platform's place for a program's data.
///
/// # Errors
/// The user has no home directory.
pub fn default_data_dir() -> Result<PathBuf, Failure> {
    // As the XDG base directory specification says, a relative path is ignored.
    let var = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        var("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        env::home_dir().map(|home| home.join("Library/Application Support"))
    } else {
        var("XDG_DATA_HOME")
            .or_else(|| env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".local/share")))
    };
    base.map(|base| base.join("butter")).ok_or_else(|| {
        Failure::failed("you have no home directory, so it must be said where the node keeps its data: --data DIR")
    })
}

/// Makes a data directory that only its owner can look into. One that is there already is left as it is.
///
/// # Errors
/// Names the directory and the cause.
pub fn make_data_dir(dir: &Path) -> Result<(), Failure> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|error| {
        Failure::failed(format!(
            "cannot make the data directory {}: {error}; choose another with --data DIR",
            dir.display()
        ))
    })
}

//! The data directory: who the node is and whom it knows, across restarts.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use butter_core::crypto::{Crypto, SecretKey};
use butter_core::id::NodeId;
use butter_crypto::RustCrypto;

use crate::error::Error;

/// The node's secret: 32 bytes, readable by its owner only.
const IDENTITY: &str = "identity";
/// The hosts remembered: host records in postcard, one after the other.
const HOSTS: &str = "hosts";
/// Locked while a node runs.
const LOCK: &str = "lock";

/// A data directory in use by this node: dropping it lets another node use it.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// 32 bytes from the system.
pub(crate) fn random() -> Result<[u8; 32], Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| Error::Entropy)?;
    Ok(bytes)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Replaces a file: after a crash it holds either the old bytes or the new ones.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    // A leftover of a crash may have other permissions.
    let _ = fs::remove_file(&new);
    let mut file = private(OpenOptions::new().write(true).create_new(true)).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    #[cfg(unix)]
    if let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Reads at most `most` bytes; `None` when there is no such file.
fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    match File::open(path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(most).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The node that a data directory belongs to, which may be running; `None`: it has no identity yet. Changes nothing.
///
/// # Errors
/// [`Error::DataDir`], [`Error::Identity`].
pub fn identity(dir: impl AsRef<Path>) -> Result<Option<NodeId>, Error> {
    Ok(read_secret(&dir.as_ref().join(IDENTITY))?.map(|secret| RustCrypto.node_id(&secret)))
}

/// As [`identity`], but makes the directory and an identity in it where there is none.
///
/// # Errors
/// As [`identity`], and [`Error::InUse`] when a node is starting there for the first time just now.
pub fn make_identity(dir: impl AsRef<Path>) -> Result<NodeId, Error> {
    match identity(&dir)? {
        Some(id) => Ok(id),
        None => Ok(RustCrypto.node_id(&DataDir::open(dir.as_ref())?.secret()?)),
    }
}

fn read_secret(path: &Path) -> Result<Option<SecretKey>, Error> {
    let bytes = read(path, 64).map_err(|source| Error::DataDir { path: path.to_owned(), source })?;
    let secret =
        |bytes: Vec<u8>| bytes.try_into().map(SecretKey).map_err(|_| Error::Identity { path: path.to_owned() });
    bytes.map(secret).transpose()
}

impl DataDir {
    /// Makes the directory if need be, and takes it for this node alone.
    pub fn open(path: &Path) -> Result<DataDir, Error> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::DataDir { path, source }
        };
        fs::create_dir_all(path).map_err(fail(path))?;
        let at = path.join(LOCK);
        let lock = private(OpenOptions::new().write(true).create(true).truncate(false)).open(&at).map_err(fail(&at))?;
        match lock.try_lock() {
            Ok(()) => Ok(DataDir { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(Error::DataDir { path: at, source }),
        }
    }

    /// The node's secret, drawn and written at the first start.
    pub fn secret(&self) -> Result<SecretKey, Error> {
        let path = self.path.join(IDENTITY);
        if let Some(secret) = read_secret(&path)? {
            return Ok(secret);
        }
        let secret = SecretKey(random()?);
        replace(&path, &secret.0).map_err(|source| Error::DataDir { path, source })?;
        Ok(secret)
    }

    /// What [`DataDir::save_hosts`] wrote; nothing when it cannot be read, as hosts can be found anew.
    pub fn hosts(&self, most: u64) -> Vec<u8> {
        read(&self.path.join(HOSTS), most).ok().flatten().unwrap_or_default()
    }

    /// Writes the hosts remembered.
    pub fn save_hosts(&self, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path.join(HOSTS);
        replace(&path, bytes).map_err(|source| Error::DataDir { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that is removed at the end.
    struct Temp(PathBuf);

    impl Temp {
        fn new(name: &str) -> Temp {
            let path = std::env::temp_dir().join(format!("butter-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Temp(path)
        }
    }

    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_identity_survives_a_restart() {
        let temp = Temp::new("identity");
        let first = DataDir::open(&temp.0).unwrap().secret().unwrap();
        let again = DataDir::open(&temp.0).unwrap().secret().unwrap();
        assert!(first == again);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(temp.0.join(IDENTITY)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "only its owner reads a secret");
        }
    }

    #[test]
    fn the_identity_is_told_without_a_node() {
        let temp = Temp::new("told");
        assert!(matches!(identity(&temp.0), Ok(None)));
        let made = make_identity(&temp.0).unwrap();
        let running = DataDir::open(&temp.0).unwrap();
        assert_eq!(identity(&temp.0).unwrap(), Some(made), "also while it runs");
        assert_eq!(make_identity(&temp.0).unwrap(), made);
        assert_eq!(RustCrypto.node_id(&running.secret().unwrap()), made);
    }

    #[test]
    fn a_damaged_identity_is_named_and_kept() {
        let temp = Temp::new("damaged");
        fs::create_dir_all(&temp.0).unwrap();
        fs::write(temp.0.join(IDENTITY), b"too short").unwrap();
        let dir = DataDir::open(&temp.0).unwrap();
        assert!(matches!(dir.secret(), Err(Error::Identity { path }) if path.ends_with(IDENTITY)));
        assert_eq!(fs::read(temp.0.join(IDENTITY)).unwrap(), b"too short");
    }

    #[test]
    fn two_nodes_cannot_share_a_directory() {
        let temp = Temp::new("lock");
        let first = DataDir::open(&temp.0).unwrap();
        assert!(matches!(DataDir::open(&temp.0), Err(Error::InUse { .. })));
        drop(first);
        DataDir::open(&temp.0).expect("free again");
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let temp = Temp::new("file");
        fs::write(&temp.0, b"").unwrap();
        let error = DataDir::open(&temp.0).unwrap_err();
        assert!(error.to_string().contains(temp.0.to_str().unwrap()), "{error}");
        fs::remove_file(&temp.0).unwrap();
    }

    #[test]
    fn hosts_are_replaced_as_a_whole() {
        let temp = Temp::new("hosts");
        let dir = DataDir::open(&temp.0).unwrap();
        assert_eq!(dir.hosts(100), b"");
        dir.save_hosts(b"first").unwrap();
        dir.save_hosts(b"second").unwrap();
        assert_eq!(dir.hosts(100), b"second");
        assert_eq!(dir.hosts(3), b"sec");
    }
}

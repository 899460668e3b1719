//! Bytes on their way into the network: small ones in memory, large ones in a file that vanishes with the process.
//!
//! A put reads its object twice, while a pipe can be read once; and it reads what the caller may read but the node may not.
//! So a command sends its bytes over the socket, and they are kept here until the put has ended.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes kept in memory, at most, by each put.
const MEMORY_MAX: usize = 256 << 10;

/// Files made by this process.
static FILES: AtomicU64 = AtomicU64::new(0);

/// Bytes being collected.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    memory: Vec<u8>,
    file: Option<File>,
    bytes: u64,
}

/// Bytes collected, to be read from their begin, and again.
#[derive(Debug)]
pub enum Spooled {
    /// In memory.
    Memory(Vec<u8>),
    /// In a file without a name.
    File(File),
}

/// A file for this process alone, that has no name any more: however the process ends, its bytes are freed.
fn nameless(dir: &Path) -> io::Result<File> {
    let name = format!("spool-{}-{}", std::process::id(), FILES.fetch_add(1, Ordering::Relaxed));
    let path = dir.join(name);
    // A leftover of a process of the same number that died between the next two lines.
    let _ = fs::remove_file(&path);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

impl Spool {
    /// Collects nothing yet; files are made in `dir`.
    pub fn new(dir: &Path) -> Spool {
        Spool { dir: dir.to_owned(), memory: Vec::new(), file: None, bytes: 0 }
    }

    /// Bytes collected.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether these further bytes fit in memory, so that adding them does not block.
    pub fn fits(&self, more: usize) -> bool {
        self.file.is_none() && self.memory.len() + more <= MEMORY_MAX
    }

    /// Adds bytes. Writes to a file, unless they [fit](Spool::fits).
    ///
    /// # Errors
    /// The file cannot be made or written to, for example because the disk is full.
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.fits(bytes.len()) {
            self.memory.extend_from_slice(bytes);
        } else {
            let file = match &mut self.file {
                Some(file) => file,
                none => {
                    let mut file = nameless(&self.dir)?;
                    file.write_all(&self.memory)?;
                    self.memory = Vec::new();
                    none.insert(file)
                }
            };
            file.write_all(bytes)?;
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// All is here.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn finish(self) -> io::Result<Spooled> {
        match self.file {
            None => Ok(Spooled::Memory(self.memory)),
            Some(mut file) => {
                file.rewind()?;
                Ok(Spooled::File(file))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn spooled(pieces: &[&[u8]]) -> (Spooled, u64) {
        let mut spool = Spool::new(&std::env::temp_dir());
        for piece in pieces {
            spool.add(piece).unwrap();
        }
        let bytes = spool.bytes();
        (spool.finish().unwrap(), bytes)
    }

    #[test]
    fn what_is_small_stays_in_memory() {
        let (spooled, bytes) = spooled(&[b"some", b" ", b"bytes"]);
        assert!(matches!(spooled, Spooled::Memory(memory) if memory == b"some bytes"));
        assert_eq!(bytes, 10);
        assert!(matches!(self::spooled(&[]), (Spooled::Memory(memory), 0) if memory.is_empty()));
    }

    #[test]
    fn what_is_large_is_in_a_file_without_a_name() {
        let pieces = [vec![1; MEMORY_MAX], vec![2; 1], vec![3; MEMORY_MAX]];
        let (spooled, bytes) = spooled(&pieces.each_ref().map(Vec::as_slice));
        let Spooled::File(mut file) = spooled else { panic!("{bytes} bytes in memory") };
        let mut all = Vec::new();
        file.read_to_end(&mut all).unwrap();
        assert_eq!(all, pieces.concat());
        let name = format!("spool-{}-", std::process::id());
        let left = fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok);
        assert_eq!(left.filter(|entry| entry.file_name().to_string_lossy().starts_with(&name)).count(), 0);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_an_error() {
        let mut spool = Spool::new(Path::new("does/not/exist"));
        assert!(spool.add(&[0; MEMORY_MAX + 1]).is_err());
    }
}

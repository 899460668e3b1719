//! Where the bytes of a put come from.

use std::io;
use std::path::Path;

use blocking::Unblock;
use butter_core::wire::BLOCK;
use futures_lite::{AsyncRead, AsyncReadExt};

/// Blocks kept of what was read: a put asks for each block at least twice, within an extent of 127.
const KEPT: usize = 256;
/// Bytes read from a file at a time.
const READ_AHEAD: usize = 1 << 20;

/// The bytes of an object to be put.
pub struct Source(Kind);

enum Kind {
    Bytes(Vec<u8>),
    Reader { reader: Box<dyn AsyncRead + Send + Unpin>, length: u64, window: Window },
}

/// The last blocks read.
#[derive(Default)]
struct Window {
    first: u32,
    bytes: Vec<u8>,
}

impl Source {
    /// The next `length` bytes of a reader, which is read as the put goes on. At most 1 MiB of them is kept in memory.
    pub fn reader(reader: impl AsyncRead + Send + Unpin + 'static, length: u64) -> Source {
        Source(Kind::Reader { reader: Box::new(reader), length, window: Window::default() })
    }

    /// A file, which is read as the put goes on. A put whose file changes meanwhile fails.
    ///
    /// # Errors
    /// The file cannot be opened, or is not a regular file.
    pub async fn file(path: impl AsRef<Path>) -> io::Result<Source> {
        let path = path.as_ref().to_owned();
        let (file, length) = blocking::unblock(move || {
            let file = std::fs::File::open(path)?;
            let meta = file.metadata()?;
            if !meta.is_file() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
            }
            Ok((file, meta.len()))
        })
        .await?;
        Ok(Source::reader(Unblock::with_capacity(READ_AHEAD, file), length))
    }

    /// Bytes of the object.
    pub fn length(&self) -> u64 {
        match &self.0 {
            Kind::Bytes(bytes) => bytes.len() as u64,
            Kind::Reader { length, .. } => *length,
        }
    }

    /// A block, which must not be more than [`KEPT`] before the latest one asked for.
    pub(crate) async fn block(&mut self, block: u32) -> io::Result<&[u8]> {
        let start = u64::from(block) * BLOCK as u64;
        let end = self.length().min(start + BLOCK as u64);
        let gone = || io::Error::new(io::ErrorKind::InvalidInput, "a block that is kept no more");
        match &mut self.0 {
            Kind::Bytes(bytes) => bytes.get(start as usize..end as usize).ok_or_else(gone),
            Kind::Reader { reader, window, .. } => {
                let mut at = u64::from(window.first) * BLOCK as u64 + window.bytes.len() as u64;
                while at < end {
                    if window.bytes.len() >= KEPT * BLOCK {
                        window.bytes.drain(..KEPT / 2 * BLOCK);
                        window.first += KEPT as u32 / 2;
                    }
                    let old = window.bytes.len();
                    let more = (end - at).min(BLOCK as u64) as usize;
                    window.bytes.resize(old + more, 0);
                    let read = reader.read_exact(window.bytes.get_mut(old..).unwrap_or_default()).await;
                    if let Err(error) = read {
                        window.bytes.truncate(old);
                        return Err(error);
                    }
                    at += more as u64;
                }
                let from = u64::from(block.checked_sub(window.first).ok_or_else(gone)?) * BLOCK as u64;
                let to = from + (end - start);
                window.bytes.get(from as usize..to as usize).ok_or_else(gone)
            }
        }
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Source {
        Source(Kind::Bytes(bytes))
    }
}

impl From<&[u8]> for Source {
    fn from(bytes: &[u8]) -> Source {
        bytes.to_vec().into()
    }
}

impl<const N: usize> From<&[u8; N]> for Source {
    fn from(bytes: &[u8; N]) -> Source {
        bytes.to_vec().into()
    }
}

impl From<&str> for Source {
    fn from(text: &str) -> Source {
        text.as_bytes().into()
    }
}

impl From<String> for Source {
    fn from(text: String) -> Source {
        text.into_bytes().into()
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({} bytes)", self.length())
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;
    use futures_lite::io::Cursor;

    use super::*;

    fn sample(blocks: usize, rest: usize) -> Vec<u8> {
        (0..blocks * BLOCK + rest).map(|i| (i / BLOCK) as u8 ^ i as u8).collect()
    }

    #[test]
    fn a_reader_gives_the_blocks_of_an_extent_again_in_any_order() {
        let bytes = sample(1000, 17);
        let mut source = Source::reader(Cursor::new(bytes.clone()), bytes.len() as u64);
        for extent in (0..=1000).step_by(127) {
            for twice in 0..2 {
                for i in 0..127 {
                    let block = extent + if twice == 0 { i } else { 126 - i };
                    if block > 1000 {
                        continue;
                    }
                    let (from, to) = (block * BLOCK, bytes.len().min((block + 1) * BLOCK));
                    assert_eq!(block_on(source.block(block as u32)).unwrap(), &bytes[from..to], "block {block}");
                }
            }
        }
        assert!(block_on(source.block(0)).is_err(), "long gone");
    }

    #[test]
    fn a_reader_that_ends_early_is_an_error() {
        let mut source = Source::reader(Cursor::new(vec![0; 100]), 200);
        let error = block_on(source.block(0)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn bytes_and_nothing_are_sources() {
        let bytes = sample(2, 5);
        let mut source = Source::from(bytes.clone());
        assert_eq!(block_on(source.block(2)).unwrap(), &bytes[2 * BLOCK..]);
        assert_eq!(block_on(Source::from("").block(0)).unwrap(), b"");
        assert_eq!(block_on(Source::reader(Cursor::new([]), 0).block(0)).unwrap(), b"");
    }

    #[test]
    fn files_are_read_and_folders_refused() {
        let path = std::env::temp_dir().join(format!("butter-source-{}", std::process::id()));
        let bytes = sample(300, 1);
        std::fs::write(&path, &bytes).unwrap();
        block_on(async {
            let mut source = Source::file(&path).await.unwrap();
            assert_eq!(source.length(), bytes.len() as u64);
            assert_eq!(source.block(299).await.unwrap(), &bytes[299 * BLOCK..300 * BLOCK]);
            assert!(Source::file(std::env::temp_dir()).await.is_err());
            assert!(Source::file(path.join("below")).await.is_err());
        });
        std::fs::remove_file(&path).unwrap();
    }
}

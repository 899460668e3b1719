//! The secret of a closed network, as a file.

use std::fs;
use std::io::Read;
use std::path::Path;

use butter_core::id::NodeId;

use crate::failure::Failure;

/// A longer file is no secret.
const FILE_MAX: u64 = 1024;

/// Reads a secret: 32 bytes as 64 hexadecimal digits or 52 characters of z-base-32; white space around them is ignored.
///
/// Passphrases are refused, as guessing one opens the network; so are raw bytes, as a passphrase may look like them.
///
/// # Errors
/// Says what is wrong with the file and how to make a right one.
pub fn read(path: &Path) -> Result<[u8; 32], Failure> {
    let shown = path.display();
    let file = fs::File::open(path)
        .map_err(|error| Failure::failed(format!("cannot read the secret file {shown}: {error}")))?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::failed(format!("cannot read the secret file {shown}: {error}")))?;
    warn_if_open(path);
    parse(&bytes).ok_or_else(|| {
        Failure::failed(format!(
            "{shown} does not hold a secret: it must be 32 random bytes as 64 hexadecimal digits (or 52 characters of z-base-32), \
             not a passphrase, which could be guessed. Make one with: openssl rand -hex 32 > {shown}"
        ))
    })
}

fn parse(bytes: &[u8]) -> Option<[u8; 32]> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    match text.len() {
        64 => {
            let mut secret = [0; 32];
            for (byte, digits) in secret.iter_mut().zip(text.as_bytes().chunks(2)) {
                let digits = digits.iter().all(u8::is_ascii_hexdigit).then(|| std::str::from_utf8(digits).ok())??;
                *byte = u8::from_str_radix(digits, 16).ok()?;
            }
            Some(secret)
        }
        _ => text.parse::<NodeId>().ok().map(|id| id.0),
    }
}

/// Says so when others can read the secret.
fn warn_if_open(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0) {
            let shown = path.display();
            log::warn!("others can read the secret in {shown}; forbid it with: chmod 600 {shown}");
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_text_forms_are_read() {
        let secret = [0xa7; 32];
        let hex = "a7".repeat(32);
        assert_eq!(parse(format!("{hex}\n").as_bytes()), Some(secret));
        assert_eq!(parse(hex.to_uppercase().as_bytes()), Some(secret));
        assert_eq!(parse(format!("  {}\r\n", NodeId(secret)).as_bytes()), Some(secret));
    }

    #[test]
    fn passphrases_and_raw_bytes_are_refused() {
        let sixty_four = "correct horse battery staple ".repeat(3);
        let bad: [&[u8]; 6] = [
            b"",
            b"correct horse battery staple",
            &[7; 32],
            &[b'a'; 63],
            &[b'g'; 64],
            sixty_four.as_bytes().get(..64).unwrap_or_default(),
        ];
        for bytes in bad {
            assert_eq!(parse(bytes), None, "{bytes:?}");
        }
    }
}

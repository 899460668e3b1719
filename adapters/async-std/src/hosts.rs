//! The file of known hosts: a version byte, then host records in postcard, one after the other.

use butter_core::Node as Core;
use butter_core::time::Instant;
use butter_core::wire::HostRecord;

use crate::net::LINK;

/// The file's version.
const VERSION: u8 = 1;
/// More bytes than one record takes.
const RECORD_MAX: usize = 128;

/// The longest file that is read.
pub(crate) fn bytes_max(hosts: usize) -> u64 {
    (1 + hosts.saturating_mul(RECORD_MAX)) as u64
}

/// All known hosts, as bytes.
pub(crate) fn write(core: &Core<'_>) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    for host in core.hosts() {
        if let Ok(record) = postcard::to_slice(&host.record(), &mut [0; RECORD_MAX]) {
            bytes.extend_from_slice(record);
        }
    }
    bytes
}

/// Tells the node the hosts in a file. What follows damaged bytes is not read.
pub(crate) fn read(core: &mut Core<'_>, now: Instant, bytes: &[u8]) {
    let Some((&VERSION, mut rest)) = bytes.split_first() else { return };
    while let Ok((record, left)) = postcard::take_from_bytes::<HostRecord>(rest) {
        core.remember(now, &record, LINK);
        rest = left;
    }
}

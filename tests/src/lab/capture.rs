//! What passes an interface.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::{RcvBuf, ReceiveTimeout};
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike as _};

/// How long the recorder waits before it looks whether it should stop, in milliseconds.
const LOOK_MS: i64 = 50;
/// Kernel memory for frames not yet read, in bytes.
const QUEUE: usize = 8 << 20;
/// The longest frame recorded whole, in bytes.
const FRAME_MAX: usize = 65_536;

/// A UDP datagram seen on the wire.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// When it was recorded.
    pub at: Instant,
    /// Who sent it, as seen here.
    pub from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// What it carries.
    pub data: Vec<u8>,
}

/// A frame as it was on the wire.
#[derive(Clone, Debug)]
pub struct Frame {
    /// When it was recorded.
    pub at: Instant,
    /// The frame, from the Ethernet header on.
    pub data: Vec<u8>,
}

/// A recording of an interface, both directions. Frames are in the order in which the kernel saw them.
pub struct Capture {
    stop: Arc<AtomicBool>,
    recorder: Option<JoinHandle<Vec<Frame>>>,
}

impl Capture {
    /// Starts to record in the namespace of the calling thread. When this returns, nothing is missed any more.
    pub(super) fn start(interface: &str) -> Capture {
        let index = if_nametoindex(interface).unwrap_or_else(|e| panic!("{interface}: {e}"));
        let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
            .unwrap_or_else(|e| panic!("packet socket: {e}"));
        setsockopt(&fd, ReceiveTimeout, &TimeVal::milliseconds(LOOK_MS))
            .unwrap_or_else(|e| panic!("receive time-out: {e}"));
        // A smaller queue than asked for is no error; only a very busy wire would overrun it.
        let _ = setsockopt(&fd, RcvBuf, &QUEUE);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let recorder = std::thread::spawn(move || record(&fd, index as usize, &stopped));
        Capture { stop, recorder: Some(recorder) }
    }

    /// Stops, and returns the frames.
    #[must_use]
    pub fn frames(mut self) -> Vec<Frame> {
        self.finish()
    }

    /// Stops, and returns the UDP datagrams, those to multicast groups included.
    #[must_use]
    pub fn datagrams(mut self) -> Vec<Datagram> {
        let frames = self.finish();
        frames.iter().filter_map(datagram).collect()
    }

    fn finish(&mut self) -> Vec<Frame> {
        self.stop.store(true, Ordering::Relaxed);
        self.recorder.take().and_then(|r| r.join().ok()).unwrap_or_default()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.finish();
    }
}

fn record(fd: &OwnedFd, interface: usize, stop: &AtomicBool) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut frame = vec![0; FRAME_MAX];
    loop {
        // Asked to stop, it still reads what the kernel has.
        let last = stop.load(Ordering::Relaxed);
        match recvfrom::<LinkAddr>(fd.as_raw_fd(), &mut frame) {
            Ok((length, from)) => {
                if from.is_some_and(|a| a.ifindex() == interface)
                    && let Some(seen) = frame.get(..length)
                {
                    frames.push(Frame { at: Instant::now(), data: seen.to_vec() });
                }
            }
            Err(_) if last => return frames,
            Err(_) => {}
        }
    }
}

fn datagram(frame: &Frame) -> Option<Datagram> {
    let packet = SlicedPacket::from_ethernet(&frame.data).ok()?;
    let (from, to): (IpAddr, IpAddr) = match packet.net? {
        NetSlice::Ipv4(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Ipv6(ip) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        NetSlice::Arp(_) => return None,
    };
    let Some(TransportSlice::Udp(udp)) = packet.transport else {
        return None;
    };
    Some(Datagram {
        at: frame.at,
        from: SocketAddr::new(from, udp.source_port()),
        to: SocketAddr::new(to, udp.destination_port()),
        data: udp.payload().to_vec(),
    })
}

#![no_std]
//! An embassy-net driver for virtio's network device, which emulators and hypervisors have: glue over the crate
//! `virtio-drivers`, without a heap.
//!
//! The device writes frames that came into `N` buffers of [`Frames`] and reads those to be sent from one more. Nothing is polled:
//! the device interrupts when it has used a buffer; the board's handler takes the interrupt back and calls
//! [`Interrupt::on_interrupt`].
//!
//! RAM: (`N` + 1) · 1,528 bytes, and two pages of 4 KB for each of two queues, which the board's [`Hal`] gives.

use core::sync::atomic::{Ordering, fence};
use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;
use virtio_drivers::device::net::VirtIONetRaw;
use virtio_drivers::transport::Transport;
use virtio_drivers::{Error, Hal};

/// The longest Ethernet frame without its checksum, in bytes.
pub const FRAME: usize = 1514;
/// A frame, and virtio's header before it; no less than the crate wants.
const BUFFER: usize = 1528;

/// What the interrupt handler and the driver share: a `static` of the board.
pub struct Interrupt(AtomicWaker);

impl Interrupt {
    /// Nobody waits yet.
    pub const fn new() -> Self {
        Interrupt(AtomicWaker::new())
    }

    /// To be called by the handler of the device's interrupt, which has taken it back (InterruptACK of virtio's MMIO).
    pub fn on_interrupt(&self) {
        self.0.wake();
    }
}

impl Default for Interrupt {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Interrupt")
    }
}

/// The memory that is lent to the device.
#[derive(Debug)]
pub struct Frames<const N: usize> {
    received: [[u8; BUFFER]; N],
    sent: [u8; BUFFER],
}

impl<const N: usize> Frames<N> {
    /// Empty.
    pub const fn new() -> Self {
        Frames { received: [[0; BUFFER]; N], sent: [0; BUFFER] }
    }
}

impl<const N: usize> Default for Frames<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The driver. `N`, a power of two, is how many frames may come while the stack is busy; more are lost.
pub struct VirtioNet<H: Hal, T: Transport, const N: usize> {
    device: VirtIONetRaw<H, T, N>,
    interrupt: &'static Interrupt,
    received: &'static mut [[u8; BUFFER]; N],
    /// Which buffer the device was lent by which token.
    lent: [usize; N],
    /// The buffer that the stack has read since: to be lent again.
    read: Option<usize>,
    sending: Sending,
}

struct Sending {
    buffer: &'static mut [u8; BUFFER],
    /// Of the frame that the device has not sent yet.
    token: Option<u16>,
}

impl<H: Hal, T: Transport, const N: usize> VirtioNet<H, T, N> {
    /// Starts the device and lends it all buffers.
    ///
    /// # Errors
    /// The device is no network device, or its queues are shorter than `N`.
    pub fn new(transport: T, interrupt: &'static Interrupt, frames: &'static mut Frames<N>) -> Result<Self, Error> {
        let device = VirtIONetRaw::new(transport)?;
        let Frames { received, sent } = frames;
        let sending = Sending { buffer: sent, token: None };
        let mut driver = VirtioNet { device, interrupt, received, lent: [0; N], read: None, sending };
        for buffer in 0..N {
            driver.lend(buffer)?;
        }
        Ok(driver)
    }

    fn lend(&mut self, buffer: usize) -> Result<(), Error> {
        let bytes = self.received.get_mut(buffer).ok_or(Error::InvalidParam)?;
        // SAFETY: the memory is static, and nobody looks at it before the device has given it back.
        #[allow(unsafe_code, reason = "the device reads and writes memory by itself")]
        let token = unsafe { self.device.receive_begin(bytes)? };
        *self.lent.get_mut(usize::from(token)).ok_or(Error::WrongToken)? = buffer;
        Ok(())
    }

    /// The next frame: which buffer it is in, where it begins there, and how long it is.
    fn take(&mut self) -> Option<(usize, usize, usize)> {
        if let Some(buffer) = self.read.take() {
            // It was the device's before, so that there is room in the queue.
            let _ = self.lend(buffer);
        }
        // The device must see that all before was taken, and interrupt for what comes, before we look whether there is more.
        fence(Ordering::SeqCst);
        let token = self.device.poll_receive()?;
        let buffer = *self.lent.get(usize::from(token))?;
        let bytes = self.received.get_mut(buffer)?;
        // SAFETY: this buffer was lent by this token.
        #[allow(unsafe_code, reason = "the device reads and writes memory by itself")]
        let taken = unsafe { self.device.receive_complete(token, bytes) };
        self.read = Some(buffer);
        // One that is shorter than its header is as good as empty, and the stack drops it.
        let (begin, length) = taken.unwrap_or_default();
        Some((buffer, begin, length.min(FRAME)))
    }

    /// Whether a frame can be sent.
    fn may_send(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let Some(token) = self.sending.token else { return true };
        if self.device.poll_transmit() != Some(token) {
            return false;
        }
        // SAFETY: this buffer was lent by this token.
        #[allow(unsafe_code, reason = "the device reads and writes memory by itself")]
        let done = unsafe { self.device.transmit_complete(token, self.sending.buffer.as_slice()) };
        if done.is_ok() {
            self.sending.token = None;
        }
        done.is_ok()
    }
}

/// A frame that came.
#[derive(Debug)]
pub struct Rx<'a>(&'a mut [u8]);

impl RxToken for Rx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for a frame to send.
pub struct Tx<'a, H: Hal, T: Transport, const N: usize> {
    device: &'a mut VirtIONetRaw<H, T, N>,
    sending: &'a mut Sending,
}

impl<H: Hal, T: Transport, const N: usize> TxToken for Tx<'_, H, T, N> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let Tx { device, sending: Sending { buffer, token } } = self;
        let header = device.fill_buffer_header(buffer.as_mut_slice()).unwrap_or(0);
        // Stacks keep to the length that the driver states: see `capabilities`.
        let end = header + length.min(FRAME);
        let result = f(buffer.get_mut(header..end).unwrap_or_default());
        // SAFETY: the memory is static, and nobody writes to it before the device has given it back: see `may_send`.
        #[allow(unsafe_code, reason = "the device reads and writes memory by itself")]
        let begun = unsafe { device.transmit_begin(buffer.get(..end).unwrap_or_default()) };
        *token = begun.ok();
        result
    }
}

impl<H: Hal, T: Transport, const N: usize> Driver for VirtioNet<H, T, N> {
    type RxToken<'a>
        = Rx<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Tx<'a, H, T, N>
    where
        Self: 'a;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Rx<'_>, Tx<'_, H, T, N>)> {
        self.interrupt.0.register(cx.waker());
        if !self.may_send() {
            return None;
        }
        let (buffer, begin, length) = self.take()?;
        let frame = self.received.get_mut(buffer)?.get_mut(begin..begin + length)?;
        Some((Rx(frame), Tx { device: &mut self.device, sending: &mut self.sending }))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Tx<'_, H, T, N>> {
        self.interrupt.0.register(cx.waker());
        self.may_send().then_some(Tx { device: &mut self.device, sending: &mut self.sending })
    }

    /// Up: the crate below does not tell what the device says of its link.
    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME;
        capabilities.max_burst_size = Some(1);
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.device.mac_address())
    }
}

impl<H: Hal, T: Transport, const N: usize> core::fmt::Debug for VirtioNet<H, T, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "VirtioNet({:02x?})", self.device.mac_address())
    }
}

#[cfg(test)]
mod tests;

#![no_std]
#![forbid(unsafe_code)]
//! An embassy-net driver for the Ethernet controller inside of TI's (Luminary Micro's) Stellaris LM3S microcontrollers,
//! with its PHY; QEMU's `lm3s6965evb` has it, without the PHY.
//!
//! The processor copies frames between a FIFO each way and one scratch frame each. Nothing is polled: the controller
//! interrupts, [`Interrupt::on_interrupt`] silences it and wakes the stack, and the stack arms it again once it has taken
//! all frames. All multicast frames are received; the stack drops what is of no group of its own.
//!
//! RAM: 3 KB for the two frames. Registers are reached through [`Registers`], so that tests stand in for the chip. What
//! is outside of the controller is the board's: its clocks and that of its PHY (RCGC2), the priority of its interrupt.

pub mod registers;

use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;
use registers::*;

/// The longest Ethernet frame without its checksum, in bytes.
pub const FRAME: usize = 1514;
/// Bytes of an Ethernet header: two addresses and a type.
const HEADER: usize = 14;
/// What a received frame's length counts besides the frame: itself (2) and the checksum (4).
const AROUND: usize = 6;
/// Reads of a register before it is given up that a bit changes. An access to the PHY takes 30 µs.
const TRIES: usize = 10_000;

/// How the controller is reached.
pub trait Registers {
    /// Reads the register at this offset in bytes.
    fn read(&mut self, at: u16) -> u32;
    /// Writes it.
    fn write(&mut self, at: u16, value: u32);
}

/// What the interrupt handler and the driver share: a `static` of the board.
pub struct Interrupt(AtomicWaker);

impl Interrupt {
    /// Nobody waits yet.
    pub const fn new() -> Self {
        Interrupt(AtomicWaker::new())
    }

    /// To be called by the handler of the controller's interrupt: it is silent from now on, until the stack has looked.
    pub fn on_interrupt(&self, registers: &mut impl Registers) {
        registers.write(IM, 0);
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

/// The driver. The board enables the interrupt's line after it has made it.
#[derive(Debug)]
pub struct StellarisEnet<R> {
    chip: Chip<R>,
    interrupt: &'static Interrupt,
    mac: [u8; 6],
    link: Link,
    received: [u8; FRAME],
}

#[derive(Debug)]
struct Chip<R> {
    registers: R,
    sent: [u8; FRAME],
}

/// What is known of the link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    /// Not read yet.
    Unknown,
    /// Whether it is up, as the PHY said, which interrupts when that changes.
    Up(bool),
    /// No PHY answers, as in emulators: up for ever.
    Emulated,
}

impl<R: Registers> StellarisEnet<R> {
    /// Starts the controller, with the MAC address that the board got from its flash (USER0 and USER1). `clock_hz` is that
    /// of the system.
    pub fn new(registers: R, interrupt: &'static Interrupt, mac: [u8; 6], clock_hz: u32) -> Self {
        let mut chip = Chip { registers, sent: [0; FRAME] };
        let [a, b, c, d, e, f] = mac;
        chip.registers.write(IM, 0);
        chip.registers.write(IA0, u32::from_le_bytes([a, b, c, d]));
        chip.registers.write(IA1, u32::from_le_bytes([e, f, 0, 0]));
        // The PHY is read at no more than 2.5 MHz: the system's clock through 2 · (MDV + 1).
        chip.registers.write(MDV, clock_hz.div_ceil(5_000_000).clamp(1, 256) - 1);
        let link = match chip.phy_read(PHY_ID) {
            0 | u16::MAX => Link::Emulated,
            _ => {
                chip.phy_write(PHY_INT, PHY_CHANGES);
                Link::Unknown
            }
        };
        chip.registers.write(TCTL, TXEN | PADEN | CRC | DUPLEX);
        chip.restart();
        chip.registers.write(RIS, u32::MAX);
        StellarisEnet { chip, interrupt, mac, link, received: [0; FRAME] }
    }
}

impl<R: Registers> Chip<R> {
    /// Begins to receive, with an empty FIFO.
    fn restart(&mut self) {
        self.registers.write(RCTL, RSTFIFO);
        self.registers.write(RCTL, RXEN | AMUL | BADCRC);
    }

    /// Waits until the PHY's last access has ended. One that never ends reads as whatever was read before.
    fn phy_ready(&mut self) {
        let _ = (0..TRIES).any(|_| self.registers.read(MCTL) & START == 0);
    }

    fn phy_read(&mut self, number: u8) -> u16 {
        self.registers.write(MCTL, register(number) | START);
        self.phy_ready();
        self.registers.read(MRXD) as u16
    }

    fn phy_write(&mut self, number: u8, value: u16) {
        self.registers.write(MTXD, value.into());
        self.registers.write(MCTL, register(number) | WRITE | START);
        self.phy_ready();
    }

    /// Takes the next frame out of the FIFO into `frame`; its length.
    fn receive(&mut self, frame: &mut [u8; FRAME]) -> Option<usize> {
        if self.registers.read(RIS) & FOV != 0 {
            // What is in the FIFO is no longer whole.
            self.registers.write(RIS, FOV);
            self.restart();
        }
        if self.registers.read(NP) & NPR == 0 {
            return None;
        }
        // The first word: the length, and the frame's first two bytes.
        let [low, high, a, b] = self.registers.read(DATA).to_le_bytes();
        let length = usize::from(u16::from_le_bytes([low, high]));
        if !(AROUND + HEADER..=AROUND + FRAME).contains(&length) {
            // No frame is like that: we read somewhere within one.
            self.restart();
            return None;
        }
        frame.iter_mut().zip([a, b]).for_each(|(to, from)| *to = from);
        for at in (2..length - 2).step_by(4) {
            let word = self.registers.read(DATA).to_le_bytes();
            // The checksum may end behind the scratch frame.
            let rest = frame.get_mut(at..).unwrap_or_default();
            rest.iter_mut().zip(word).for_each(|(to, from)| *to = from);
        }
        Some(length - AROUND)
    }

    fn may_send(&mut self) -> bool {
        self.registers.read(TR) & NEWTX == 0
    }

    fn send(&mut self, length: usize) {
        let Some((start, rest)) = self.sent.get(..length).and_then(|frame| frame.split_at_checked(2)) else { return };
        // The first word: how much follows the header, and the frame's first two bytes.
        let [low, high] = (length.saturating_sub(HEADER) as u16).to_le_bytes();
        let mut word = [low, high, 0, 0];
        word.iter_mut().skip(2).zip(start).for_each(|(to, from)| *to = *from);
        self.registers.write(DATA, u32::from_le_bytes(word));
        for part in rest.chunks(4) {
            let mut word = [0; 4];
            word.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
            self.registers.write(DATA, u32::from_le_bytes(word));
        }
        self.registers.write(TR, NEWTX);
    }
}

/// A frame that came.
#[derive(Debug)]
pub struct Rx<'a>(&'a mut [u8]);

impl RxToken for Rx<'_> {
    fn consume<T, F: FnOnce(&mut [u8]) -> T>(self, f: F) -> T {
        f(self.0)
    }
}

/// Room for a frame to send.
#[derive(Debug)]
pub struct Tx<'a, R>(&'a mut Chip<R>);

impl<R: Registers> TxToken for Tx<'_, R> {
    fn consume<T, F: FnOnce(&mut [u8]) -> T>(self, length: usize, f: F) -> T {
        // Stacks keep to the length that the driver states: see `capabilities`.
        let length = length.min(FRAME);
        let result = f(self.0.sent.get_mut(..length).unwrap_or_default());
        self.0.send(length);
        result
    }
}

/// What interrupts while the stack waits for frames, and while it waits for room to send.
const WAITING: u32 = RXINT | FOV | PHYINT;
const FULL: u32 = TXEMP | WAITING;

impl<R: Registers> Driver for StellarisEnet<R> {
    type RxToken<'a>
        = Rx<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Tx<'a, R>
    where
        Self: 'a;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Rx<'_>, Tx<'_, R>)> {
        self.interrupt.0.register(cx.waker());
        // First this, then a look: what comes in between leaves its mark, and interrupts at once.
        self.chip.registers.write(RIS, RXINT | TXEMP);
        if !self.chip.may_send() {
            self.chip.registers.write(IM, TXEMP | PHYINT);
            return None;
        }
        match self.chip.receive(&mut self.received) {
            Some(length) => Some((Rx(self.received.get_mut(..length)?), Tx(&mut self.chip))),
            None => {
                self.chip.registers.write(IM, WAITING);
                None
            }
        }
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Tx<'_, R>> {
        self.interrupt.0.register(cx.waker());
        self.chip.registers.write(RIS, TXEMP);
        if self.chip.may_send() {
            return Some(Tx(&mut self.chip));
        }
        self.chip.registers.write(IM, FULL);
        None
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        self.interrupt.0.register(cx.waker());
        let changed = self.chip.registers.read(RIS) & PHYINT != 0;
        let up = match self.link {
            Link::Emulated => true,
            Link::Up(up) if !changed => up,
            _ => {
                // Reading takes it back. A link that was lost for a moment is told by the first of two readings.
                self.chip.phy_read(PHY_INT);
                self.chip.registers.write(RIS, PHYINT);
                self.chip.phy_read(PHY_BSR);
                let up = self.chip.phy_read(PHY_BSR) & PHY_LINK != 0;
                self.link = Link::Up(up);
                up
            }
        };
        if up { LinkState::Up } else { LinkState::Down }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME;
        capabilities.max_burst_size = Some(1);
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.mac)
    }
}

#[cfg(test)]
mod tests;

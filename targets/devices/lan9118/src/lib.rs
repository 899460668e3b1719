#![no_std]
#![forbid(unsafe_code)]
//! An embassy-net driver for SMSC's (now Microchip's) LAN9118, an Ethernet controller with FIFOs on a 32-bit bus: on
//! ARM's MPS2 boards, and in QEMU.
//!
//! The processor copies frames between FIFOs and one scratch frame for each direction. Nothing is polled: the
//! chip interrupts, [`Interrupt::on_interrupt`] silences it and wakes the stack, and the stack arms it again once it has taken all
//! frames. All multicast frames are received; the stack drops what is of no group of its own.
//!
//! RAM: 3 KB for the two frames. Registers are reached through [`Registers`], so that tests stand in for the chip.

pub mod registers;

use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;
use registers::*;

/// The longest Ethernet frame without its checksum, in bytes.
pub const FRAME: usize = 1514;
/// Bytes of a frame's checksum, which the chip makes and checks.
const CHECKSUM: usize = 4;
/// Reads of a register before it is given up that a bit changes: milliseconds on a real bus, where a reset takes microseconds.
const TRIES: usize = 100_000;

/// How the chip is reached.
pub trait Registers {
    /// Reads the register at this offset in bytes.
    fn read(&mut self, at: u16) -> u32;
    /// Writes it.
    fn write(&mut self, at: u16, value: u32);
}

/// Why the chip cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// No LAN9118 answers there: wrong address, no power or no bus clock.
    Absent,
    /// It does not come out of its reset.
    Stuck,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Error::Absent => "no LAN9118 answers at this address",
            Error::Stuck => "the LAN9118 does not come out of its reset",
        })
    }
}

impl core::error::Error for Error {}

/// What the interrupt handler and the driver share: a `static` of the board.
pub struct Interrupt(AtomicWaker);

impl Interrupt {
    /// Nobody waits yet.
    pub const fn new() -> Self {
        Interrupt(AtomicWaker::new())
    }

    /// To be called by the handler of the chip's interrupt: the chip is silent from now on, until the stack has looked.
    pub fn on_interrupt(&self, chip: &mut impl Registers) {
        chip.write(INT_EN, 0);
        self.0.wake();
    }
}

impl Default for Interrupt {
    fn default() -> Self {
        Self::new()
    }
}

/// The driver. The board enables the interrupt's line after it has made it: before its reset the chip's pin is active.
pub struct Lan9118<R> {
    chip: Chip<R>,
    interrupt: &'static Interrupt,
    mac: [u8; 6],
    link: Option<LinkState>,
    received: [u8; FRAME],
}

#[derive(Debug)]
struct Chip<R> {
    registers: R,
    sent: [u8; FRAME],
}

impl<R: Registers> Lan9118<R> {
    /// Resets the chip and starts it, with the MAC address that it has from its EEPROM, or `mac` if given.
    ///
    /// # Errors
    /// The chip is not there or does not work.
    pub fn new(registers: R, interrupt: &'static Interrupt, mac: Option<[u8; 6]>) -> Result<Self, Error> {
        let mut chip = Chip { registers, sent: [0; FRAME] };
        if !chip.becomes(BYTE_TEST, u32::MAX, BYTE_TEST_VALUE) {
            return Err(Error::Absent);
        }
        chip.registers.write(HW_CFG, SRST);
        if !chip.becomes(HW_CFG, SRST, 0) || !chip.becomes(BYTE_TEST, u32::MAX, BYTE_TEST_VALUE) {
            return Err(Error::Stuck);
        }
        chip.registers.write(HW_CFG, HW_CFG_VALUE);
        chip.registers.write(INT_EN, 0);
        chip.registers.write(IRQ_CFG, IRQ_CFG_VALUE);
        // One frame received is enough for an interrupt, and room for one to send.
        chip.registers.write(FIFO_INT, 24 << 24);
        if let Some([a, b, c, d, e, f]) = mac {
            chip.mac_write(ADDRL, u32::from_le_bytes([a, b, c, d]));
            chip.mac_write(ADDRH, u32::from_le_bytes([e, f, 0, 0]));
        }
        let [a, b, c, d] = chip.mac_read(ADDRL).to_le_bytes();
        let [e, f, ..] = chip.mac_read(ADDRH).to_le_bytes();
        chip.phy_write(PHY_INT_MASK, PHY_CHANGES);
        chip.mac_write(MAC_CR, MAC_CR_VALUE);
        chip.registers.write(TX_CFG, TX_ON);
        chip.registers.write(INT_STS, u32::MAX);
        Ok(Lan9118 { chip, interrupt, mac: [a, b, c, d, e, f], link: None, received: [0; FRAME] })
    }
}

impl<R: Registers> Chip<R> {
    /// Whether the bits of `mask` become `value`, soon.
    fn becomes(&mut self, at: u16, mask: u32, value: u32) -> bool {
        (0..TRIES).any(|_| self.registers.read(at) & mask == value)
    }

    fn mac_read(&mut self, at: u8) -> u32 {
        self.registers.write(MAC_CSR_CMD, CSR_BUSY | CSR_READ | u32::from(at));
        // One that stays busy reads as nothing: the link is never up then.
        self.becomes(MAC_CSR_CMD, CSR_BUSY, 0);
        self.registers.read(MAC_CSR_DATA)
    }

    fn mac_write(&mut self, at: u8, value: u32) {
        self.registers.write(MAC_CSR_DATA, value);
        self.registers.write(MAC_CSR_CMD, CSR_BUSY | u32::from(at));
        self.becomes(MAC_CSR_CMD, CSR_BUSY, 0);
    }

    /// Waits until the PHY's last access has ended.
    fn phy_ready(&mut self) {
        for _ in 0..TRIES {
            if self.mac_read(MII_ACC) & MII_BUSY == 0 {
                return;
            }
        }
    }

    fn phy_read(&mut self, at: u8) -> u16 {
        self.mac_write(MII_ACC, MII_PHY | u32::from(at) << 6 | MII_BUSY);
        self.phy_ready();
        self.mac_read(MII_DATA) as u16
    }

    fn phy_write(&mut self, at: u8, value: u16) {
        self.mac_write(MII_DATA, value.into());
        self.mac_write(MII_ACC, MII_PHY | u32::from(at) << 6 | MII_WRITE | MII_BUSY);
        self.phy_ready();
    }

    /// Takes the next good frame out of the FIFO into `frame`; its length.
    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        while self.registers.read(RX_FIFO_INF) >> 16 & 0xff != 0 {
            let status = self.registers.read(RX_STATUS);
            let length = rx_length(status);
            let good = status & RX_ERROR == 0 && (CHECKSUM..=frame.len() + CHECKSUM).contains(&length);
            for at in (0..length).step_by(4) {
                let word = self.registers.read(RX_DATA).to_le_bytes();
                let rest = frame.get_mut(at..).filter(|_| good).unwrap_or_default();
                rest.iter_mut().zip(word).for_each(|(to, from)| *to = from);
            }
            if good {
                return Some(length - CHECKSUM);
            }
        }
        None
    }

    /// Whether a frame of any length can be sent.
    fn may_send(&mut self) -> bool {
        let state = self.registers.read(TX_FIFO_INF);
        // What became of frames sent is nobody's business, but the list of it must not fill up.
        for _ in 0..state >> 16 & 0xff {
            self.registers.read(TX_STATUS);
        }
        (state & 0xffff) as usize >= FRAME.next_multiple_of(4) + 8
    }

    fn send(&mut self, length: usize) {
        let frame = self.sent.get(..length).unwrap_or_default();
        self.registers.write(TX_DATA, TX_WHOLE | frame.len() as u32);
        self.registers.write(TX_DATA, frame.len() as u32);
        for part in frame.chunks(4) {
            let mut word = [0; 4];
            word.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
            self.registers.write(TX_DATA, u32::from_le_bytes(word));
        }
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

impl<R: Registers> Driver for Lan9118<R> {
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
        if !self.chip.may_send() {
            self.chip.registers.write(INT_STS, TDFA_INT);
            self.chip.registers.write(INT_EN, TDFA_INT | PHY_INT);
            return None;
        }
        // First this, then a look: a frame that comes in between leaves its mark, and interrupts at once.
        self.chip.registers.write(INT_STS, RSFL_INT);
        match self.chip.receive(&mut self.received) {
            Some(length) => Some((Rx(self.received.get_mut(..length)?), Tx(&mut self.chip))),
            None => {
                self.chip.registers.write(INT_EN, RSFL_INT | PHY_INT);
                None
            }
        }
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Tx<'_, R>> {
        self.interrupt.0.register(cx.waker());
        if self.chip.may_send() {
            return Some(Tx(&mut self.chip));
        }
        self.chip.registers.write(INT_STS, TDFA_INT);
        self.chip.registers.write(INT_EN, RSFL_INT | TDFA_INT | PHY_INT);
        None
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        self.interrupt.0.register(cx.waker());
        let changed = self.chip.registers.read(INT_STS) & PHY_INT != 0;
        match self.link {
            Some(state) if !changed => state,
            _ => {
                // Reading clears it. A link that was lost for a moment is told by the first of two readings of the state.
                self.chip.phy_read(PHY_INT_SOURCE);
                self.chip.registers.write(INT_STS, PHY_INT);
                self.chip.phy_read(PHY_BSR);
                let up = self.chip.phy_read(PHY_BSR) & PHY_LINK != 0;
                *self.link.insert(if up { LinkState::Up } else { LinkState::Down })
            }
        }
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

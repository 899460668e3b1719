//! Registers and their bits, by the names of the data sheet (LM3S6965, chapter 16).
#![allow(missing_docs)]

/// Offsets in bytes. The first tells interrupts when read, and takes them back when written.
pub const RIS: u16 = 0x00;
pub const IM: u16 = 0x04;
pub const RCTL: u16 = 0x08;
pub const TCTL: u16 = 0x0c;
pub const DATA: u16 = 0x10;
pub const IA0: u16 = 0x14;
pub const IA1: u16 = 0x18;
pub const MCTL: u16 = 0x20;
pub const MDV: u16 = 0x24;
pub const MTXD: u16 = 0x2c;
pub const MRXD: u16 = 0x30;
pub const NP: u16 = 0x34;
pub const TR: u16 = 0x38;

/// [`RIS`] and [`IM`]: a frame came; one was sent; one did not find room; the PHY has something to tell.
pub const RXINT: u32 = 1;
pub const TXEMP: u32 = 1 << 2;
pub const FOV: u32 = 1 << 3;
pub const PHYINT: u32 = 1 << 6;

/// [`RCTL`]: receives; all multicast frames, too; drops frames with a wrong checksum; empties the FIFO.
pub const RXEN: u32 = 1;
pub const AMUL: u32 = 1 << 1;
pub const BADCRC: u32 = 1 << 3;
pub const RSTFIFO: u32 = 1 << 4;

/// [`TCTL`]: sends; lengthens short frames; appends the checksum; full duplex.
pub const TXEN: u32 = 1;
pub const PADEN: u32 = 1 << 1;
pub const CRC: u32 = 1 << 2;
pub const DUPLEX: u32 = 1 << 4;

/// [`TR`]: begins to send; reads as one meanwhile.
pub const NEWTX: u32 = 1;

/// [`NP`]: frames in the FIFO.
pub const NPR: u32 = 0x3f;

/// [`MCTL`]: begins an access to the PHY's register at this number; reads as one meanwhile.
pub const START: u32 = 1;
pub const WRITE: u32 = 1 << 1;
pub const fn register(number: u8) -> u32 {
    (number as u32) << 3
}

/// Registers of the PHY inside.
pub const PHY_BSR: u8 = 1;
pub const PHY_ID: u8 = 2;
pub const PHY_INT: u8 = 17;

/// [`PHY_BSR`].
pub const PHY_LINK: u16 = 1 << 2;

/// [`PHY_INT`]: interrupts when the link changes, and when its speed is agreed on. Reading it takes them back.
pub const PHY_CHANGES: u16 = 1 << 10 | 1 << 8;

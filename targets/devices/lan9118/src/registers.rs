//! Registers and their bits, by the names of the data sheet.
#![allow(missing_docs)]

/// Directly addressed registers: offsets in bytes.
pub const RX_DATA: u16 = 0x00;
pub const TX_DATA: u16 = 0x20;
pub const RX_STATUS: u16 = 0x40;
pub const TX_STATUS: u16 = 0x48;
pub const IRQ_CFG: u16 = 0x54;
pub const INT_STS: u16 = 0x58;
pub const INT_EN: u16 = 0x5c;
pub const BYTE_TEST: u16 = 0x64;
pub const FIFO_INT: u16 = 0x68;
pub const TX_CFG: u16 = 0x70;
pub const HW_CFG: u16 = 0x74;
pub const RX_FIFO_INF: u16 = 0x7c;
pub const TX_FIFO_INF: u16 = 0x80;
pub const MAC_CSR_CMD: u16 = 0xa4;
pub const MAC_CSR_DATA: u16 = 0xa8;

/// What [`BYTE_TEST`] reads.
pub const BYTE_TEST_VALUE: u32 = 0x8765_4321;

/// [`HW_CFG`]: software reset; whole frames are sent (must be one); 5 KB of the FIFOs are for sending.
pub const SRST: u32 = 1;
pub const HW_CFG_VALUE: u32 = 1 << 20 | 5 << 16;

/// [`IRQ_CFG`]: the pin is push-pull, active high, and enabled.
pub const IRQ_CFG_VALUE: u32 = 1 << 8 | 1 << 4 | 1;

/// [`INT_STS`] and [`INT_EN`].
pub const RSFL_INT: u32 = 1 << 3;
pub const TDFA_INT: u32 = 1 << 9;
pub const PHY_INT: u32 = 1 << 18;

/// [`TX_CFG`].
pub const TX_ON: u32 = 1 << 1;

/// [`RX_STATUS`]: something is wrong with the frame; its length, checksum included.
pub const RX_ERROR: u32 = 1 << 15;
pub const fn rx_length(status: u32) -> usize {
    (status >> 16 & 0x3fff) as usize
}

/// First word of a frame to be sent: it is first and last segment.
pub const TX_WHOLE: u32 = 1 << 13 | 1 << 12;

/// [`MAC_CSR_CMD`].
pub const CSR_BUSY: u32 = 1 << 31;
pub const CSR_READ: u32 = 1 << 30;

/// Registers of the MAC, behind [`MAC_CSR_CMD`].
pub const MAC_CR: u8 = 1;
pub const ADDRH: u8 = 2;
pub const ADDRL: u8 = 3;
pub const MII_ACC: u8 = 6;
pub const MII_DATA: u8 = 7;

/// [`MAC_CR`]: full duplex, all multicast frames, sending, receiving.
pub const MAC_CR_VALUE: u32 = 1 << 20 | 1 << 19 | 1 << 3 | 1 << 2;

/// [`MII_ACC`]: the PHY inside has address 1.
pub const MII_PHY: u32 = 1 << 11;
pub const MII_WRITE: u32 = 1 << 1;
pub const MII_BUSY: u32 = 1;

/// Registers of the PHY.
pub const PHY_BSR: u8 = 1;
pub const PHY_INT_SOURCE: u8 = 29;
pub const PHY_INT_MASK: u8 = 30;

/// [`PHY_BSR`].
pub const PHY_LINK: u16 = 1 << 2;

/// [`PHY_INT_SOURCE`]: the link went down; its speed is agreed on.
pub const PHY_CHANGES: u16 = 1 << 4 | 1 << 6;

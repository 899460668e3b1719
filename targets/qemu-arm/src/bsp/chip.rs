//! The LAN9118 on the board's bus.

use butter_lan9118::{Error, Interrupt, Lan9118, Registers};

use super::{Irq, Register, enable};

const BASE: usize = 0x4020_0000;

static INTERRUPT: Interrupt = Interrupt::new();

/// Where the chip is.
#[derive(Clone, Copy)]
pub struct Bus;

impl Registers for Bus {
    fn read(&mut self, at: u16) -> u32 {
        Register(BASE + usize::from(at)).read()
    }

    fn write(&mut self, at: u16, value: u32) {
        Register(BASE + usize::from(at)).write(value);
    }
}

/// The driver, running; with the MAC address that QEMU was told.
pub fn start() -> Result<Lan9118<Bus>, Error> {
    let driver = Lan9118::new(Bus, &INTERRUPT, None)?;
    enable(Irq::Ethernet);
    Ok(driver)
}

pub fn on_interrupt() {
    INTERRUPT.on_interrupt(&mut Bus);
}

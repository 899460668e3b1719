//! What QEMU's mps2-an385 needs: its registers, its interrupts, its clock.

pub mod chip;
pub mod executor;
pub mod stack;
pub mod time;

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use cortex_m_rt::exception;

/// Interrupts, by their number at the NVIC.
#[derive(Clone, Copy)]
pub enum Irq {
    /// The free-running timer has wrapped.
    Clock = 8,
    /// The alarm is due.
    Alarm = 9,
    /// The Ethernet controller.
    Ethernet = 13,
}

// SAFETY: the numbers are those of the board's interrupts, and do not change.
unsafe impl InterruptNumber for Irq {
    fn number(self) -> u16 {
        self as u16
    }
}

/// Lets an interrupt come.
pub fn enable(irq: Irq) {
    // SAFETY: no critical section is built on masked interrupts here.
    unsafe { NVIC::unmask(irq) }
}

/// A register of the machine.
#[derive(Clone, Copy)]
pub struct Register(pub usize);

impl Register {
    /// Reads it.
    pub fn read(self) -> u32 {
        // SAFETY: only addresses of this board's devices are made into registers, all of 32 bits.
        unsafe { (self.0 as *const u32).read_volatile() }
    }

    /// Writes it.
    pub fn write(self, value: u32) {
        // SAFETY: as above; none of these devices writes to memory.
        unsafe { (self.0 as *mut u32).write_volatile(value) }
    }
}

/// All interrupts: the vector table has no names for those of a machine.
#[exception]
unsafe fn DefaultHandler(irq: i16) {
    match irq {
        8 => time::on_wrap(),
        9 => time::on_alarm(),
        13 => chip::on_interrupt(),
        other => panic!("interrupt {other} was never enabled"),
    }
}

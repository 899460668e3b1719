//! embassy's executor, sleeping by WFI: QEMU takes the WFE of embassy's own for doing nothing, and would spin.

use core::sync::atomic::{AtomicBool, Ordering};

use embassy_executor::Spawner;
use embassy_executor::raw::Executor;
use static_cell::StaticCell;

static WORK: AtomicBool = AtomicBool::new(true);

// SAFETY: embassy's executor declares exactly this symbol, for us to define.
#[unsafe(export_name = "__pender")]
fn pender(_: *mut ()) {
    WORK.store(true, Ordering::Release);
}

/// Runs tasks for ever; `spawn` starts the first ones.
pub fn run(spawn: impl FnOnce(Spawner)) -> ! {
    static EXECUTOR: StaticCell<Executor> = StaticCell::new();
    let executor: &'static Executor = EXECUTOR.init(Executor::new(core::ptr::null_mut()));
    spawn(executor.spawner());
    loop {
        // SAFETY: called here only, and from no interrupt.
        unsafe { executor.poll() };
        cortex_m::interrupt::disable();
        // An interrupt that comes now waits, and WFI does not sleep while one waits.
        if !WORK.swap(false, Ordering::Acquire) {
            cortex_m::asm::wfi();
        }
        // SAFETY: they were enabled before.
        unsafe { cortex_m::interrupt::enable() };
    }
}

//! How deep the stack was: it is painted at start, and what is painted no more was used.

const PAINT: u32 = 0xb07f_b07f;
/// Words near the stack pointer that are not painted: the painter's own.
const OWN: usize = 64;

unsafe extern "C" {
    /// The end of static variables, and the beginning of the stack; by cortex-m-rt.
    static mut __sheap: u32;
    static mut _stack_start: u32;
}

fn bounds() -> (*mut u32, *mut u32) {
    (&raw mut __sheap, &raw mut _stack_start)
}

/// Paints what is free now.
pub fn paint() {
    let (mut at, _) = bounds();
    let here = cortex_m::register::msp::read() as *mut u32;
    let end = here.wrapping_sub(OWN);
    while at < end {
        // SAFETY: between the end of static variables and the stack pointer, where nothing is yet.
        unsafe { at.write_volatile(PAINT) };
        at = at.wrapping_add(1);
    }
}

/// Bytes of the stack, and how many were used at its deepest. All of them: it has very likely run over static variables.
pub fn used() -> (usize, usize) {
    let (bottom, top) = bounds();
    let mut at = bottom;
    // SAFETY: within the stack, whose words may be read at any time.
    while at < top && unsafe { at.read_volatile() } == PAINT {
        at = at.wrapping_add(1);
    }
    (top as usize - bottom as usize, top as usize - at as usize)
}

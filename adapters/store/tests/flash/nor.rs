//! NOR flash that wears, tears and insists on its rules: a word is written once between two erases.

use std::cell::RefCell;
use std::rc::Rc;

use butter_core::rng::Rng;
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

pub const PAGE: usize = 4096;
const WORD: usize = 4;

/// The power is off, or the caller has broken a rule.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Fault {
    Off,
    Broken,
}

impl NorFlashError for Fault {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

#[derive(Clone)]
pub struct Chip {
    pub bytes: Vec<u8>,
    /// Whether a word was written since its page was erased.
    written: Vec<bool>,
    torn: Vec<bool>,
    /// Erases of each page.
    pub erases: Vec<u32>,
    pub bytes_written: u64,
    /// Writes and erases.
    pub changes: u64,
    /// Changes left until the power goes; the change that comes then is torn.
    pub until_cut: Option<u64>,
    /// What a torn change leaves.
    pub rng: Rng,
    off: bool,
}

impl Chip {
    pub fn new(pages: usize) -> Self {
        Chip {
            bytes: vec![0xff; pages * PAGE],
            written: vec![false; pages * PAGE / WORD],
            torn: vec![false; pages * PAGE / WORD],
            erases: vec![0; pages],
            bytes_written: 0,
            changes: 0,
            until_cut: None,
            rng: Rng::new([7; 16]),
            off: false,
        }
    }

    /// Power is back.
    pub fn power_on(&mut self) {
        (self.off, self.until_cut) = (false, None);
    }

    /// Counts a change. `Some(whole)`: whether it is whole; else the power is off.
    fn change(&mut self) -> Result<bool, Fault> {
        if self.off {
            return Err(Fault::Off);
        }
        self.changes += 1;
        let cut = self.until_cut == Some(0);
        self.off = cut;
        self.until_cut = self.until_cut.map(|left| left.saturating_sub(1));
        Ok(!cut)
    }
}

/// A chip that outlives whoever uses it.
#[derive(Clone)]
pub struct Nor(pub Rc<RefCell<Chip>>);

impl Nor {
    pub fn new(pages: usize) -> Self {
        Nor(Rc::new(RefCell::new(Chip::new(pages))))
    }

    /// A chip with the same content.
    pub fn copy(&self) -> Self {
        Nor(Rc::new(RefCell::new(self.0.borrow().clone())))
    }
}

impl ErrorType for Nor {
    type Error = Fault;
}

impl ReadNorFlash for Nor {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Fault> {
        let chip = self.0.borrow();
        if chip.off {
            return Err(Fault::Off);
        }
        let from = chip.bytes.get(offset as usize..offset as usize + bytes.len()).ok_or(Fault::Broken)?;
        bytes.copy_from_slice(from);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.borrow().bytes.len()
    }
}

impl NorFlash for Nor {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        // Everybody else has a turn while a page is erased.
        futures_lite::future::yield_now().await;
        let mut chip = self.0.borrow_mut();
        let (from, to) = (from as usize, to as usize);
        assert!(from.is_multiple_of(PAGE) && to.is_multiple_of(PAGE) && to <= chip.bytes.len(), "erase {from}..{to}");
        for page in from / PAGE..to / PAGE {
            let whole = chip.change()?;
            chip.erases[page] += 1;
            let mood = chip.rng.below(4);
            for at in page * PAGE..(page + 1) * PAGE {
                // A torn erase leaves anything: flashes clear a page before they erase it.
                chip.bytes[at] = match mood {
                    _ if whole => 0xff,
                    0 => chip.bytes[at] | chip.rng.below(256) as u8,
                    1 => 0,
                    2 => chip.bytes[at] & chip.rng.below(256) as u8,
                    _ => chip.bytes[at] | u8::from(chip.rng.below(9) == 0),
                };
                chip.written[at / WORD] &= !whole;
                chip.torn[at / WORD] &= !whole;
            }
            if !whole {
                return Err(Fault::Off);
            }
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Fault> {
        let mut chip = self.0.borrow_mut();
        let offset = offset as usize;
        assert!(
            offset.is_multiple_of(WORD) && bytes.len().is_multiple_of(WORD),
            "unaligned write of {} at {offset}",
            bytes.len()
        );
        assert!(offset + bytes.len() <= chip.bytes.len(), "write past the end");
        let whole = chip.change()?;
        let len = if whole { bytes.len() } else { chip.rng.below(bytes.len() as u32) as usize };
        for (i, byte) in bytes.iter().enumerate().take(len + usize::from(!whole)) {
            let at = offset + i;
            if i.is_multiple_of(WORD) {
                // A word that a cut left half written may be cleared: that ends the same whatever was there.
                let cleared = chip.torn[at / WORD] && bytes[i..i + WORD] == [0; WORD];
                assert!(!chip.written[at / WORD] || cleared, "the word at {at} is written twice");
                chip.written[at / WORD] = true;
            }
            // The byte at which the power goes has some of its zeros only.
            let torn = if i == len { chip.rng.below(256) as u8 } else { 0 };
            chip.bytes[at] &= byte | torn;
            chip.bytes_written += 1;
        }
        if !whole {
            // A word that no zero has reached cannot be told from an erased one, and may be written as one.
            let word = (offset + len) / WORD;
            chip.torn[word] = true;
            chip.written[word] = chip.bytes[word * WORD..(word + 1) * WORD] != [0xff; WORD];
        }
        if whole { Ok(()) } else { Err(Fault::Off) }
    }
}

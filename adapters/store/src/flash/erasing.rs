//! Erases that end, whenever the power goes.
//!
//! A page whose erase was cut off may read as anything: as the whole page that it was, with its marks of a page in use and its
//! records damaged. The map of `sequential_storage` takes such a page for one that was not moved yet, drops the good
//! copies, and moves the damaged ones. So it is written down which page is about to be erased, and after a cut it is erased again
//! before anybody looks. Two pages are written in turn; each holds a line per erase.

use embedded_storage_async::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

/// Pages used for this.
pub(super) const LOG_PAGES: usize = 2;
/// Bytes of half a line, at least: the number, the page, and a checksum of both.
const LINE: usize = 12;
/// The longest word that a flash has.
const WORD_MAX: usize = 32;

/// A flash of which the first two pages of a region are this log, and the map uses the others.
pub(super) struct Erasing<F> {
    flash: F,
    start: u32,
    /// The number of the next line, and its place: counted over both pages.
    number: u32,
    line: u32,
}

fn halves(number: u32, page: u32) -> [u8; LINE] {
    let mut line = [0; LINE];
    let (body, sum) = line.split_at_mut(8);
    body.iter_mut().zip(number.to_le_bytes().into_iter().chain(page.to_le_bytes())).for_each(|(to, from)| *to = from);
    let hash = crc32fast::hash(body).to_le_bytes();
    sum.copy_from_slice(&hash);
    line
}

impl<F: NorFlash> Erasing<F> {
    /// Bytes of half a line: what is written before an erase; the other half is written after it.
    const HALF: u32 = LINE.next_multiple_of(F::WRITE_SIZE).next_multiple_of(F::READ_SIZE) as u32;
    /// Lines of a page.
    const LINES: u32 = F::ERASE_SIZE as u32 / (2 * Self::HALF);

    fn at(&self, line: u32) -> u32 {
        let page = line / Self::LINES % LOG_PAGES as u32;
        self.start + page * F::ERASE_SIZE as u32 + line % Self::LINES * 2 * Self::HALF
    }

    async fn half(&mut self, at: u32) -> Result<[u8; LINE + WORD_MAX], F::Error> {
        let mut half = [0xff; LINE + WORD_MAX];
        let len = (Self::HALF as usize).min(half.len());
        self.flash.read(at, half.get_mut(..len).unwrap_or_default()).await?;
        Ok(half)
    }

    /// Reads the log, and ends an erase that was cut off.
    pub async fn open(flash: F, start: u32) -> Result<Self, F::Error> {
        const {
            assert!(
                F::WRITE_SIZE <= WORD_MAX && F::READ_SIZE <= WORD_MAX,
                "the flash's words are too long: 32 bytes at most"
            )
        };
        let mut log = Erasing { flash, start, number: 0, line: 0 };
        let mut last = None;
        for line in 0..LOG_PAGES as u32 * Self::LINES {
            let half = log.half(log.at(line)).await?;
            let (number, rest) =
                half.split_first_chunk().map_or((0, &[][..]), |(n, rest)| (u32::from_le_bytes(*n), rest));
            let page = rest.first_chunk().map_or(0, |page| u32::from_le_bytes(*page));
            if half.starts_with(&halves(number, page)) && number >= log.number {
                (log.number, log.line) = (number + 1, line);
                last = Some(page);
            }
        }
        let Some(page) = last else {
            // Nothing was ever erased, or nothing that can be read was: begin with a clean page.
            log.line = 2 * Self::LINES - 1;
            return Ok(log);
        };
        let after = log.half(log.at(log.line) + Self::HALF).await?;
        if after.iter().all(|byte| *byte == 0xff) {
            log.flash.erase(page, page + F::ERASE_SIZE as u32).await?;
            log.end().await?;
        }
        Ok(log)
    }

    async fn end(&mut self) -> Result<(), F::Error> {
        let at = self.at(self.line) + Self::HALF;
        let zeros = [0; LINE + WORD_MAX];
        self.flash.write(at, zeros.get(..Self::HALF as usize).unwrap_or_default()).await
    }

    /// Goes to a line that is clean. The page that is cleaned for it has only lines of erases that have ended.
    async fn next_line(&mut self) -> Result<(), F::Error> {
        loop {
            self.line = (self.line + 1) % (LOG_PAGES as u32 * Self::LINES);
            let at = self.at(self.line);
            if self.line.is_multiple_of(Self::LINES) {
                return self.flash.erase(at, at + F::ERASE_SIZE as u32).await;
            }
            let (first, second) = (self.half(at).await?, self.half(at + Self::HALF).await?);
            if first.iter().chain(&second).all(|byte| *byte == 0xff) {
                return Ok(());
            }
        }
    }
}

impl<F: NorFlash> ErrorType for Erasing<F> {
    type Error = F::Error;
}

impl<F: NorFlash> ReadNorFlash for Erasing<F> {
    const READ_SIZE: usize = F::READ_SIZE;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.flash.read(offset, bytes).await
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl<F: NorFlash> NorFlash for Erasing<F> {
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        for page in (from..to).step_by(F::ERASE_SIZE) {
            self.next_line().await?;
            let mut line = [0xff; LINE + WORD_MAX];
            line.iter_mut().zip(halves(self.number, page)).for_each(|(to, from)| *to = from);
            self.number = self.number.wrapping_add(1);
            let at = self.at(self.line);
            self.flash.write(at, line.get(..Self::HALF as usize).unwrap_or_default()).await?;
            self.flash.erase(page, page + F::ERASE_SIZE as u32).await?;
            self.end().await?;
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.flash.write(offset, bytes).await
    }
}

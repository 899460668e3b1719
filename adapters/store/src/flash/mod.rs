//! Blocks, seats and the identity in NOR flash.
//!
//! The flash is a log of small records over all pages in turn ([`sequential_storage`]'s map): every page is erased as often as
//! any other, and a power cut at any byte leaves the record before or the record after. A block is longer than a page of most
//! flashes has room for, so it is cut into chunks, and its first chunk, which has the note and a checksum of all, is written
//! last: a block is there with it, or not at all. A list of the records is in RAM, since a look through the flash is slow.

mod erasing;

use butter_core::Node;
use butter_core::content::{ItemInfo, Kind};
use butter_core::crypto::SecretKey;
use butter_core::id::{GroupId, Key};
use butter_core::storage::{BlockNote, BlockRef, SEAT_BYTES, StoreError, StoreOp};
use butter_core::time::Instant;
use butter_core::wire::BLOCK;
use embedded_storage_async::nor_flash::NorFlash;
use sequential_storage::Error as MapError;
use sequential_storage::cache::Cache;
use sequential_storage::cache::page_pointers::ArrayPagePointers;
use sequential_storage::cache::page_states::ArrayPageStates;
use sequential_storage::map::{MapConfig, MapStorage};

use erasing::{Erasing, LOG_PAGES};

/// Bytes of a chunk: six fit a page of 4,096 bytes.
const CHUNK: usize = 600;
/// Bytes before a record's own: what it is (1), its length (2), its number in time (4), a checksum of its bytes (4), a
/// block's place (1 + 32), its group (16), and the item (1 + 1 + 4 + 4).
const HEADER: usize = 70;
/// Chunks of the longest record.
const CHUNKS: usize = (HEADER + BLOCK).div_ceil(CHUNK);
/// Bytes of the buffer for one chunk with its key, and room to round up to the largest word that a flash has.
const BUFFER: usize = CHUNK + 40;
/// Where the identity is.
const IDENTITY: u32 = u32::MAX;
/// Bytes that a chunk takes besides its own, at most, for words of `word` bytes: its header, key, and rounding up twice.
const fn overhead(word: usize) -> usize {
    8 + 4 + 2 * (word - 1)
}

/// What the flash cannot do. Each says what to do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum FlashError {
    /// What is there can be neither read nor repaired.
    Corrupt,
    /// The flash itself failed to read, write or erase.
    Failed,
}

impl core::fmt::Display for FlashError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            FlashError::Corrupt => {
                "the flash region is neither empty nor Butter's: check its start and length, or erase it (identity and blocks are lost)"
            }
            FlashError::Failed => {
                "the flash cannot be read, written or erased: check its wiring, that the region is within it, and write protection"
            }
        })
    }
}

impl core::error::Error for FlashError {}

impl<E> From<MapError<E>> for FlashError {
    fn from(error: MapError<E>) -> Self {
        match error {
            MapError::Storage { .. } => FlashError::Failed,
            _ => FlashError::Corrupt,
        }
    }
}

/// What is kept after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Restored {
    /// Seats that the node has taken again.
    pub seats: u16,
    /// Blocks that it has taken again.
    pub blocks: u16,
    /// Seats and blocks that it has no place for: they were forgotten.
    pub refused: u16,
}

/// What a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Name {
    Free,
    Block(BlockRef),
    Seat(GroupId),
}

/// A place for a record. 48 bytes.
#[derive(Clone, Copy, Debug)]
struct Place {
    name: Name,
    /// The larger is the newer.
    number: u32,
    /// Bit i: there are bytes in chunk i.
    chunks: u8,
    len: u16,
}

impl Place {
    const FREE: Place = Place { name: Name::Free, number: 0, chunks: 0, len: 0 };
}

const _: () = assert!(CHUNKS <= 8 && size_of::<Place>() <= 48 && SEAT_BYTES <= BLOCK);

/// Chunks of a record of `len` bytes.
const fn chunks(len: usize) -> usize {
    (HEADER + len).div_ceil(CHUNK)
}

/// The first chunk's head.
struct Header {
    name: Name,
    len: u16,
    number: u32,
    sum: u32,
    note: BlockNote,
}

impl Header {
    fn write(&self) -> [u8; HEADER] {
        let mut head = [0; HEADER];
        let (what, index, key, group) = match self.name {
            Name::Free => (0, 0, Key::default(), GroupId::default()),
            Name::Block(at) => (1, at.index, at.key, self.note.group),
            Name::Seat(group) => (2, 0, Key::default(), group),
        };
        let kind = match self.note.item.kind {
            Kind::Block => 0,
            Kind::Extent => 1,
            Kind::Tree => 2,
        };
        let parts: [&[u8]; 11] = [
            &[what],
            &self.len.to_le_bytes(),
            &self.number.to_le_bytes(),
            &self.sum.to_le_bytes(),
            &[index],
            &key.0,
            &group.0,
            &[kind],
            &[self.note.item.blocks],
            &self.note.item.bytes.to_le_bytes(),
            &self.note.item.lease_s.to_le_bytes(),
        ];
        head.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        head
    }

    fn read(bytes: &[u8]) -> Option<Header> {
        let (what, rest) = bytes.split_first()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (sum, rest) = rest.split_first_chunk()?;
        let (index, rest) = rest.split_first()?;
        let (key, rest) = rest.split_first_chunk()?;
        let (group, rest) = rest.split_first_chunk()?;
        let (kind, rest) = rest.split_first()?;
        let (blocks, rest) = rest.split_first()?;
        let (bytes, rest) = rest.split_first_chunk()?;
        let (lease, _) = rest.split_first_chunk()?;
        let (key, group) = (Key(*key), GroupId(*group));
        let name = match what {
            1 => Name::Block(BlockRef { key, index: *index }),
            2 => Name::Seat(group),
            _ => return None,
        };
        let kind = match kind {
            0 => Kind::Block,
            1 => Kind::Extent,
            _ => Kind::Tree,
        };
        let (bytes, lease_s) = (u32::from_le_bytes(*bytes), u32::from_le_bytes(*lease));
        let item = ItemInfo { key, kind, blocks: *blocks, bytes, lease_s };
        let len = u16::from_le_bytes(*len);
        let (number, sum) = (u32::from_le_bytes(*number), u32::from_le_bytes(*sum));
        (usize::from(len) <= BLOCK).then_some(Header { name, len, number, sum, note: BlockNote { group, item } })
    }
}

type Map<F, const PAGES: usize> = MapStorage<
    u32,
    Erasing<F>,
    Cache<ArrayPageStates<PAGES>, ArrayPagePointers<PAGES>, sequential_storage::cache::Uncached, u32>,
>;

/// Keeps blocks, seats and the identity in `PAGES` erase units of a flash, at most `RECORDS` at a time.
/// RAM: 9 bytes per page, 48 per record, and 5 KiB.
///
/// Cost: a put writes its bytes, about 15 in 100 more for their places, and at most three times as much again to
/// move what is still needed out of pages to be erased; so a page is erased for every 800 bytes that are put, at most,
/// in the long run (`cargo test -p butter-store --test flash -- --nocapture` measures). One call may erase every page once.
pub struct Flash<F: NorFlash, const PAGES: usize, const RECORDS: usize> {
    map: Map<F, PAGES>,
    places: [Place; RECORDS],
    /// The number of the next record.
    next: u32,
    buffer: [u8; BUFFER],
    /// A record before its bytes are checked.
    record: [u8; BLOCK],
}

impl<F: NorFlash, const PAGES: usize, const RECORDS: usize> Flash<F, PAGES, RECORDS> {
    /// Bytes that records may take, so that a quarter of the flash is always free for what moves.
    const BUDGET: usize = {
        let page = F::ERASE_SIZE - 2 * F::WRITE_SIZE - (CHUNK + overhead(F::WRITE_SIZE));
        let keys = RECORDS * CHUNKS * overhead(F::WRITE_SIZE) + 32 + overhead(F::WRITE_SIZE);
        (PAGES.saturating_sub(LOG_PAGES + 2) * page / 4 * 3).saturating_sub(keys)
    };

    /// Bytes that a record of `len` bytes takes, without the places of its chunks.
    const fn cost(len: usize) -> usize {
        HEADER + len
    }

    /// Blocks of 4,096 bytes of seats that fit: what `storage_blocks` may be at most.
    pub const BLOCKS: usize = {
        // A seat twice, and a block, while the old ones are replaced.
        let spare = 2 * Self::cost(SEAT_BYTES) + Self::cost(BLOCK);
        let by_bytes = Self::BUDGET.saturating_sub(spare) / (BLOCK + 3 * HEADER);
        let by_records = RECORDS.saturating_sub(2) / 3;
        if by_bytes < by_records { by_bytes } else { by_records }
    };

    /// Opens the region that begins at `start`, for a node that gives `STORAGE` blocks (`storage_blocks`); repairs what a power
    /// cut has left. An erased region is an empty store.
    ///
    /// # Errors
    /// [`FlashError`]. A region that does not fit the flash is `Failed`. What does not fit the region does not compile:
    ///
    /// ```compile_fail
    /// # use butter_store::{Flash, FlashError};
    /// # async fn open<F: embedded_storage_async::nor_flash::NorFlash>(flash: F) -> Result<(), FlashError> {
    /// // The seat does not fit: `Flash::open`: a seat of `STORAGE` blocks does not fit the flash.
    /// let store = Flash::<F, 4, 32>::open::<8>(flash, 0).await?;
    /// # Ok(()) }
    /// # struct Nor;
    /// # impl embedded_storage_async::nor_flash::ErrorType for Nor { type Error = core::convert::Infallible; }
    /// # impl embedded_storage_async::nor_flash::ReadNorFlash for Nor {
    /// #     const READ_SIZE: usize = 1;
    /// #     async fn read(&mut self, _: u32, _: &mut [u8]) -> Result<(), Self::Error> { Ok(()) }
    /// #     fn capacity(&self) -> usize { 0 }
    /// # }
    /// # impl embedded_storage_async::nor_flash::NorFlash for Nor {
    /// #     const WRITE_SIZE: usize = 4;
    /// #     const ERASE_SIZE: usize = 4096;
    /// #     async fn erase(&mut self, _: u32, _: u32) -> Result<(), Self::Error> { Ok(()) }
    /// #     async fn write(&mut self, _: u32, _: &[u8]) -> Result<(), Self::Error> { Ok(()) }
    /// # }
    /// # let _ = open(Nor);
    /// ```
    pub async fn open<const STORAGE: u32>(flash: F, start: u32) -> Result<Self, FlashError> {
        const {
            assert!(
                F::ERASE_SIZE >= 1024,
                "the flash's erase unit is too small: a page of 1,024 bytes at least is needed"
            );
            assert!(
                RECORDS >= 3 * STORAGE as usize + 2,
                "RECORDS is too small for the seat: 3 per block of `STORAGE`, one per seat, and one are needed"
            );
            assert!(
                Self::BLOCKS >= STORAGE as usize,
                "a seat of `STORAGE` blocks does not fit the flash: give it more PAGES, or the network fewer blocks"
            );
        }
        let end = start as usize + PAGES * F::ERASE_SIZE;
        if end > flash.capacity() {
            return Err(FlashError::Failed);
        }
        let first = start + (LOG_PAGES * F::ERASE_SIZE) as u32;
        let config = MapConfig::try_new(first..end as u32).map_err(|_| FlashError::Failed)?;
        let flash = Erasing::open(flash, start).await.map_err(|_| FlashError::Failed)?;
        let cache = Cache::new(ArrayPageStates::new(), ArrayPagePointers::new(), sequential_storage::cache::Uncached);
        let mut store = Flash {
            map: MapStorage::new(flash, config, cache),
            places: [Place::FREE; RECORDS],
            next: 1,
            buffer: [0; BUFFER],
            record: [0; BLOCK],
        };
        store.scan().await?;
        Ok(store)
    }

    /// Erases the region: everything in it, the identity included, is forgotten.
    ///
    /// # Errors
    /// `Failed`.
    pub async fn erase(mut flash: F, start: u32) -> Result<(), FlashError> {
        let end = start + (PAGES * F::ERASE_SIZE) as u32;
        flash.erase(start, end).await.map_err(|_| FlashError::Failed)
    }

    /// Reads what there is: the last of each chunk counts.
    async fn scan(&mut self) -> Result<(), FlashError> {
        let Flash { map, places, next, buffer, .. } = self;
        let mut all = map.fetch_all_items(buffer).await?;
        while let Some((key, bytes)) = all.next::<&[u8]>(buffer).await? {
            let (at, chunk) = (key >> 8, (key & 0xff) as u8);
            let Some(place) = places.get_mut(at as usize).filter(|_| chunk < CHUNKS as u8) else { continue };
            place.chunks &= !(1 << chunk);
            if !bytes.is_empty() {
                place.chunks |= 1 << chunk;
            }
            if chunk == 0 {
                match Header::read(bytes) {
                    Some(head) => (place.name, place.number, place.len) = (head.name, head.number, head.len),
                    None => place.name = Name::Free,
                }
                *next = (*next).max(place.number.saturating_add(1));
            }
        }
        for at in 0..RECORDS {
            let place = self.places.get(at).copied().unwrap_or(Place::FREE);
            let all = (1u32 << chunks(place.len.into())) - 1;
            let whole = u32::from(place.chunks) & all == all;
            let newer = |other: &Place| other.name == place.name && other.number > place.number;
            // Cut off while it was written or forgotten, or replaced by a newer one.
            if place.name == Name::Free && place.chunks != 0
                || place.name != Name::Free && (!whole || self.places.iter().any(newer))
            {
                self.clear(at).await?;
            }
        }
        Ok(())
    }

    /// The node's secret: the one that is kept, or `random`, which is kept from now on. The second: whether it is new.
    ///
    /// # Errors
    /// [`FlashError`]: then the node may run with `random`, and is another one after the next start.
    pub async fn secret(&mut self, random: SecretKey) -> Result<(SecretKey, bool), FlashError> {
        if let Some(bytes) = self.map.fetch_item::<&[u8]>(&mut self.buffer, &IDENTITY).await? {
            return bytes.try_into().map(|bytes| (SecretKey(bytes), false)).map_err(|_| FlashError::Corrupt);
        }
        self.map.store_item(&mut self.buffer, &IDENTITY, &random.0.as_slice()).await?;
        Ok((random, true))
    }

    /// Gives the node its seats and blocks again, and forgets those that it does not want. To be done before the node runs.
    ///
    /// # Errors
    /// [`FlashError`]: what was restored stays so.
    pub async fn restore(&mut self, node: &mut Node<'_>, now: Instant) -> Result<Restored, FlashError> {
        let mut restored = Restored::default();
        for seats in [true, false] {
            for at in 0..RECORDS {
                let name = self.places.get(at).map_or(Name::Free, |place| place.name);
                let taken = match name {
                    Name::Seat(_) if seats => match self.load(at).await? {
                        Some((_, bytes)) => node.restore_seat(now, bytes).is_ok(),
                        None => false,
                    },
                    Name::Block(block) if !seats => match self.head(at).await? {
                        Some(head) => node.restore_block(now, block, &head.note).is_ok(),
                        None => false,
                    },
                    _ => continue,
                };
                match taken {
                    true if seats => restored.seats += 1,
                    true => restored.blocks += 1,
                    false => {
                        restored.refused += 1;
                        self.clear(at).await?;
                    }
                }
            }
        }
        Ok(restored)
    }

    async fn head(&mut self, at: usize) -> Result<Option<Header>, FlashError> {
        let bytes = self.map.fetch_item::<&[u8]>(&mut self.buffer, &((at as u32) << 8)).await?;
        Ok(bytes.and_then(Header::read))
    }

    /// A record's bytes. `None`: damaged.
    async fn load(&mut self, at: usize) -> Result<Option<(Header, &[u8])>, FlashError> {
        let Some(head) = self.head(at).await? else { return Ok(None) };
        let len = usize::from(head.len);
        let mut filled = 0;
        for chunk in 0..chunks(len) {
            let key = (at as u32) << 8 | chunk as u32;
            let Some(bytes) = self.map.fetch_item::<&[u8]>(&mut self.buffer, &key).await? else { return Ok(None) };
            let bytes = if chunk == 0 { bytes.get(HEADER..).unwrap_or_default() } else { bytes };
            let Some(room) = self.record.get_mut(filled..filled + bytes.len()) else { return Ok(None) };
            room.copy_from_slice(bytes);
            filled += bytes.len();
        }
        let bytes = self.record.get(..len).filter(|bytes| filled == len && crc32fast::hash(bytes) == head.sum);
        Ok(bytes.map(|bytes| (head, bytes)))
    }

    /// Forgets a record: its first chunk first.
    async fn clear(&mut self, at: usize) -> Result<(), FlashError> {
        let Some(place) = self.places.get_mut(at) else { return Ok(()) };
        place.name = Name::Free;
        for chunk in 0..CHUNKS {
            if self.places.get(at).is_some_and(|place| place.chunks & 1 << chunk != 0) {
                let key = (at as u32) << 8 | chunk as u32;
                self.map.store_item(&mut self.buffer, &key, &[].as_slice()).await?;
                if let Some(place) = self.places.get_mut(at) {
                    place.chunks &= !(1 << chunk);
                }
            }
        }
        if let Some(place) = self.places.get_mut(at) {
            *place = Place::FREE;
        }
        Ok(())
    }

    /// Keeps a record, in a new place before the old one is forgotten.
    async fn keep(&mut self, name: Name, note: BlockNote, bytes: &[u8]) -> Result<usize, StoreError> {
        let taken = self.places.iter().filter(|place| place.name != Name::Free);
        let used: usize = taken.clone().map(|place| Self::cost(place.len.into())).sum();
        if bytes.len() > BLOCK || used + Self::cost(bytes.len()) > Self::BUDGET {
            return Err(StoreError::Full);
        }
        let free = |place: &Place| place.name == Name::Free && place.chunks == 0;
        let at = self.places.iter().position(free).ok_or(StoreError::Full)?;
        let number = self.next;
        self.next += 1;
        let head = Header { name, len: bytes.len() as u16, number, sum: crc32fast::hash(bytes), note };
        let written = self.write(at, &head, bytes).await;
        if written.is_err() {
            // What was written of it is found at the next start, if it cannot be forgotten now.
            let _ = self.clear(at).await;
            return Err(StoreError::Io);
        }
        let old = |place: &Place| place.name == name && place.number < number;
        while let Some(old) = self.places.iter().position(old) {
            self.clear(old).await.map_err(|_| StoreError::Io)?;
        }
        Ok(0)
    }

    async fn write(&mut self, at: usize, head: &Header, bytes: &[u8]) -> Result<(), FlashError> {
        let first = CHUNK - HEADER;
        for chunk in (0..chunks(bytes.len())).rev() {
            let key = (at as u32) << 8 | chunk as u32;
            if let Some(place) = self.places.get_mut(at) {
                place.chunks |= 1 << chunk;
            }
            if chunk > 0 {
                let from = first + (chunk - 1) * CHUNK;
                let part = bytes.get(from..bytes.len().min(from + CHUNK)).unwrap_or_default();
                self.map.store_item(&mut self.buffer, &key, &part).await?;
                continue;
            }
            let mut part = [0; CHUNK];
            let body = bytes.get(..bytes.len().min(first)).unwrap_or_default();
            part.iter_mut().zip(head.write().iter().chain(body)).for_each(|(to, from)| *to = *from);
            let part = part.get(..HEADER + body.len()).unwrap_or_default();
            self.map.store_item(&mut self.buffer, &key, &part).await?;
        }
        if let Some(place) = self.places.get_mut(at) {
            (place.name, place.number, place.len) = (head.name, head.number, head.len);
        }
        Ok(())
    }

    /// Does an operation on `buf`: the bytes to put are at its start; the bytes got are written there, and their number
    /// returned. The future is not to be dropped before it is done.
    ///
    /// # Errors
    /// `Full`: no room, and the flash was not touched; `Missing`: not kept here; `Io`: the flash failed, or what is kept is
    /// damaged, and then it is forgotten.
    pub async fn apply(&mut self, op: &StoreOp, buf: &mut [u8]) -> Result<usize, StoreError> {
        match *op {
            StoreOp::Put { at, len, note, .. } => {
                let bytes = buf.get(..len).ok_or(StoreError::Io)?;
                self.keep(Name::Block(at), note, bytes).await
            }
            StoreOp::Seat { group, len: 0, .. } => self.forget(|name| *name == Name::Seat(group)).await,
            StoreOp::Seat { group, len, .. } => {
                let bytes = buf.get(..len).ok_or(StoreError::Io)?;
                self.keep(Name::Seat(group), BlockNote::none(Key::default()), bytes).await
            }
            StoreOp::Get { at, .. } => {
                let is = |place: &Place| place.name == Name::Block(at);
                let place = self.places.iter().position(is).ok_or(StoreError::Missing)?;
                if let Some((_, bytes)) = self.load(place).await.map_err(|_| StoreError::Io)? {
                    buf.get_mut(..bytes.len()).ok_or(StoreError::Io)?.copy_from_slice(bytes);
                    return Ok(bytes.len());
                }
                let _ = self.clear(place).await;
                Err(StoreError::Io)
            }
            StoreOp::Delete { key, .. } => self.forget(|name| matches!(name, Name::Block(at) if at.key == key)).await,
        }
    }

    async fn forget(&mut self, is: impl Fn(&Name) -> bool) -> Result<usize, StoreError> {
        while let Some(at) = self.places.iter().position(|place| is(&place.name)) {
            self.clear(at).await.map_err(|_| StoreError::Io)?;
        }
        Ok(0)
    }

    /// Records kept: blocks and seats.
    pub fn len(&self) -> usize {
        self.places.iter().filter(|place| place.name != Name::Free).count()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<F: NorFlash, const PAGES: usize, const RECORDS: usize> core::fmt::Debug for Flash<F, PAGES, RECORDS> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Flash({} of {RECORDS} records, {PAGES} pages)", self.len())
    }
}

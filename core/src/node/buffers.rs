//! Buffers for bodies that do not fit one packet, and for blocks on their way to and from storage.

use crate::table::Store;

/// Bytes of a small buffer.
pub const SMALL: usize = 512;
/// The least bytes of a large buffer: a block and what travels with it.
pub const LARGE_MIN: usize = crate::wire::BLOCK + 128;

/// Owns one buffer. Not `Copy`: whoever holds it frees it, or gives it away.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BufferId {
    large: bool,
    index: u16,
}

impl BufferId {
    /// Whether it is one of the large ones.
    pub fn is_large(&self) -> bool {
        self.large
    }
}

/// Equal chunks of memory.
#[derive(Debug)]
pub enum Arena<'m> {
    /// Lent bytes, cut into chunks.
    Lent(&'m mut [u8]),
    /// Chunks taken from the heap as they are needed.
    #[cfg(feature = "alloc")]
    Owned(alloc::vec::Vec<alloc::vec::Vec<u8>>),
}

/// Who uses a chunk, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    used: bool,
    len: u32,
}

impl Chunk {
    /// A free chunk.
    pub const EMPTY: Self = Chunk { used: false, len: 0 };
}

#[derive(Debug)]
struct Class<'m> {
    arena: Arena<'m>,
    chunks: Store<'m, Chunk>,
    size: usize,
    used: usize,
}

impl<'m> Class<'m> {
    fn alloc(&mut self, len: usize) -> Option<u16> {
        if self.used >= self.chunks.limit() {
            return None;
        }
        let free = self.chunks.items().iter().position(|chunk| !chunk.used);
        let at = match free {
            Some(at) => at,
            None => {
                let at = self.chunks.items().len();
                self.chunks.grow(|| Chunk::EMPTY).then_some(at)?
            }
        };
        #[cfg(feature = "alloc")]
        if let Arena::Owned(owned) = &mut self.arena {
            while owned.len() <= at {
                owned.push(alloc::vec::Vec::new());
            }
            // Only what is asked for is taken, and given back when it is freed: a large limit costs nothing until it is used.
            if owned[at].len() < len {
                owned[at].resize(len, 0);
            }
        }
        *self.chunks.items_mut().get_mut(at)? = Chunk { used: true, len: len as u32 };
        self.used += 1;
        Some(at as u16)
    }

    /// Lengthens a chunk; false when it would be longer than chunks are.
    fn extend(&mut self, index: u16, len: usize) -> bool {
        let Some(chunk) = self.chunks.items_mut().get_mut(index as usize).filter(|_| len <= self.size) else {
            return false;
        };
        chunk.len = len as u32;
        #[cfg(feature = "alloc")]
        if let Arena::Owned(owned) = &mut self.arena
            && let Some(bytes) = owned.get_mut(index as usize)
            && bytes.len() < len
        {
            bytes.resize(len, 0);
        }
        true
    }

    fn bytes(&self, index: u16) -> &[u8] {
        let len = self.chunks.items().get(index as usize).map_or(0, |chunk| chunk.len as usize);
        let all = match &self.arena {
            Arena::Lent(bytes) => bytes.get(index as usize * self.size..).unwrap_or_default(),
            #[cfg(feature = "alloc")]
            Arena::Owned(owned) => owned.get(index as usize).map_or(&[][..], |chunk| chunk),
        };
        all.get(..len).unwrap_or_default()
    }

    fn bytes_mut(&mut self, index: u16) -> &mut [u8] {
        let len = self.chunks.items().get(index as usize).map_or(0, |chunk| chunk.len as usize);
        let all = match &mut self.arena {
            Arena::Lent(bytes) => bytes.get_mut(index as usize * self.size..).unwrap_or_default(),
            #[cfg(feature = "alloc")]
            Arena::Owned(owned) => owned.get_mut(index as usize).map_or(&mut [][..], |chunk| chunk),
        };
        all.get_mut(..len).unwrap_or_default()
    }
}

impl Class<'_> {
    /// Two chunks at once, one to be changed.
    fn pair(&mut self, read: u16, write: u16) -> Option<(&[u8], &mut [u8])> {
        let len = |index: u16| self.chunks.items().get(index as usize).map_or(0, |chunk| chunk.len as usize);
        let (read_len, write_len) = (len(read), len(write));
        match &mut self.arena {
            Arena::Lent(bytes) => {
                let (r, w) = (read as usize * self.size, write as usize * self.size);
                let [read, write] = bytes.get_disjoint_mut([r..r + read_len, w..w + write_len]).ok()?;
                Some((read, write))
            }
            #[cfg(feature = "alloc")]
            Arena::Owned(owned) => {
                let [read, write] = owned.get_disjoint_mut([read as usize, write as usize]).ok()?;
                Some((read.get(..read_len)?, write.get_mut(..write_len)?))
            }
        }
    }
}

/// The two classes of buffers. When a class is used up, an allocation is refused and counted.
#[derive(Debug)]
pub(crate) struct Buffers<'m> {
    small: Class<'m>,
    large: Class<'m>,
}

impl<'m> Buffers<'m> {
    pub fn new(
        small: Arena<'m>,
        small_chunks: Store<'m, Chunk>,
        large: Arena<'m>,
        large_chunks: Store<'m, Chunk>,
        large_size: usize,
    ) -> Self {
        Buffers {
            small: Class { arena: small, chunks: small_chunks, size: SMALL, used: 0 },
            large: Class { arena: large, chunks: large_chunks, size: large_size, used: 0 },
        }
    }

    /// The longest body there can be a buffer for.
    pub fn longest(&self) -> usize {
        self.large.size
    }

    /// Buffers in use, small and large.
    pub fn in_use(&self) -> (usize, usize) {
        (self.small.used, self.large.used)
    }

    /// Large buffers that are free.
    pub fn large_free(&self) -> usize {
        self.large.chunks.limit() - self.large.used
    }

    /// Whether a buffer for `len` bytes is free: a small one, or a large one with `spare` more.
    #[inline(never)]
    pub fn has_room(&self, len: usize, spare: usize) -> bool {
        (len <= SMALL && self.small.used < self.small.chunks.limit())
            || (len <= self.large.size && self.large_free() > spare)
    }

    /// Takes a buffer of `len` bytes, whose content is whatever was in it, or zeros.
    #[inline(never)]
    pub fn alloc(&mut self, len: usize) -> Option<BufferId> {
        if len <= SMALL
            && let Some(index) = self.small.alloc(len)
        {
            return Some(BufferId { large: false, index });
        }
        if len > self.large.size {
            return None;
        }
        let index = self.large.alloc(len)?;
        Some(BufferId { large: true, index })
    }

    /// Takes a buffer and fills it.
    pub fn alloc_from(&mut self, bytes: &[u8]) -> Option<BufferId> {
        let id = self.alloc(bytes.len())?;
        self.bytes_mut(&id).copy_from_slice(bytes);
        Some(id)
    }

    #[inline(never)]
    pub fn free(&mut self, id: BufferId) {
        let class = if id.large { &mut self.large } else { &mut self.small };
        if let Some(chunk) = class.chunks.items_mut().get_mut(id.index as usize)
            && chunk.used
        {
            chunk.used = false;
            class.used -= 1;
            #[cfg(feature = "alloc")]
            if let Arena::Owned(owned) = &mut class.arena
                && let Some(bytes) = owned.get_mut(id.index as usize)
            {
                *bytes = alloc::vec::Vec::new();
            }
        }
    }

    /// Shortens a buffer to `len` bytes.
    #[inline(never)]
    pub fn truncate(&mut self, id: &BufferId, len: usize) {
        let class = if id.large { &mut self.large } else { &mut self.small };
        if let Some(chunk) = class.chunks.items_mut().get_mut(id.index as usize) {
            chunk.len = chunk.len.min(len as u32);
        }
    }

    /// Copies the bytes of one buffer into another, as many as both have.
    pub fn copy(&mut self, from: &BufferId, to: &BufferId) {
        let mut chunk = [0; 64];
        let len = self.bytes(from).len().min(self.bytes(to).len());
        for at in (0..len).step_by(chunk.len()) {
            let end = (at + chunk.len()).min(len);
            if let (Some(part), Some(read)) = (chunk.get_mut(..end - at), self.bytes(from).get(at..end)) {
                part.copy_from_slice(read);
                if let Some(write) = self.bytes_mut(to).get_mut(at..end) {
                    write.copy_from_slice(part);
                }
            }
        }
    }

    /// Appends bytes to a buffer, which moves to a larger one if need be; frees it when there is none.
    #[inline(never)]
    pub fn append(&mut self, id: BufferId, bytes: &[u8]) -> Option<BufferId> {
        let len = self.bytes(&id).len();
        let class = if id.large { &mut self.large } else { &mut self.small };
        if class.extend(id.index, len + bytes.len()) {
            self.bytes_mut(&id).get_mut(len..)?.copy_from_slice(bytes);
            return Some(id);
        }
        let larger = self.alloc(len + bytes.len());
        if let Some(larger) = &larger {
            self.copy(&id, larger);
            self.bytes_mut(larger).get_mut(len..)?.copy_from_slice(bytes);
        }
        self.free(id);
        larger
    }

    #[inline(never)]
    pub fn bytes(&self, id: &BufferId) -> &[u8] {
        let class = if id.large { &self.large } else { &self.small };
        class.bytes(id.index)
    }

    #[inline(never)]
    pub fn bytes_mut(&mut self, id: &BufferId) -> &mut [u8] {
        let class = if id.large { &mut self.large } else { &mut self.small };
        class.bytes_mut(id.index)
    }

    /// Two different buffers at once: one to read, one to write.
    pub fn pair(&mut self, read: &BufferId, write: &BufferId) -> Option<(&[u8], &mut [u8])> {
        match (read.large, write.large) {
            (false, true) => Some((self.small.bytes(read.index), self.large.bytes_mut(write.index))),
            (true, false) => Some((self.large.bytes(read.index), self.small.bytes_mut(write.index))),
            (false, false) => self.small.pair(read.index, write.index),
            (true, true) => self.large.pair(read.index, write.index),
        }
    }

    /// Moves a body that is short enough out of a large buffer into a small one, if one is free.
    #[inline(never)]
    pub fn shrink(&mut self, id: BufferId) -> BufferId {
        let len = self.bytes(&id).len();
        if !id.large || len > SMALL {
            return id;
        }
        let Some(index) = self.small.alloc(len) else { return id };
        self.small.bytes_mut(index).copy_from_slice(self.large.bytes(id.index));
        self.free(id);
        BufferId { large: false, index }
    }
}

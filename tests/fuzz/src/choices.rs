//! Where a storm gets its choices from.

use butter_core::rng::Rng;

/// Choices, from a seed without end or from given bytes until they are used up.
pub struct Choices<'a>(Source<'a>);

enum Source<'a> {
    Seed(Rng),
    Bytes(&'a [u8]),
}

impl<'a> Choices<'a> {
    /// Choices without end.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut bytes = *b"butter storm....";
        bytes[8..].copy_from_slice(&seed.to_le_bytes());
        Choices(Source::Seed(Rng::new(bytes)))
    }

    /// The choices that `bytes` spell; then zeros.
    #[must_use]
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Choices(Source::Bytes(bytes))
    }

    /// Whether there are choices left.
    #[must_use]
    pub fn more(&self) -> bool {
        match &self.0 {
            Source::Seed(_) => true,
            Source::Bytes(bytes) => !bytes.is_empty(),
        }
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        match &mut self.0 {
            Source::Seed(rng) => rng.fill(out),
            Source::Bytes(bytes) => {
                let n = out.len().min(bytes.len());
                let (taken, rest) = bytes.split_at(n);
                *bytes = rest;
                out.fill(0);
                for (to, from) in out.iter_mut().zip(taken) {
                    *to = *from;
                }
            }
        }
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A number below `n`; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        // Given bytes are spent sparingly: a fuzzer learns faster from short inputs.
        let drawn = if n <= 256 { self.array::<1>()[0].into() } else { u32::from_le_bytes(self.array()) as usize };
        drawn.checked_rem(n).unwrap_or(0)
    }

    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

//! The core's random numbers: seeded once, split per subsystem, the same on every machine.

/// xoshiro128++ 1.0 (Blackman and Vigna, 2019): 16 bytes of state, fast where there is only 32-bit arithmetic.
///
/// For choices and jitter only. Keys, nonces, cookies and indices come from [`Secrets`].
#[derive(Clone, Debug)]
pub struct Rng {
    s: [u32; 4],
}

impl Rng {
    /// A generator from 16 bytes, which must not all be zero (they are then replaced).
    pub fn new(seed: [u8; 16]) -> Self {
        let mut s = [0u32; 4];
        for (word, bytes) in s.iter_mut().zip(seed.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        if s == [0; 4] {
            s = [0x9e37_79b9, 0x243f_6a88, 0xb7e1_5162, 0x7f4a_7c15];
        }
        Rng { s }
    }

    /// The next 32 bits.
    #[inline(never)]
    pub fn next_u32(&mut self) -> u32 {
        let s = &mut self.s;
        let result = s[0].wrapping_add(s[3]).rotate_left(7).wrapping_add(s[0]);
        let t = s[1] << 9;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(11);
        result
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) << 32 | u64::from(self.next_u32())
    }

    /// A number below `n`; 0 when `n` is 0. The bias is below n / 2³².
    #[inline(never)]
    pub fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.next_u32()) * u64::from(n)) >> 32) as u32
    }

    /// True in `numerator` of `denominator` cases.
    pub fn chance(&mut self, numerator: u32, denominator: u32) -> bool {
        self.below(denominator.max(1)) < numerator
    }

    /// `ms` changed by up to a quarter either way, so that nodes do not act in step.
    pub fn jitter_ms(&mut self, ms: u32) -> u32 {
        ms - ms / 4 + self.below(ms / 2 + 1)
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(4) {
            let bytes = self.next_u32().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// Random bytes that nobody else can guess: hash(seed ‖ counter), by the node's own crypto provider.
pub struct Secrets {
    seed: [u8; 32],
    count: u64,
}

impl Secrets {
    /// A source from 32 bytes that are used for nothing else.
    pub fn new(seed: [u8; 32]) -> Self {
        Secrets { seed, count: 0 }
    }

    /// The next 32 bytes.
    pub fn next(&mut self, crypto: &dyn crate::crypto::Crypto) -> [u8; 32] {
        self.count += 1;
        crypto.hash(&[b"butter secrets", &self.seed, &self.count.to_le_bytes()])
    }
}

impl core::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secrets(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_reference() {
        // The authors' C code with s = {1, 2, 3, 4}.
        let mut seed = [0; 16];
        for (i, chunk) in seed.chunks_exact_mut(4).enumerate() {
            chunk.copy_from_slice(&(i as u32 + 1).to_le_bytes());
        }
        let mut rng = Rng::new(seed);
        assert_eq!([rng.next_u32(), rng.next_u32(), rng.next_u32()], [641, 1573767, 3222811527]);
    }

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut rng = Rng::new([7; 16]);
        let mut seen = [false; 10];
        for _ in 0..1000 {
            seen[rng.below(10) as usize] = true;
        }
        assert_eq!(seen, [true; 10]);
        assert_eq!(rng.below(0), 0);
    }
}

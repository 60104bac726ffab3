//! Random numbers that can be repeated.

/// A generator of pseudo-random numbers (xorshift).
pub struct Dice(u64);

impl Dice {
    /// A generator that returns the same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must start with very different states. The state must not be zero,
        // because zero stays zero.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

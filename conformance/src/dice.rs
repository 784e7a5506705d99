//! Chance that can be repeated: SplitMix64 (Steele, Lea and Flood, 2014).

use std::time::Duration;

/// A sequence that its seed decides.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// `WAXSEAL_SEED` when it is set, else `seed`. Print it, so that a failure can be repeated.
    pub fn new(seed: u64) -> (Self, u64) {
        let given = std::env::var("WAXSEAL_SEED").ok();
        let seed = given.map_or(seed, |text| text.parse().expect("WAXSEAL_SEED is a number"));
        (Self(seed), seed)
    }

    /// Another sequence, for somebody who goes on at the same time.
    #[must_use]
    pub fn another(&mut self) -> Self {
        Self(self.roll())
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    /// One of some.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// A time up to `most`, to the microsecond.
    pub fn moment(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).expect("tests are short");
        Duration::from_micros(self.below(micros + 1))
    }

    /// That many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.roll().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

//! Random bits of the operating system, fetched in blocks.

use std::sync::{Mutex, PoisonError};

/// A call into the operating system costs some hundred nanoseconds, so 64 draws share one.
const DRAWS: usize = 64;

#[derive(Default)]
pub(crate) struct Random(Mutex<Block>);

struct Block {
    words: [u64; DRAWS],
    left: usize,
}

impl Default for Block {
    fn default() -> Block {
        Block { words: [0; DRAWS], left: 0 }
    }
}

impl Random {
    /// 64 bits that were never handed out before.
    ///
    /// # Panics
    /// When the operating system has no random bits, which happens on no supported system.
    pub(crate) fn next(&self) -> u64 {
        let mut block = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if block.left == 0 {
            let mut bytes = [0; DRAWS * 8];
            getrandom::fill(&mut bytes).expect("the operating system has random bits");
            for (word, bytes) in block.words.iter_mut().zip(bytes.as_chunks().0) {
                *word = u64::from_le_bytes(*bytes);
            }
            block.left = DRAWS;
        }
        block.left -= 1;
        let left = block.left;
        std::mem::take(&mut block.words[left])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_draw_repeats_within_or_across_blocks() {
        let random = Random::default();
        let mut draws: Vec<u64> = (0..10 * DRAWS).map(|_| random.next()).collect();
        draws.sort_unstable();
        draws.dedup();
        assert_eq!(draws.len(), 10 * DRAWS);
    }
}

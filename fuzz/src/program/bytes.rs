//! Decisions out of bytes: one byte each, so that a change of one byte is a change of one decision.

/// What is left of an input. Behind its end every byte is zero.
pub(super) struct Luck<'a>(pub(super) &'a [u8]);

impl Luck<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((byte, rest)) => {
                self.0 = rest;
                *byte
            }
            None => 0,
        }
    }

    /// A number below `bound`, which is at most 256.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }
}

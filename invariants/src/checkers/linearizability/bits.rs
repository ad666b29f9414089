//! Which of the operations in flight have taken effect.

/// A set of small numbers. Equal sets are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bits {
    low: u64,
    /// What is above 63, without zeros at the end.
    rest: Vec<u64>,
}

impl Bits {
    pub(super) fn has(&self, at: u32) -> bool {
        let (word, bit) = (at as usize / 64, at % 64);
        let word = if word == 0 { Some(&self.low) } else { self.rest.get(word - 1) };
        word.is_some_and(|word| word >> bit & 1 == 1)
    }

    pub(super) fn insert(&mut self, at: u32) {
        let (word, bit) = (at as usize / 64, at % 64);
        if word == 0 {
            self.low |= 1 << bit;
            return;
        }
        if self.rest.len() < word {
            self.rest.resize(word, 0);
        }
        self.rest[word - 1] |= 1 << bit;
    }

    pub(super) fn remove(&mut self, at: u32) {
        let (word, bit) = (at as usize / 64, at % 64);
        if word == 0 {
            self.low &= !(1 << bit);
            return;
        }
        if let Some(word) = self.rest.get_mut(word - 1) {
            *word &= !(1 << bit);
        }
        while self.rest.last() == Some(&0) {
            self.rest.pop();
        }
    }

    pub(super) fn is_subset(&self, of: &Bits) -> bool {
        self.low & !of.low == 0
            && self.rest.len() <= of.rest.len()
            && self.rest.iter().zip(&of.rest).all(|(some, all)| some & !all == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::Bits;

    #[test]
    fn a_set_of_numbers_above_and_below_a_word() {
        let mut bits = Bits::default();
        for at in [3, 63, 64, 200] {
            assert!(!bits.has(at));
            bits.insert(at);
            assert!(bits.has(at));
        }
        let mut more = bits.clone();
        more.insert(65);
        assert!(bits.is_subset(&more) && !more.is_subset(&bits));
        for at in [200, 64, 63, 3] {
            bits.remove(at);
            assert!(!bits.has(at));
        }
        assert_eq!(bits, Bits::default());
    }
}

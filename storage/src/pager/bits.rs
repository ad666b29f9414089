//! Sets of units, one bit each.

/// A set of units. Those beyond its words are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// The 64 units from `64 * index` on.
    pub(super) fn word(&self, index: usize) -> u64 {
        self.words.get(index).copied().unwrap_or(0)
    }

    /// Whether `unit` is in the set.
    pub fn has(&self, unit: u64) -> bool {
        self.word((unit / 64) as usize) >> (unit % 64) & 1 == 1
    }

    /// Adds `count` units from `first` on.
    pub fn add(&mut self, first: u64, count: u64) {
        let end = (first + count).div_ceil(64) as usize;
        if self.words.len() < end {
            self.words.resize(end, 0);
        }
        for (word, mask) in masks(first, count) {
            self.words[word] |= mask;
        }
    }

    /// Adds all of another set.
    pub(crate) fn join(&mut self, other: &Bits) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        self.words.iter_mut().zip(&other.words).for_each(|(word, more)| *word |= more);
    }

    /// Takes `count` units from `first` on out of the set; whether all of them were in it.
    pub fn take(&mut self, first: u64, count: u64) -> bool {
        let mut all = true;
        for (word, mask) in masks(first, count) {
            all &= self.word(word) & mask == mask;
            if let Some(word) = self.words.get_mut(word) {
                *word &= !mask;
            }
        }
        all
    }

    /// How many units are in the set.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|w| u64::from(w.count_ones())).sum()
    }

    /// The first unit behind every one in the set.
    pub fn end(&self) -> u64 {
        let last = self.words.iter().rposition(|w| *w != 0);
        last.map_or(0, |at| at as u64 * 64 + 64 - u64::from(self.words[at].leading_zeros()))
    }

    /// The bits of the units below `units`, eight to a byte, the lowest first.
    pub fn encode(&self, units: u64) -> Vec<u8> {
        assert!(self.end() <= units, "unit {} of {units}", self.end());
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|w| w.to_le_bytes()).collect();
        bytes.resize(units.div_ceil(8) as usize, 0);
        bytes
    }

    /// Reads an encoding of `units` bits; `None` if `bytes` are fewer, or say more.
    pub fn decode(bytes: &[u8], units: u64) -> Option<Bits> {
        let (bits, rest) = bytes.split_at_checked(usize::try_from(units.div_ceil(8)).ok()?)?;
        let mut words: Vec<u64> = bits
            .chunks(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_le_bytes(word)
            })
            .collect();
        words.truncate(words.iter().rposition(|w| *w != 0).map_or(0, |last| last + 1));
        let bits = Bits { words };
        (bits.end() <= units && rest.iter().all(|b| *b == 0)).then_some(bits)
    }
}

/// The words that `count` bits from `first` on touch, and which bits of each.
fn masks(first: u64, count: u64) -> impl Iterator<Item = (usize, u64)> {
    let end = first + count;
    (first / 64..end.div_ceil(64)).map(move |word| {
        let (low, high) = (first.max(word * 64) % 64, (end - word * 64).min(64));
        let up_to = if high == 64 { u64::MAX } else { (1 << high) - 1 };
        (word as usize, up_to & (u64::MAX << low))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_a_set() {
        let (mut bits, mut model) = (Bits::default(), BTreeSet::new());
        let mut chance = 1_u64;
        for round in 0..800 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round);
            let (first, count) = (chance >> 40 & 0x1ff, 1 + (chance >> 56 & 0x7f));
            let units = first..first + count;
            if chance >> 33 & 1 == 0 {
                bits.add(first, count);
                model.extend(units);
            } else {
                let all = units.clone().all(|u| model.contains(&u));
                assert_eq!(bits.take(first, count), all, "{first} {count}");
                model.retain(|u| !units.contains(u));
            }
            assert_eq!(bits.count(), model.len() as u64);
            assert_eq!(bits.end(), model.last().map_or(0, |last| last + 1));
            assert!((0..700).all(|u| bits.has(u) == model.contains(&u)));
            let units = bits.end() + round % 70;
            let again = Bits::decode(&bits.encode(units), units).expect("its own encoding");
            assert!((0..700).all(|u| again.has(u) == bits.has(u)));
        }
    }

    #[test]
    fn golden() {
        let mut bits = Bits::default();
        bits.add(0, 2);
        bits.add(12, 3);
        assert_eq!(bits.encode(17), [0b11, 0b0111_0000, 0]);
        assert_eq!(Bits::decode(&[0b11, 0b0111_0000, 0, 0, 0], 17), Some(bits));
        assert_eq!(Bits::decode(&[0b11, 0b0111_0000], 17), None, "too short");
        assert_eq!(Bits::decode(&[0, 0, 2], 17), None, "a unit behind the last");
        assert_eq!(Bits::decode(&[0, 0, 0, 1], 17), None, "more than was asked for");
    }
}

//! Keys, values, and the orders they are visited in; all of it the same for every peer.

/// 16 bytes, uniform over all there are.
pub type Key = [u8; 16];
/// 100 bytes that do not compress; the first eight are the number of the key.
pub type Value = [u8; 100];

/// Bytes of one entry as the application counts them.
pub(crate) const ENTRY_LEN: u64 = 116;

/// Skew of the zipfian choice, as YCSB has it.
const THETA: f64 = 0.99;
/// Shares no factor with any number of keys in use, so its multiples visit each key once.
const STRIDE: u64 = 700_001;

/// The key with this number. Numbers in ascending order are keys in no order.
pub(crate) fn key(number: u64) -> Key {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&mix(number).to_be_bytes());
    key[8..].copy_from_slice(&mix(!number).to_be_bytes());
    key
}

/// What is written under the key with this number the `round`-th time.
pub(crate) fn value(number: u64, round: u64) -> Value {
    let mut value = [0; 100];
    value[..8].copy_from_slice(&number.to_le_bytes());
    let mut random = Random::new(mix(number) ^ round);
    for chunk in value[8..].chunks_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
    }
    value
}

/// Looks at a value that was found under the key with this number.
///
/// # Panics
///
/// It is not a value of that key: the engine is broken, or its adapter is.
pub(crate) fn check(number: u64, value: &[u8]) {
    assert_eq!(value.len(), 100, "length of the value of key {number}");
    assert_eq!(value[..8], number.to_le_bytes(), "value of key {number}");
}

/// Numbers below `keys` without end, each as likely as the others.
pub(crate) fn numbers(seed: u64, keys: u64) -> impl Iterator<Item = u64> {
    let mut random = Random::new(seed);
    std::iter::repeat_with(move || random.below(keys))
}

/// The first `count` of [`numbers`].
pub(crate) fn uniform(seed: u64, keys: u64, count: u64) -> Vec<u64> {
    numbers(seed, keys).take(count as usize).collect()
}

/// `count` numbers below `keys`, no two of them the same.
pub(crate) fn distinct(seed: u64, keys: u64, count: u64) -> Vec<u64> {
    assert!(count <= keys && !keys.is_multiple_of(STRIDE), "{count} of {keys}");
    let start = Random::new(seed).below(keys);
    (0..count).map(|at| (start + at * STRIDE) % keys).collect()
}

/// `count` numbers below `keys`, few of them often: the generator of Gray et al., "Quickly
/// generating billion-record synthetic databases" (SIGMOD 1994), with the ranks scattered.
pub(crate) fn zipfian(seed: u64, keys: u64, count: u64) -> Vec<u64> {
    let n = keys as f64;
    let zeta = |n: u64| (1..=n).map(|rank| (rank as f64).powf(-THETA)).sum::<f64>();
    let zeta_n = zeta(keys);
    let alpha = 1.0 / (1.0 - THETA);
    let eta = (1.0 - (2.0 / n).powf(1.0 - THETA)) / (1.0 - zeta(2) / zeta_n);
    let mut random = Random::new(seed);
    let mut rank = || {
        let u = random.unit();
        match u * zeta_n {
            uz if uz < 1.0 => 0,
            uz if uz < 1.0 + 0.5_f64.powf(THETA) => 1,
            _ => ((n * (eta * u - eta + 1.0).powf(alpha)) as u64).min(keys - 1),
        }
    };
    (0..count).map(|_| rank() * STRIDE % keys).collect()
}

/// `count` coins, of which `percent` in a hundred are true.
pub(crate) fn coins(seed: u64, percent: u64, count: u64) -> Vec<bool> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.below(100) < percent).collect()
}

/// SplitMix64, of Steele, Lea and Flood (OOPSLA 2014).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// From 0 to 1, without the 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A bijection that leaves no order behind.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_are_distinct_and_out_of_order() {
        let keys: Vec<Key> = (0..10_000).map(key).collect();
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
        let ascents = keys.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((4_500..5_500).contains(&ascents), "{ascents}");
    }

    #[test]
    fn distinct_numbers_are_distinct() {
        for keys in [1_000, 100_000, 500_000, 1_000_000, 10_000_000] {
            let numbers = distinct(7, keys, keys.min(1_000_000));
            assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len());
            assert!(numbers.iter().all(|number| *number < keys));
        }
    }

    /// With 1 M keys and skew 0.99 the first rank has 1 / zeta = 6.5 % of the draws.
    #[test]
    fn the_first_rank_has_its_share() {
        let numbers = zipfian(7, 1_000_000, 200_000);
        assert!(numbers.iter().all(|number| *number < 1_000_000));
        let share = |rank: u64| {
            let number = rank * STRIDE % 1_000_000;
            let count = numbers.iter().filter(|drawn| **drawn == number).count();
            count as f64 / numbers.len() as f64
        };
        assert!((share(0) - 0.065).abs() < 0.003, "{}", share(0));
        assert!((share(1) - 0.0327).abs() < 0.003, "{}", share(1));
    }

    #[test]
    fn coins_fall_as_often_as_they_should() {
        let heads = coins(7, 5, 100_000).into_iter().filter(|coin| *coin).count();
        assert!((4_700..5_300).contains(&heads), "{heads}");
    }

    #[test]
    fn a_value_belongs_to_its_key() {
        check(42, &value(42, 1));
        assert_ne!(value(42, 1), value(42, 2));
        assert!(std::panic::catch_unwind(|| check(43, &value(42, 1))).is_err());
    }
}

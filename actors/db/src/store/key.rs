//! A key as the table holds it: short ones beside each other, so that comparing them follows no
//! pointer.

use std::cmp::Ordering;

/// The longest key held inline, in bytes.
const INLINE: usize = 22;

/// A key, ordered byte by byte like the bytes it holds. 24 bytes in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MapKey(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// The key, then zeros.
    Short {
        len: u8,
        bytes: [u8; INLINE],
    },
    Long(Box<[u8]>),
}

impl MapKey {
    #[inline]
    pub(crate) fn new(key: &[u8]) -> MapKey {
        if key.len() > INLINE {
            return MapKey(Form::Long(key.into()));
        }
        let mut bytes = [0; INLINE];
        bytes[..key.len()].copy_from_slice(key);
        MapKey(Form::Short { len: key.len() as u8, bytes })
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Short { len, bytes } => &bytes[..usize::from(*len)],
            Form::Long(bytes) => bytes,
        }
    }
}

/// The bytes as three numbers that order like them.
#[inline]
fn numbers(bytes: &[u8; INLINE]) -> (u64, u64, u64) {
    let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    // The last word overlaps the one before: what is equal there stays equal.
    (word(0), word(8), word(INLINE - 8))
}

impl Ord for MapKey {
    #[inline]
    fn cmp(&self, other: &MapKey) -> Ordering {
        match (&self.0, &other.0) {
            // Of two keys that are equal but for zeros at the end, the shorter one is less.
            (Form::Short { len, bytes }, Form::Short { len: l, bytes: b }) => {
                numbers(bytes).cmp(&numbers(b)).then(len.cmp(l))
            }
            _ => self.as_bytes().cmp(other.as_bytes()),
        }
    }
}

impl PartialOrd for MapKey {
    #[inline]
    fn partial_cmp(&self, other: &MapKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_small_and_order_like_their_bytes() {
        assert_eq!(size_of::<MapKey>(), 24);
        let long = "a".repeat(40);
        let mut keys: Vec<Vec<u8>> = vec![
            b"".to_vec(),
            b"\0".to_vec(),
            b"\0\0".to_vec(),
            b"a".to_vec(),
            b"a\0".to_vec(),
            b"\xff".to_vec(),
            b"aaaaaaaab".to_vec(),
        ];
        for len in 0..=40 {
            keys.push(long.as_bytes()[..len].to_vec());
            let mut other = long.as_bytes()[..len].to_vec();
            if let Some(last) = other.last_mut() {
                *last = b'b';
            }
            keys.push(other.clone());
            other.push(0);
            keys.push(other);
        }
        for a in &keys {
            assert_eq!(MapKey::new(a).as_bytes(), a);
            for b in &keys {
                assert_eq!(MapKey::new(a).cmp(&MapKey::new(b)), a.cmp(b), "{a:?} {b:?}");
                assert_eq!(MapKey::new(a) == MapKey::new(b), a == b);
            }
        }
    }
}

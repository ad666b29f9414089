//! Kinds of values, as far as asserts need to know them.

/// What a value is: its first byte.
///
/// The engine itself takes any bytes for a value; this is the convention under which `TYPE`,
/// `INT_EQ`, the hash asserts and `ADD` look into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Nothing behind the first byte.
    Null = 0,
    /// One byte, 0 or 1.
    Bool = 1,
    /// An i64, little-endian.
    Int = 2,
    /// An f64, little-endian.
    Float = 3,
    /// UTF-8.
    String = 4,
    /// Any bytes.
    Bytes = 5,
    /// An encoded array.
    Array = 6,
    /// An encoded object.
    Object = 7,
}

impl Kind {
    /// The kind with this number.
    pub fn of(number: u8) -> Option<Kind> {
        use Kind::{Array, Bool, Bytes, Float, Int, Null, Object, String};
        [Null, Bool, Int, Float, String, Bytes, Array, Object].get(usize::from(number)).copied()
    }
}

/// The kind of a value and what is behind its first byte; `None` if it follows no convention.
pub fn kind(value: &[u8]) -> Option<(Kind, &[u8])> {
    let (first, rest) = value.split_first()?;
    let kind = Kind::of(*first)?;
    let fits = match kind {
        Kind::Null => rest.is_empty(),
        Kind::Bool => matches!(rest, [0 | 1]),
        Kind::Int | Kind::Float => rest.len() == 8,
        Kind::String | Kind::Bytes | Kind::Array | Kind::Object => true,
    };
    fits.then_some((kind, rest))
}

/// The integer that a value is.
pub(super) fn int(value: &[u8]) -> Option<i64> {
    match kind(value) {
        Some((Kind::Int, rest)) => Some(i64::from_le_bytes(rest.try_into().ok()?)),
        _ => None,
    }
}

/// An integer as a value.
pub(super) fn int_value(number: i64) -> Vec<u8> {
    [&[Kind::Int as u8][..], &number.to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_of_a_kind_only_if_all_of_it_fits() {
        for number in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert_eq!(int(&int_value(number)), Some(number));
        }
        assert_eq!(kind(&[1, 1]), Some((Kind::Bool, &[1][..])));
        assert_eq!(kind(&[4, b'x']), Some((Kind::String, &b"x"[..])));
        for odd in [&[][..], &[0, 0], &[1], &[1, 2], &[2, 0], &[3; 10], &[8], &[255]] {
            assert_eq!(kind(odd), None, "{odd:?}");
        }
        assert!((0..8).all(|number| Kind::of(number).map(|kind| kind as u8) == Some(number)));
    }
}

//! A value as the table holds it: short ones in place, so that neither reading one nor replacing it
//! follows a pointer.

use bytes::{Bytes, BytesMut};

/// The longest value held inline, in bytes.
const INLINE: usize = 38;

/// A value. 40 bytes in memory.
#[derive(Clone, Debug)]
pub(super) struct Stored(Form);

#[derive(Clone, Debug)]
enum Form {
    /// The value, then anything.
    Short {
        len: u8,
        bytes: [u8; INLINE],
    },
    Long(Bytes),
}

impl Stored {
    /// A copy: a slice of a read buffer would keep all of that alive.
    #[inline]
    pub(super) fn new(value: &[u8]) -> Stored {
        if value.len() > INLINE {
            return Stored(Form::Long(Bytes::copy_from_slice(value)));
        }
        let mut bytes = [0; INLINE];
        bytes[..value.len()].copy_from_slice(value);
        Stored(Form::Short { len: value.len() as u8, bytes })
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Short { len, bytes } => &bytes[..usize::from(*len)],
            Form::Long(bytes) => bytes,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// The value for a reader: a long one is shared, not copied.
    #[inline]
    pub(super) fn to_bytes(&self) -> Bytes {
        match &self.0 {
            Form::Short { len, bytes } => Bytes::copy_from_slice(&bytes[..usize::from(*len)]),
            Form::Long(bytes) => bytes.clone(),
        }
    }

    /// Puts `tail` behind the value, in place unless somebody still reads it.
    pub(super) fn append(&mut self, tail: &[u8]) {
        let longer = match std::mem::replace(&mut self.0, Form::Long(Bytes::new())) {
            Form::Short { len, bytes } => [&bytes[..usize::from(len)], tail].concat().into(),
            Form::Long(bytes) => {
                let mut bytes =
                    bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
                bytes.extend_from_slice(tail);
                bytes.freeze()
            }
        };
        self.0 = match longer.len() <= INLINE {
            true => Stored::new(&longer).0,
            false => Form::Long(longer),
        };
    }

    /// Cuts the value to its first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        *self = Stored::new(&self.as_bytes()[..len]);
    }
}

impl PartialEq for Stored {
    fn eq(&self, other: &Stored) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Stored {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_was_put_whatever_their_length() {
        assert_eq!(size_of::<Stored>(), 40);
        for len in 0..=2 * INLINE {
            let value: Vec<u8> = (0..len as u8).collect();
            let stored = Stored::new(&value);
            assert_eq!((stored.as_bytes(), stored.len()), (&value[..], len));
            assert_eq!(stored.to_bytes(), value);
            for cut in 0..=len {
                let mut other = stored.clone();
                other.truncate(cut);
                assert_eq!(other.as_bytes(), &value[..cut]);
                let reader = other.to_bytes();
                other.append(&value[cut..]);
                assert_eq!(other, stored, "{cut} of {len}");
                assert_eq!(reader, &value[..cut], "a reader keeps what it was given");
            }
        }
    }
}

//! A byte string that is held in place when it is short, so that neither making one nor reading it
//! follows a pointer.

use std::{fmt, ops::Deref};

use bytes::{Bytes, BytesMut};

use super::HiddenValue;

/// The longest string held inline, in bytes.
const INLINE: usize = 38;

/// A byte string of its own: no slice of anything, unless it was made of a long [`Bytes`]. 40 bytes
/// in memory; up to 38 are held in place, longer ones are shared when cloned. Equal when the bytes
/// are.
#[derive(Clone)]
pub struct Blob(Form);

#[derive(Clone)]
enum Form {
    /// The string, then anything.
    Short {
        len: u8,
        bytes: [u8; INLINE],
    },
    Long(Bytes),
}

impl Blob {
    /// A copy of `value`: a slice of a read buffer would keep all of that alive.
    #[inline]
    pub fn new(value: &[u8]) -> Blob {
        if value.len() > INLINE {
            return Blob(Form::Long(Bytes::copy_from_slice(value)));
        }
        let mut bytes = [0; INLINE];
        bytes[..value.len()].copy_from_slice(value);
        Blob(Form::Short { len: value.len() as u8, bytes })
    }

    /// A string known at compile time, without copying it.
    pub const fn from_static(bytes: &'static [u8]) -> Blob {
        Blob(Form::Long(Bytes::from_static(bytes)))
    }

    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Short { len, bytes } => &bytes[..usize::from(*len)],
            Form::Long(bytes) => bytes,
        }
    }

    /// Puts `tail` behind it, in place unless somebody still reads it.
    pub fn append(&mut self, tail: &[u8]) {
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
            true => Blob::new(&longer).0,
            false => Form::Long(longer),
        };
    }

    /// Cuts it to its first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        *self = Blob::new(&self.as_bytes()[..len]);
    }
}

impl Deref for Blob {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// A long string is shared with `bytes`, and keeps alive what that is a slice of.
impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Blob {
        if bytes.len() > INLINE { Blob(Form::Long(bytes)) } else { Blob::new(&bytes) }
    }
}

/// Its length alone: it may be a user's.
impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HiddenValue(self).fmt(f)
    }
}

impl From<String> for Blob {
    fn from(text: String) -> Blob {
        Bytes::from(text).into()
    }
}

/// A short string is copied, a long one shared.
impl From<Blob> for Bytes {
    fn from(blob: Blob) -> Bytes {
        match blob.0 {
            Form::Short { len, bytes } => Bytes::copy_from_slice(&bytes[..usize::from(len)]),
            Form::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Blob) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Blob {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_was_put_whatever_their_length() {
        assert_eq!(size_of::<Blob>(), 40);
        for len in 0..=2 * INLINE {
            let value: Vec<u8> = (0..len as u8).collect();
            let blob = Blob::new(&value);
            assert_eq!((&blob[..], blob.len()), (&value[..], len));
            assert_eq!(Bytes::from(blob.clone()), value);
            assert_eq!(Blob::from(Bytes::from(value.clone())), blob);
            for cut in 0..=len {
                let mut other = blob.clone();
                other.truncate(cut);
                assert_eq!(other.as_bytes(), &value[..cut]);
                let reader = other.clone();
                other.append(&value[cut..]);
                assert_eq!(other, blob, "{cut} of {len}");
                assert_eq!(&reader[..], &value[..cut], "a reader keeps what it was given");
            }
        }
    }
}

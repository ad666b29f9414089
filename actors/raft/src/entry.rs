//! What the cluster agrees on: an entry of the replicated log.
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | version of the form, 1 |
//! | 1 | kind |
//! | 8 | of `Data` the turn that it makes, else 0; little-endian |
//! | rest | of `Data` a record of the engine |
//!
//! A `Data` entry is the record of one commit of a turn, outcomes and time in it: whoever does it
//! decides nothing.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// The form that is written.
const VERSION: u8 = 1;
/// Bytes before the record.
const HEAD: usize = 10;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Effects of one commit of a turn.
    Data {
        /// The turn that it makes: what it was computed on is the turn before.
        turn: u64,
    },
    /// A leader begins: all that it proposed earlier is decided.
    Epoch,
    /// Every replica hashes its state as it is here.
    Check,
}

/// An entry of the replicated log.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Of [`Kind::Data`] a record of the engine, otherwise nothing.
    pub record: Bytes,
}

/// Bytes that are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// A later release wrote it.
    #[error("an entry of version {version}, and this release reads up to {VERSION}")]
    Newer {
        /// Its version.
        version: u8,
    },
    /// It makes no sense.
    #[error("an entry of {bytes} bytes that makes no sense")]
    Senseless {
        /// Its length.
        bytes: usize,
    },
}

impl Entry {
    /// The effects of a commit that makes `turn`.
    pub fn data(turn: u64, record: Bytes) -> Entry {
        Entry { kind: Kind::Data { turn }, record }
    }

    /// An entry of a kind that has no record.
    ///
    /// # Panics
    /// For [`Kind::Data`].
    pub fn bare(kind: Kind) -> Entry {
        assert!(!matches!(kind, Kind::Data { .. }), "data has a record");
        Entry { kind, record: Bytes::new() }
    }

    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let (tag, turn) = match self.kind {
            Kind::Data { turn } => (1, turn),
            Kind::Epoch => (2, 0),
            Kind::Check => (3, 0),
        };
        let mut bytes = BytesMut::with_capacity(HEAD + self.record.len());
        bytes.put_u8(VERSION);
        bytes.put_u8(tag);
        bytes.put_u64_le(turn);
        bytes.put_slice(&self.record);
        bytes.freeze()
    }

    /// An entry out of its bytes, which it keeps.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn decode(bytes: &Bytes) -> Result<Entry, EntryError> {
        let senseless = EntryError::Senseless { bytes: bytes.len() };
        match bytes.first() {
            None | Some(0) => return Err(senseless),
            Some(&version) if version > VERSION => return Err(EntryError::Newer { version }),
            Some(_) => {}
        }
        let Some((head, _)) = bytes.split_at_checked(HEAD) else { return Err(senseless) };
        let turn = u64::from_le_bytes(head[2..].try_into().expect("eight bytes"));
        let record = bytes.slice(HEAD..);
        let kind = match head[1] {
            1 if turn > 0 && !record.is_empty() => Kind::Data { turn },
            2 if turn == 0 && record.is_empty() => Kind::Epoch,
            3 if turn == 0 && record.is_empty() => Kind::Check,
            _ => return Err(senseless),
        };
        Ok(Entry { kind, record })
    }
}

/// Values stay out of every log.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} bytes", self.kind, self.record.len())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_these_bytes_for_ever() {
        let data = Entry::data(0x0102, Bytes::from_static(b"\x02record"));
        assert_eq!(&data.encode()[..], b"\x01\x01\x02\x01\0\0\0\0\0\0\x02record");
        assert_eq!(&Entry::bare(Kind::Epoch).encode()[..], b"\x01\x02\0\0\0\0\0\0\0\0");
        assert_eq!(&Entry::bare(Kind::Check).encode()[..], b"\x01\x03\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let data = Entry::data(7, Bytes::from_static(b"effects"));
        for entry in [data, Entry::bare(Kind::Epoch), Entry::bare(Kind::Check)] {
            assert_eq!(Entry::decode(&entry.encode()), Ok(entry.clone()));
            let bytes = entry.encode();
            for len in 0..HEAD {
                let cut = bytes.slice(..len);
                assert_eq!(Entry::decode(&cut), Err(EntryError::Senseless { bytes: len }));
            }
        }
        let of = |bytes: &'static [u8]| Entry::decode(&Bytes::from_static(bytes));
        assert_eq!(of(b"\x02"), Err(EntryError::Newer { version: 2 }));
        // No data without turn or record, no turn or record without data, no kind 4.
        for senseless in [
            b"\x01\x01\0\0\0\0\0\0\0\0a" as &[u8],
            b"\x01\x01\x01\0\0\0\0\0\0\0",
            b"\x01\x02\x01\0\0\0\0\0\0\0",
            b"\x01\x03\0\0\0\0\0\0\0\0a",
            b"\x01\x04\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(of(senseless), Err(EntryError::Senseless { bytes: senseless.len() }));
        }
    }
}

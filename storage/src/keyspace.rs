//! Keyspaces: named, ordered sets of keys, and how long each keeps old versions.

use std::{fmt, num::NonZeroU32, time::Duration};

use crate::encoding::Reader;

/// Most bytes of a keyspace's name.
pub const NAME_MAX: usize = 255;

/// Names a keyspace within its database; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyspaceId(pub u32);

impl KeyspaceId {
    /// What the engine has to say of the database as a whole.
    pub const META: KeyspaceId = KeyspaceId(0);
    /// Deadlines in order: deadline (Unix ms, big-endian), keyspace (big-endian), key.
    pub const DEADLINES: KeyspaceId = KeyspaceId(1);
    /// A replicated log, on a node that has one. There is none before it is asked for: see
    /// [`Database::replication`](crate::Database::replication).
    pub const RAFT_LOG: KeyspaceId = KeyspaceId(2);
    /// What such a node must not forget beside its log: its vote, and how far it has come.
    pub const RAFT_STATE: KeyspaceId = KeyspaceId(3);
    /// The first that users are given. Those below belong to the engine.
    pub const FIRST_USER: KeyspaceId = KeyspaceId(16);

    /// Whether it belongs to the engine, and nobody else may write to it.
    pub fn is_internal(self) -> bool {
        self < KeyspaceId::FIRST_USER
    }

    /// Whether it is about this node alone: what another node did never writes to it.
    pub(crate) fn is_local(self) -> bool {
        matches!(self, KeyspaceId::RAFT_LOG | KeyspaceId::RAFT_STATE)
    }
}

impl fmt::Display for KeyspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whether `name` can name a keyspace: 1 to [`NAME_MAX`] bytes, no control characters.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Which versions of a key are kept. The newest always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Every version for ever.
    All,
    /// This many newest.
    Last(NonZeroU32),
    /// Those that were current at some moment within this time. Counts whole milliseconds.
    For(Duration),
    /// What either of the two keeps.
    Either(NonZeroU32, Duration),
}

impl Default for Retention {
    fn default() -> Retention {
        Retention::Last(NonZeroU32::MIN)
    }
}

impl Retention {
    /// Appends its encoding: a tag, then its numbers.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        match self {
            Retention::All => out.push(1),
            Retention::Last(count) => {
                out.push(2);
                out.extend_from_slice(&count.get().to_le_bytes());
            }
            Retention::For(age) => {
                out.push(3);
                out.extend_from_slice(&millis(age).to_le_bytes());
            }
            Retention::Either(count, age) => {
                out.push(4);
                out.extend_from_slice(&count.get().to_le_bytes());
                out.extend_from_slice(&millis(age).to_le_bytes());
            }
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Retention> {
        let tag = from.byte()?;
        let count = |from: &mut Reader<'_>| NonZeroU32::new(from.u32()?);
        let age = |from: &mut Reader<'_>| from.u64().map(Duration::from_millis);
        Some(match tag {
            1 => Retention::All,
            2 => Retention::Last(count(from)?),
            3 => Retention::For(age(from)?),
            4 => Retention::Either(count(from)?, age(from)?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_retention_comes_back_as_it_was_and_never_half() {
        let (three, hour) = (NonZeroU32::new(3).expect("not zero"), Duration::from_secs(3600));
        for keep in [
            Retention::All,
            Retention::default(),
            Retention::Last(three),
            Retention::For(hour),
            Retention::Either(three, hour),
        ] {
            let mut bytes = Vec::new();
            keep.write(&mut bytes);
            let mut reader = Reader(&bytes);
            assert_eq!((Retention::read(&mut reader), reader.0.len()), (Some(keep), 0));
            for end in 0..bytes.len() {
                assert_eq!(Retention::read(&mut Reader(&bytes[..end])), None, "{keep:?} at {end}");
            }
        }
        for senseless in [&[0][..], &[5], &[2, 0, 0, 0, 0]] {
            assert_eq!(Retention::read(&mut Reader(senseless)), None, "{senseless:?}");
        }
    }

    #[test]
    fn a_name_is_short_and_printable() {
        assert!(is_name("data_kv") && is_name("Grüße") && is_name(&"x".repeat(NAME_MAX)));
        assert!(!is_name("") && !is_name("a\nb") && !is_name(&"x".repeat(NAME_MAX + 1)));
    }
}

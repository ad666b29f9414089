//! What a database holds at one version, as one hash.

use std::fmt;

use super::{Database, Keyspace};
use crate::{Error, Lsn, snapshots::Snapshot};

/// The content of a database at one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// The version.
    pub version: Lsn,
    /// BLAKE3 of it; see [`Database::content`].
    pub hash: [u8; 32],
    /// Keyspaces with a key.
    pub keyspaces: u64,
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A hash of keyspaces and their entries, given in the order of their names and keys. Two databases
/// hold the same if and only if it is the same.
///
/// Per keyspace that has a key: 1, its name behind its length. Per key: 2, or 3 if it has a
/// deadline; the key behind its length, the deadline (Unix ms), the value behind its length.
/// Numbers are `u64`, little-endian.
#[derive(Debug)]
pub(crate) struct ContentHash {
    hasher: blake3::Hasher,
    /// The keyspace that entries belong to, if one of them came.
    keyspace: Option<String>,
    content: Content,
}

impl ContentHash {
    pub(crate) fn new(version: Lsn) -> ContentHash {
        let content = Content { version, hash: [0; 32], keyspaces: 0, keys: 0, bytes: 0 };
        ContentHash { hasher: blake3::Hasher::new(), keyspace: None, content }
    }

    fn sized(&mut self, bytes: &[u8]) {
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }

    pub(crate) fn entry(
        &mut self,
        keyspace: &str,
        key: &[u8],
        deadline: Option<u64>,
        value: &[u8],
    ) {
        if self.keyspace.as_deref() != Some(keyspace) {
            self.hasher.update(&[1]);
            self.sized(keyspace.as_bytes());
            self.keyspace = Some(keyspace.to_owned());
            self.content.keyspaces += 1;
        }
        self.hasher.update(&[if deadline.is_some() { 3 } else { 2 }]);
        self.sized(key);
        if let Some(deadline) = deadline {
            self.hasher.update(&deadline.to_le_bytes());
        }
        self.sized(value);
        self.content.keys += 1;
        self.content.bytes += (key.len() + value.len()) as u64;
    }

    pub(crate) fn finish(self) -> Content {
        Content { hash: *self.hasher.finalize().as_bytes(), ..self.content }
    }
}

impl Database {
    /// What the database holds at a snapshot, as one hash over keyspaces by name, and their keys
    /// with the newest value and deadline each. Versions and keyspaces without a key add nothing,
    /// and whether a deadline has passed does not matter, so it is the same for a copy, a restored
    /// and an imported database, whenever it is looked at. A keyspace that was dropped is not
    /// there any more, at no version.
    ///
    /// # Errors
    /// [`Error::HistoryTrimmed`] if a keyspace does not keep that version any more,
    /// [`Error::RolledBack`].
    pub async fn content(&self, at: &Snapshot) -> Result<Content, Error> {
        let mut hash = ContentHash::new(at.version());
        for keyspace in self.keyspaces_by_name()? {
            let mut cursor = self.timeless_cursor(&keyspace, at)?;
            while let Some(item) = cursor.next().await? {
                hash.entry(keyspace.name(), item.key, item.deadline, item.value);
            }
        }
        Ok(hash.finish())
    }

    pub(crate) fn keyspaces_by_name(&self) -> Result<Vec<Keyspace>, Error> {
        let mut keyspaces = self.keyspaces()?;
        keyspaces.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(keyspaces)
    }
}

//! Keys whose time has passed: where they are found, and how they go.
//!
//! Whoever gives a key a deadline also puts an entry into [`KeyspaceId::DEADLINES`], in the same
//! commit and so with the same version: deadline, keyspace, key. It is an ordinary entry of an
//! ordinary record, so recovery, undo and replicas know nothing of it. An entry is not removed when
//! its key is overwritten; when it is due, its version tells that it has lost its meaning.
//!
//! A key whose deadline has passed reads as missing at once. Sweeping only gives the space back,
//! and may lag behind.

use std::ops::ControlFlow;

use crate::{
    Error, KeyspaceId, Lsn,
    record::Op,
    tree::{At, Attempt, Check, Cursor, Pause, Tree},
};

/// Bytes before the key in an entry of the index.
pub(crate) const INDEX_HEAD: usize = 12;

/// The key under which the deadline of `op` is indexed, if it has one.
pub(crate) fn index_key(op: &Op<'_>) -> Option<Vec<u8>> {
    let Op::Put { keyspace, key, deadline: Some(deadline), .. } = op else { return None };
    Some([&deadline.to_be_bytes()[..], &keyspace.0.to_be_bytes(), key].concat())
}

/// What an entry of the index speaks of.
pub(crate) fn read_index_key(bytes: &[u8]) -> Option<(u64, KeyspaceId, &[u8])> {
    let (deadline, rest) = bytes.split_first_chunk()?;
    let (keyspace, key) = rest.split_first_chunk()?;
    let keyspace = KeyspaceId(u32::from_be_bytes(*keyspace));
    (!key.is_empty()).then_some((u64::from_be_bytes(*deadline), keyspace, key))
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Entries of the index that were due and are gone.
    pub entries: usize,
    /// Keys that were deleted: the others had been written or deleted since, or are locked.
    pub keys: usize,
    /// Whether more is due.
    pub more: bool,
}

/// An entry of the index that is due.
struct Due {
    entry: Vec<u8>,
    version: Lsn,
}

impl Due {
    /// Its key, or nothing if the entry makes no sense.
    fn key(&self) -> Option<(KeyspaceId, &[u8])> {
        read_index_key(&self.entry).map(|(_, keyspace, key)| (keyspace, key))
    }
}

/// Deletes keys with a deadline up to `now` (Unix ms), at most `limit`, in one commit.
///
/// A key that was written since keeps what it holds, whoever is faster. A key on which somebody
/// has a lock is left for the next time. In a replicated setting only the leader may sweep.
///
/// # Errors
/// [`Pause`]; nothing happened then.
pub fn sweep(tree: &Tree, now: u64, limit: usize) -> Attempt<Swept> {
    let snapshot = tree.snapshot();
    let index = tree.keyspace(KeyspaceId::DEADLINES)?;
    let end = now.checked_add(1).map(u64::to_be_bytes);
    let end = end.as_ref().map(<[u8; 8]>::as_slice);
    let mut cursor = Cursor::new(&index, &[], end, snapshot.version())?;
    let mut due = Vec::new();
    let mut more = false;
    while let Some(item) = cursor.next()? {
        if due.len() == limit {
            more = true;
            break;
        }
        due.push(Due { entry: item.key.to_vec(), version: item.version });
    }
    // Locked keys are left out as they are met; every other round somebody else has made progress.
    loop {
        match commit(tree, &mut due)? {
            ControlFlow::Break(swept) => return Ok(Swept { more, ..swept }),
            ControlFlow::Continue(()) => {}
        }
    }
}

fn commit(tree: &Tree, due: &mut Vec<Due>) -> Attempt<ControlFlow<Swept>> {
    if due.is_empty() {
        return Ok(ControlFlow::Break(Swept::default()));
    }
    let mut value = Vec::new();
    let mut live = Vec::new();
    for due in due.iter() {
        let Some((keyspace, key)) = due.key() else { continue };
        let of = match tree.keyspace(keyspace) {
            Err(Error::NoKeyspace { .. }) => continue,
            found => found?,
        };
        let found = tree.get(&of, key, At::Assigned, &mut value)?;
        if found.is_some_and(|found| found.version == due.version) {
            live.push((keyspace, key, due.version));
        }
    }
    // The version alone counts here, not whether its time has passed: that it has is why.
    let is_same = |(keyspace, key, expected): &(KeyspaceId, _, Lsn)| {
        let (keyspace, key, expected) = (*keyspace, *key, *expected);
        Check::VersionIs { keyspace, key, expected, now: 0 }
    };
    let checks: Vec<Check<'_>> = live.iter().map(is_same).collect();
    let entries =
        due.iter().map(|due| Op::Delete { keyspace: KeyspaceId::DEADLINES, key: &due.entry });
    let keys = live.iter().map(|(keyspace, key, _)| Op::Delete { keyspace: *keyspace, key });
    let writes: Vec<Op<'_>> = entries.chain(keys).collect();
    let swept = Swept { entries: due.len(), keys: live.len(), more: false };
    match tree.commit(&checks, &writes) {
        Ok(_) => Ok(ControlFlow::Break(swept)),
        Err(Pause::Failed(Error::Conflict { .. })) => Ok(ControlFlow::Continue(())),
        Err(Pause::Locked(place)) => {
            let before = due.len();
            due.retain(|due| due.key() != Some((place.keyspace, &place.key)));
            assert!(due.len() < before, "only what is swept can be locked against the sweep");
            Ok(ControlFlow::Continue(()))
        }
        Err(pause) => Err(pause),
    }
}

#[cfg(test)]
mod tests;

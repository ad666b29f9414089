//! Walking a range as a transaction sees it: its own writes over what was committed.

use std::{mem, ops::Bound, sync::Arc};

use super::{
    check::{Reads, ScanId},
    has_passed,
    overlay::{Overlay, Own},
};
use crate::{
    KeyspaceId, Lsn,
    page::ValuePointer,
    tree::{Attempt, Cursor, Item, Keyspace},
};

/// A key that a transaction sees, with what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its value, unless `pointer` says that it is in the value log.
    pub value: &'a [u8],
    /// What wrote it; `None` if the transaction itself did.
    pub version: Option<Lsn>,
    /// From then on (Unix ms) it counts as deleted.
    pub deadline: Option<u64>,
    /// Where its value lies, if that is in the value log and not in memory.
    pub pointer: Option<ValuePointer>,
}

/// A walk over a range of keys, from either end. The transaction that began it moves it, and its
/// writes meanwhile are seen if they lie ahead.
#[derive(Debug)]
pub struct Scan {
    pub(super) id: Option<ScanId>,
    keyspace: KeyspaceId,
    cursor: Cursor,
    /// Where own writes are looked for.
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    /// Committed keys that the cursor gave and the transaction was not shown yet.
    front: Copied,
    back: Copied,
    shown: Copied,
}

#[derive(Debug, Default)]
struct Copied {
    /// Whether there is one.
    full: bool,
    key: Vec<u8>,
    value: Vec<u8>,
    version: Option<Lsn>,
    deadline: Option<u64>,
    pointer: Option<ValuePointer>,
}

impl Copied {
    fn set(&mut self, key: &[u8], value: &[u8]) {
        self.full = true;
        self.key.clear();
        self.key.extend_from_slice(key);
        self.value.clear();
        self.value.extend_from_slice(value);
    }

    fn entry(&self) -> Entry<'_> {
        let Copied { key, value, version, deadline, pointer, .. } = self;
        Entry { key, value, version: *version, deadline: *deadline, pointer: *pointer }
    }
}

impl Scan {
    /// A walk over the keys from `from` on and before `to`, or to the last, as of `at`, which
    /// a snapshot keeps readable.
    ///
    /// # Errors
    /// [`Error::HistoryTrimmed`](crate::Error::HistoryTrimmed).
    pub(super) fn new(
        keyspace: &Arc<Keyspace>,
        from: &[u8],
        to: Option<&[u8]>,
        at: Lsn,
    ) -> Attempt<Scan> {
        Ok(Scan {
            id: None,
            keyspace: keyspace.id(),
            cursor: Cursor::new(keyspace, from, to, at)?,
            from: Bound::Included(from.to_vec()),
            to: to.map_or(Bound::Unbounded, |to| Bound::Excluded(to.to_vec())),
            front: Copied::default(),
            back: Copied::default(),
            shown: Copied::default(),
        })
    }

    /// Moves on from the front or from the back, and tells `reads` how far it came. `false` when
    /// the ends have met.
    pub(super) fn advance(
        &mut self,
        own: &mut Overlay,
        reads: &mut Reads,
        now: u64,
        is_front: bool,
    ) -> Attempt<bool> {
        let found = self.step(own, now, is_front)?;
        if let Some(id) = self.id {
            let shown = found.then(|| self.shown());
            reads.scanned(id, is_front, shown.map(|entry| entry.key));
        }
        Ok(found)
    }

    fn step(&mut self, own: &mut Overlay, now: u64, is_front: bool) -> Attempt<bool> {
        loop {
            self.fill(now, is_front)?;
            let (near, far) = match is_front {
                true => (&mut self.front, &mut self.back),
                false => (&mut self.back, &mut self.front),
            };
            // When the cursor has met itself, the other end may still hold the last one.
            let committed = if near.full { near } else { far };
            let (from, to) = (as_slice(&self.from), as_slice(&self.to));
            let written = match is_front {
                true => own.first(self.keyspace, from, to),
                false => own.last(self.keyspace, from, to),
            };
            let Some((key, own)) = written.filter(|(key, _)| {
                let is_ahead =
                    if is_front { *key <= &*committed.key } else { *key >= &*committed.key };
                !committed.full || is_ahead
            }) else {
                if !committed.full {
                    return Ok(false);
                }
                mem::swap(&mut self.shown, committed);
                committed.full = false;
                break;
            };
            // Its own write hides what was committed.
            committed.full &= committed.key != key;
            let key = key.to_vec();
            if let Own::Put { value, deadline } = own
                && !has_passed(deadline, now)
            {
                self.shown.set(&key, value);
                self.shown.version = None;
                self.shown.deadline = deadline;
                self.shown.pointer = None;
                break;
            }
            self.pass(&key, is_front);
        }
        let key = mem::take(&mut self.shown.key);
        self.pass(&key, is_front);
        self.shown.key = key;
        Ok(true)
    }

    /// What it comes to from now on is not checked at commit. For a planted defect.
    pub(crate) fn forget_reader(&mut self) {
        self.id = None;
    }

    /// The value of the key that the last step came to, which is in the value log.
    pub(crate) fn supply(&mut self, value: &[u8]) {
        self.shown.value.clear();
        self.shown.value.extend_from_slice(value);
        self.shown.pointer = None;
    }

    /// Where the key that the last step came to is.
    pub(crate) fn keyspace(&self) -> KeyspaceId {
        self.keyspace
    }

    /// The key that the last step came to.
    pub fn shown(&self) -> Entry<'_> {
        self.shown.entry()
    }

    /// Has the next committed key at hand, if there is one.
    fn fill(&mut self, now: u64, is_front: bool) -> Attempt<()> {
        let near = if is_front { &mut self.front } else { &mut self.back };
        while !near.full {
            let item = if is_front { self.cursor.next()? } else { self.cursor.back()? };
            let Some(Item { key, value, version, deadline, pointer }) = item else { break };
            if has_passed(deadline, now) {
                continue;
            }
            near.set(key, value);
            (near.version, near.deadline, near.pointer) = (Some(version), deadline, pointer);
        }
        Ok(())
    }

    /// Own writes up to `key` are behind.
    fn pass(&mut self, key: &[u8], is_front: bool) {
        let end = if is_front { &mut self.from } else { &mut self.to };
        match end {
            Bound::Excluded(end) => {
                end.clear();
                end.extend_from_slice(key);
            }
            _ => *end = Bound::Excluded(key.to_vec()),
        }
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

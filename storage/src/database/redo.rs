//! Doing again what records of a journal say, and comparing it with what would have been done.

use std::collections::{BTreeMap, BTreeSet};

use super::{Assigned, Batch, Database};
use crate::{
    Error, KeyspaceId,
    page::NEWEST,
    record::{Op, Senseless, ops},
    sweep::{index_key, read_index_key},
    tree::Check,
};

/// A key that a record writes otherwise than a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where; [`KeyspaceId::DEADLINES`] is the index of deadlines.
    pub keyspace: KeyspaceId,
    /// Which key; empty for the keyspace as a whole.
    pub key: Vec<u8>,
    /// What the record writes: `None` is nothing, `Some(None)` deletes it.
    pub recorded: Option<Option<Vec<u8>>>,
    /// The same of the batch.
    pub computed: Option<Option<Vec<u8>>>,
}

/// What operations come to: keyspaces that are cleared, and keys with their values and deadlines.
type Writes<'a> =
    (BTreeSet<KeyspaceId>, BTreeMap<(KeyspaceId, &'a [u8]), Option<(&'a [u8], Option<u64>)>>);

impl Database {
    /// Does what a record of a journal says, as one version.
    ///
    /// # Errors
    /// [`Error::NoKeyspace`] and the like if it makes no sense here.
    ///
    /// # Panics
    /// If the record makes no sense, or loads a tree.
    pub async fn redo(&self, record: &[u8]) -> Result<Assigned, Error> {
        let taken_back = self.times_taken_back();
        let ops: Vec<Op<'_>> = ops(record).map(|op| op.expect("the record makes sense")).collect();
        let version = self.ask(|| self.tree().commit(&[], &ops)).await?;
        Ok(self.assigned(version, taken_back))
    }

    /// Does what a record of another database's journal says and what is in `with`, as one version.
    /// Nothing about the record is believed. It waits where that would pause, not for durability.
    ///
    /// # Errors
    /// [`Error::Record`] if it makes no sense, loads a tree, or writes what only this node may;
    /// [`Error::NoKeyspace`] and the like if it makes none here. [`Error::RolledBack`] if history
    /// was taken back since what `with` rests on.
    pub async fn redo_with(&self, record: &[u8], with: &Batch<'_>) -> Result<Assigned, Error> {
        let mut all: Vec<Op<'_>> = Vec::new();
        let mut rest = ops(record);
        loop {
            let at = record.len() - rest.rest().len();
            match rest.next() {
                None => break,
                Some(Ok(op)) if !is_for_all(&op) => return Err(Senseless { at }.into()),
                Some(op) => all.push(op?),
            }
        }
        all.extend_from_slice(&with.ops);
        let intact = Check::Intact { at: NEWEST, times: with.taken_back };
        let attempt = || {
            self.check_open()?;
            self.room()?;
            self.tree().commit(&[intact], &all)
        };
        let version = self.ask(attempt).await?;
        Ok(self.assigned(version, with.taken_back))
    }
}

/// Whether one node may ask it of another. Of the engine's own keyspaces only keys are written, and
/// none of those that are about one node.
fn is_for_all(op: &Op<'_>) -> bool {
    match *op {
        Op::Put { keyspace, .. } | Op::Delete { keyspace, .. } => !keyspace.is_local(),
        Op::Clear(keyspace) | Op::Create { keyspace, .. } | Op::Drop(keyspace) => {
            !keyspace.is_internal()
        }
        Op::Clock(_) | Op::Applied(_) => true,
        Op::Load { .. } => false,
    }
}

impl Batch<'_> {
    /// The first key that `record` writes otherwise, but for those that `is_excused` says. Of
    /// several writes to a key the last counts; what is told of time and position does not matter.
    pub fn difference(
        &self,
        record: &[u8],
        is_excused: impl Fn(KeyspaceId, &[u8]) -> bool,
    ) -> Option<Difference> {
        let due: Vec<Vec<u8>> = self.ops.iter().filter_map(index_key).collect();
        let keyspace = KeyspaceId::DEADLINES;
        let entries = due.iter().map(|key| Op::Put { keyspace, key, value: &[], deadline: None });
        let recorded = ops(record).filter_map(Result::ok).filter(matters);
        let computed = self.ops.iter().copied().chain(entries.clone()).filter(matters);
        if recorded.clone().eq(computed.clone()) {
            return None;
        }
        let (recorded, computed) = (writes(recorded), writes(computed));
        let cleared = recorded.0.symmetric_difference(&computed.0).next();
        if let Some(keyspace) = cleared.filter(|keyspace| !is_excused(**keyspace, &[])) {
            return Some(Difference {
                keyspace: *keyspace,
                key: Vec::new(),
                recorded: recorded.0.contains(keyspace).then_some(None),
                computed: computed.0.contains(keyspace).then_some(None),
            });
        }
        let keys: BTreeSet<_> = recorded.1.keys().chain(computed.1.keys()).collect();
        let is_excused = |keyspace, key: &[u8]| match read_index_key(key) {
            Some((_, of, key)) if keyspace == KeyspaceId::DEADLINES => is_excused(of, key),
            _ => is_excused(keyspace, key),
        };
        let (keyspace, key) = keys.into_iter().find(|place| {
            recorded.1.get(place) != computed.1.get(place) && !is_excused(place.0, place.1)
        })?;
        let value = |writes: &Writes<'_>| {
            let found = writes.1.get(&(*keyspace, *key));
            found.map(|write| write.map(|(value, _)| value.to_vec()))
        };
        Some(Difference {
            keyspace: *keyspace,
            key: key.to_vec(),
            recorded: value(&recorded),
            computed: value(&computed),
        })
    }
}

fn matters(op: &Op<'_>) -> bool {
    !matches!(op, Op::Clock(_) | Op::Applied(_))
}

fn writes<'a>(all: impl Iterator<Item = Op<'a>>) -> Writes<'a> {
    let mut writes = Writes::default();
    for op in all {
        match op {
            Op::Put { keyspace, key, value, deadline } => {
                writes.1.insert((keyspace, key), Some((value, deadline)));
            }
            Op::Delete { keyspace, key } => {
                writes.1.insert((keyspace, key), None);
            }
            Op::Clear(keyspace) => {
                writes.0.insert(keyspace);
                writes.1.retain(|(other, _), _| *other != keyspace);
            }
            _ => {}
        }
    }
    writes
}

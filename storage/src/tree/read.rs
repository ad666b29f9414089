//! Reading one key.

use std::sync::Arc;

use super::{
    Attempt, Keyspace, Pause, Tree,
    descend::{Arrival, Step, To, descend},
    keyspace::Roots,
};
use crate::{
    Error, Lsn,
    page::{Fence, Held, NEWEST, ValuePointer},
};

/// As of when something is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// All that may be shown: in strict mode what is durable.
    Visible,
    /// All that there is, also what a crash may still take back.
    Assigned,
    /// As of this version, which a snapshot holds or retention may have trimmed.
    Version(Lsn),
}

/// The version of a key that a read found. A tombstone counts as nothing; a deadline that has
/// passed does not, for the tree has no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What wrote it.
    pub version: Lsn,
    /// From then on (Unix ms) it counts as deleted.
    pub deadline: Option<u64>,
    /// Where its value lies, if that is in the value log and not in memory.
    pub pointer: Option<ValuePointer>,
}

impl Tree {
    /// Finds `key` and writes its value to `out`, which is cleared before.
    ///
    /// # Errors
    /// [`Pause::Miss`]; [`Error::HistoryTrimmed`] if that version can no longer be told.
    #[inline]
    pub fn get(
        &self,
        from: &Keyspace,
        key: &[u8],
        at: At,
        out: &mut Vec<u8>,
    ) -> Attempt<Option<Found>> {
        out.clear();
        let mut from_version = match at {
            At::Version(version) => version,
            At::Visible | At::Assigned => NEWEST,
        };
        loop {
            let roots = from.roots();
            let root = match at {
                At::Version(version) => roots.at(version),
                At::Visible if !roots.older.is_empty() => roots.at(self.tail.visible()),
                At::Visible | At::Assigned => Some(&roots.top),
            };
            let Some(root) = root else {
                return match at {
                    At::Version(version) if version < from.earliest() => trimmed(from, version),
                    _ => Ok(None),
                };
            };
            let target = Fence { key, version: from_version };
            let step = descend(root, To::At(target), |arrival| {
                self.read_leaf(from, &roots, arrival, key, at, out)
            });
            let overtaken = matches!(at, At::Visible)
                && !Arc::ptr_eq(root, &roots.top)
                && self.tail.visible() >= roots.since;
            match step {
                // A clear has become visible while the tree before it was read.
                Ok(_) if overtaken => out.clear(),
                Ok(found) => return Ok(found),
                Err(Step::Restart | Step::Load) => from.check_there()?,
                Err(Step::Structure) => from.await_structure(),
                Err(Step::Further(version)) => from_version = version,
                Err(Step::Pause(pause)) => return Err(pause),
            }
        }
    }

    #[inline]
    fn read_leaf(
        &self,
        from: &Keyspace,
        roots: &Roots,
        arrival: Arrival<'_>,
        key: &[u8],
        at: At,
        out: &mut Vec<u8>,
    ) -> Result<Option<Found>, Step> {
        let state = arrival.slot.read();
        let content = state.content(arrival.turn)?;
        state.warm();
        let version = match at {
            At::Version(version) => version,
            At::Visible => self.tail.visible(),
            At::Assigned => self.tail.assigned(),
        };
        // What was cleared meanwhile may be part of what is visible now.
        if !from.is_current(roots) && !matches!(at, At::Version(_)) {
            return Err(Step::Restart);
        }
        let leaf = &content.leaf;
        let (place, is_key) = leaf.seek(key, version);
        if !is_key {
            if place == leaf.count()
                && let Some(next) = leaf.goes_on_with(key)
            {
                return Err(Step::Further(next));
            }
            return match version < from.earliest() {
                true => trimmed(from, version).map_err(Step::Pause),
                false => Ok(None),
            };
        }
        // Versions without a gap are kept of each key in a leaf, but not across leaves.
        let is_cut = || leaf.came_with(key) || leaf.goes_on_with(key).is_some();
        if version < from.earliest() && is_cut() {
            return trimmed(from, version).map_err(Step::Pause);
        }
        let entry = leaf.entry(place);
        if matches!(entry.held, Held::Tombstone) {
            return Ok(None);
        }
        let pointer = content.copy_value(&entry, out);
        Ok(Some(Found { version: entry.version, deadline: entry.deadline, pointer }))
    }
}

#[cold]
fn trimmed(from: &Keyspace, asked: Lsn) -> Attempt<Option<Found>> {
    let earliest_kept = from.earliest();
    Err(Pause::Failed(Error::HistoryTrimmed { asked, earliest_kept }))
}

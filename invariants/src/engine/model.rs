//! The engine as it should be: an ordered map of versions, and what is not known of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Begin, Change, History, KeyspaceId, Look, Told, Version, WriteId};

/// A write whose version is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) version: Version,
    /// The stretch of history in which it got it.
    pub(super) span: usize,
}

/// What can be told of all writes.
#[derive(Debug)]
pub(super) struct Knowledge<'h> {
    pub(super) history: &'h History,
    /// Per write, if it is known to have happened.
    pub(super) known: Vec<Option<Known>>,
    /// Where two witnesses contradict each other.
    pub(super) contradictions: Vec<(crate::Moment, String)>,
    /// Writes that may have removed something and of which nothing is known.
    doubts: Vec<WriteId>,
}

impl<'h> Knowledge<'h> {
    pub(super) fn new(history: &'h History) -> Knowledge<'h> {
        let mut known: Vec<Option<Known>> = vec![None; history.writes.len()];
        let mut contradictions = Vec::new();
        for (write, known) in history.writes.iter().zip(&mut known) {
            if let Told::Version { span, version, .. } = write.told {
                *known = Some(place(history, write.span, span, version));
            }
        }
        let reads = history.reads.iter().map(|read| (&read.look, read.span, read.done));
        // What a transaction rests on was shown to it, be it to nobody else.
        let rests = history.writes.iter().flat_map(|write| {
            let told = match write.told {
                Told::Version { at, span, .. } => Some((span, at)),
                _ => None,
            };
            told.into_iter().flat_map(|(span, at)| {
                write.rests_on.iter().map(move |look| (look, Some(span), at))
            })
        });
        for (look, span, when) in reads.chain(rests) {
            for found in &look.found {
                let Some(write) = history.writes.get(found.write) else { continue };
                let span = span.unwrap_or(history.spans.len() - 1);
                let seen = place(history, write.span.min(span), span, found.version);
                match &mut known[found.write] {
                    none @ None => *none = Some(seen),
                    // After a crash that took it back it may have come back no more, so its
                    // version cannot have become another.
                    Some(before) if before.version == found.version => {}
                    Some(before) => contradictions.push((
                        when,
                        format!(
                            "write {} has version {} and was shown with version {}",
                            found.write, before.version, found.version
                        ),
                    )),
                }
            }
        }
        let removes = |change: &Change| !matches!(change, Change::Put { deadline: None, .. });
        let doubts = (0..history.writes.len()).filter(|id| {
            let write = &history.writes[*id];
            let may_be = matches!(write.told, Told::Nothing | Told::TakenBack { .. });
            known[*id].is_none() && may_be && write.changes.iter().any(removes)
        });
        let doubts = doubts.collect();
        Knowledge { history, known, contradictions, doubts }
    }

    /// Whether a write is part of history as it is in a stretch.
    pub(super) fn is_alive(&self, known: Known, span: usize) -> bool {
        let bases = self.history.spans.get(known.span + 1..=span);
        known.span <= span
            && bases.is_none_or(|spans| spans.iter().all(|s| s.base >= known.version))
    }

    /// The map of versions as it is in a stretch of history, with all that is ever learnt of it.
    pub(super) fn model(&self, span: usize) -> Model {
        let mut model = Model::default();
        for (id, known) in self.known.iter().enumerate() {
            if let Some(known) = known.filter(|known| self.is_alive(*known, span)) {
                model.apply(id, known.version, &self.history.writes[id].changes);
            }
        }
        model
    }

    /// Whether a write of which nothing is known may have removed `key` behind version `from` and
    /// up to `to`, as seen in `span`.
    pub(super) fn may_be_removed(
        &self,
        keyspace: KeyspaceId,
        key: &[u8],
        (from, to): (Version, Version),
        span: usize,
    ) -> bool {
        self.doubts.iter().any(|id| {
            let write = &self.history.writes[*id];
            let is_over = matches!(write.told, Told::TakenBack { span: since } if since <= span);
            if write.span > span
                || is_over
                || !write.changes.iter().any(|c| removes(c, keyspace, key))
            {
                return false;
            }
            // What a process has left undone when it died is never done.
            let later = write.span + 1..=span;
            let opened = self.history.spans[later].iter().filter(|s| s.begin != Begin::TakenBack);
            let last = opened.map(|s| s.base).min().unwrap_or(to).min(to);
            self.is_open(keyspace, key, from.max(write.after), last, span)
        })
    }

    /// Whether nobody was shown, at each version behind `from` and up to `to`, that the key was
    /// there and had been since before.
    fn is_open(
        &self,
        keyspace: KeyspaceId,
        key: &[u8],
        mut from: Version,
        to: Version,
        span: usize,
    ) -> bool {
        let seen: Vec<(Version, Version)> = self
            .history
            .reads
            .iter()
            .filter(|read| read.look.keyspace == keyspace)
            .filter_map(|read| {
                let seen = read.span?;
                let found = read.look.found.iter().find(|found| found.key == key)?;
                let shown = Known { version: read.at.0, span: seen };
                (self.is_alive(shown, span)).then_some((found.version, read.at.0))
            })
            .collect();
        while from < to {
            match seen.iter().find(|(version, at)| *version <= from && *at > from) {
                Some((_, at)) => from = *at,
                None => return true,
            }
        }
        false
    }
}

/// The first stretch in which a write of this version, asked for in `from`, can have got it if it
/// is history in `to`.
fn place(history: &History, from: usize, to: usize, version: Version) -> Known {
    let mut span = to;
    while span > from && history.spans[span].base >= version {
        span -= 1;
    }
    Known { version, span }
}

fn removes(change: &Change, of: KeyspaceId, it: &[u8]) -> bool {
    match change {
        Change::Put { keyspace, key, deadline: Some(_) } | Change::Delete { keyspace, key } => {
            *keyspace == of && key == it
        }
        Change::Put { deadline: None, .. } => false,
        Change::Clear(keyspace) | Change::Drop(keyspace) => *keyspace == of,
    }
}

/// Keyspaces of keys of versions.
#[derive(Clone, Debug, Default)]
pub struct Model {
    spaces: BTreeMap<KeyspaceId, Space>,
}

#[derive(Clone, Debug, Default)]
struct Space {
    keys: BTreeMap<Vec<u8>, BTreeMap<Version, Entry>>,
    /// Versions at which all keys went.
    wiped: BTreeSet<Version>,
}

/// What a key holds at a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The version that wrote it.
    pub version: Version,
    /// The write.
    pub write: WriteId,
    /// When its value ends, if it has one at all.
    pub put: Option<Option<u64>>,
}

impl Model {
    /// Does what `write` does, at `version`.
    pub fn apply(&mut self, write: WriteId, version: Version, changes: &[Change]) {
        for change in changes {
            let (keyspace, key, put) = match change {
                Change::Put { keyspace, key, deadline } => (keyspace, key, Some(*deadline)),
                Change::Delete { keyspace, key } => (keyspace, key, None),
                Change::Clear(keyspace) | Change::Drop(keyspace) => {
                    self.spaces.entry(*keyspace).or_default().wiped.insert(version);
                    continue;
                }
            };
            let space = self.spaces.entry(*keyspace).or_default();
            let entry = Entry { version, write, put };
            space.keys.entry(key.clone()).or_default().insert(version, entry);
        }
    }

    /// What `key` holds at version `at`; `None` if it never held anything or all went since.
    pub fn get(&self, keyspace: KeyspaceId, key: &[u8], at: Version) -> Option<Entry> {
        let space = self.spaces.get(&keyspace)?;
        let (version, entry) = space.keys.get(key)?.range(..=at).next_back()?;
        let wiped = space.wiped.range(..=at).next_back();
        wiped.is_none_or(|wiped| wiped < version).then_some(*entry)
    }

    /// Keys of a look that ever held anything.
    pub(super) fn keys<'m>(&'m self, look: &Look) -> impl Iterator<Item = &'m Vec<u8>> {
        let (from, to) = (look.from.clone(), look.to.clone());
        let keys = self.spaces.get(&look.keyspace).map(|space| space.keys.range(from..));
        let before = move |key: &&Vec<u8>| to.as_ref().is_none_or(|to| *key < to);
        keys.into_iter().flatten().map(|(key, _)| key).take_while(before)
    }

    /// Versions in `(from, to]` at which `key` changed.
    pub(super) fn changes(
        &self,
        keyspace: KeyspaceId,
        key: &[u8],
        (from, to): (Version, Version),
    ) -> Vec<Version> {
        let Some(space) = self.spaces.get(&keyspace) else { return Vec::new() };
        let of_key = space.keys.get(key).into_iter().flat_map(|key| key.keys());
        let all = of_key.chain(&space.wiped).copied();
        all.filter(|version| from < *version && *version <= to).collect()
    }
}

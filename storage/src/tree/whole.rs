//! What is done to keyspaces as a whole: made, cleared, dropped, and each of these taken back.

use std::sync::Arc;

use super::{
    Attempt, Keyspace, NOBODY_PANICS, Pause, Tree,
    keyspace::{Roots, empty_root},
    node::Child,
    slot::{InnerSlot, LeafSlot},
};
use crate::{
    Error, KeyspaceId, Lsn, Retention,
    page::{Claim, PagePtr},
    record::Op,
};

/// What is done to a keyspace as a whole.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// It gets an empty root, the only leaf of which is this.
    Clear(Arc<InnerSlot>, Arc<LeafSlot>),
    /// It comes into being; this is its leaf, the root is in its own roots.
    Create(Arc<LeafSlot>),
    /// It gets a root that lies on disk.
    Load(Arc<InnerSlot>),
    Drop,
}

impl Tree {
    /// A keyspace that nobody knows of yet.
    pub(super) fn made(
        &self,
        id: KeyspaceId,
        name: &str,
        keep: Retention,
    ) -> (Arc<Keyspace>, Change) {
        let (root, leaf) = empty_root(id, self.sizes.page, 0);
        let roots = Roots::new(Lsn(0), root);
        let made = Keyspace::new(id, name, keep, roots, &self.structure);
        (Arc::new(made), Change::Create(leaf))
    }

    /// The way to an empty keyspace.
    pub(super) fn cleared(&self, id: KeyspaceId) -> Change {
        let (root, leaf) = empty_root(id, self.sizes.page, 0);
        Change::Clear(root, leaf)
    }

    /// Whether a keyspace that is to be made is new. The caller holds the structure mutex.
    pub(super) fn check_new(&self, made: &Keyspace) -> Result<(), Error> {
        let all = self.keyspaces.load();
        let same = |known: &Arc<Keyspace>| known.id() == made.id() || known.name() == made.name();
        match all.iter().any(same) {
            true => Err(Error::KeyspaceExists { name: made.name().into() }),
            false => Ok(()),
        }
    }

    /// Whether the number of a keyspace that is to be made is new: those of users rise, and the
    /// engine's own are known. What is replayed was checked when it was history in the making.
    pub(super) fn check_number(&self, made: &Keyspace) -> Result<(), Error> {
        match made.id().is_internal() || made.id() > self.highest_keyspace() {
            true => Ok(()),
            false => Err(Error::KeyspaceNumber { number: made.id() }),
        }
    }

    /// Does it as of `version`. The caller holds structure and tail.
    pub(super) fn change(&self, keyspace: &Arc<Keyspace>, change: &Change, version: Lsn) {
        let mut all = Vec::clone(&self.keyspaces.load());
        match change {
            Change::Create(_) => {
                keyspace.replace_roots(|roots| roots.since = version);
                let settled = self.tail.last_written();
                self.numbers.raise(keyspace.id().0.into(), version, settled);
                let at = all.partition_point(|known| known.id() < keyspace.id());
                all.insert(at, keyspace.clone());
            }
            Change::Clear(root, _) | Change::Load(root) => keyspace.replace_roots(|roots| {
                let old = std::mem::replace(&mut roots.top, root.clone());
                let since = std::mem::replace(&mut roots.since, version);
                roots.older.insert(0, (since, old));
            }),
            Change::Drop => {
                keyspace.replace_roots(|roots| roots.dropped = true);
                all.retain(|known| known.id() != keyspace.id());
                self.dropped().push((version, keyspace.clone()));
            }
        }
        self.keyspaces.store(Arc::new(all));
    }

    /// Has a keyspace hold what lies below `root`, in the units of `claim`, and nothing else. All
    /// of it was written and synced, by a load that was given version `begun` when history had been
    /// taken back so many `times`. It is assigned, not durable.
    ///
    /// # Errors
    /// [`Error::NoKeyspace`]; [`Error::RolledBack`] if `begun` was taken back.
    pub fn load(
        &self,
        keyspace: &Arc<Keyspace>,
        root: PagePtr,
        claim: Claim,
        (begun, times): (Lsn, usize),
    ) -> Attempt<Lsn> {
        let structure = self.structure();
        let next = self.tail.next()?;
        self.snapshots.check_since(times, begun)?;
        if keyspace.roots().dropped {
            return Err(Error::NoKeyspace { name: keyspace.name().into() }.into());
        }
        let version = next.version();
        let change = Change::Load(InnerSlot::on_disk(root).into());
        self.change(keyspace, &change, version);
        let units = claim.encode();
        // Before anybody can see that version, a capture above all.
        self.adopted().push((version, claim));
        let load = Op::Load { keyspace: keyspace.id(), root, units: &units };
        next.assign(|record| load.write(record, true));
        drop(structure);
        Ok(version)
    }

    /// The units of trees that were loaded and that no checkpoint refers to yet.
    pub fn claims(&self) -> Vec<Claim> {
        self.adopted().iter().map(|(_, claim)| claim.clone()).collect()
    }

    /// Gives up roots that nobody can read any more: what counts since came at or below the floor.
    /// The caller holds the structure mutex.
    pub(super) fn retire(&self) {
        let mut retired = Vec::new();
        for keyspace in self.keyspaces().iter() {
            let older = &keyspace.roots().older;
            if older.is_empty() {
                continue;
            }
            let floor = self.keep(keyspace).floor;
            keyspace.retire(floor, &mut retired);
        }
        let floor = self.snapshots.floor(&self.tail);
        let (gone, kept): (Vec<_>, Vec<_>) =
            self.dropped().drain(..).partition(|(version, _)| *version <= floor);
        *self.dropped() = kept;
        for (_, keyspace) in gone {
            keyspace.retire_all(&mut retired);
        }
        // Without files there are no places to be had back.
        if self.born.is_some() {
            self.put_back_retired(retired.into_iter().map(|root| Child::Inner(root, 0)).collect());
        }
    }

    /// Applies what history says of a keyspace or of the database as a whole, unless it has been.
    pub(super) fn apply_whole(&self, op: &Op<'_>, version: Lsn) -> Attempt<()> {
        let _structure = self.structure();
        match *op {
            Op::Create { keyspace, name, keep } => {
                if self.keyspace(keyspace).is_err() {
                    let (made, change) = self.made(keyspace, name, keep);
                    self.check_new(&made)?;
                    self.change(&made, &change, version);
                }
            }
            Op::Clear(id) => {
                let keyspace = self.keyspace(id)?;
                if keyspace.roots().since < version {
                    self.change(&keyspace, &self.cleared(id), version);
                }
            }
            Op::Drop(id) => {
                if let Ok(keyspace) = self.keyspace(id) {
                    self.change(&keyspace, &Change::Drop, version);
                }
            }
            Op::Clock(_) | Op::Applied(_) => self.note(&[*op], version),
            Op::Load { keyspace, root, units } => {
                let keyspace = self.keyspace(keyspace)?;
                if keyspace.roots().since < version {
                    let change = Change::Load(InnerSlot::on_disk(root).into());
                    self.change(&keyspace, &change, version);
                    let claim = Claim::decode(units).expect("it made sense");
                    self.adopted().push((version, claim));
                }
            }
            Op::Put { .. } | Op::Delete { .. } => {
                return Err(Pause::Failed(Error::Closed));
            }
        }
        Ok(())
    }

    /// Takes back what was done to keyspaces as a whole from version `from` on.
    pub(super) fn take_back_whole(&self, from: Lsn) {
        let _structure = self.structure();
        self.numbers.take_back(from);
        self.adopted().retain(|(version, claim)| {
            let stays = *version < from;
            // Places in it are free with it; no checkpoint has ever used them.
            if !stays {
                let mut released = self.released.lock().expect(NOBODY_PANICS);
                released.retain(|place| !claim.has(place.unit));
            }
            stays
        });
        let mut all = Vec::clone(&self.keyspaces.load());
        let (lost, kept) = self.dropped().drain(..).partition(|(since, _)| *since >= from);
        *self.dropped() = kept;
        let lost: Vec<(Lsn, Arc<Keyspace>)> = lost;
        all.extend(lost.into_iter().map(|(_, keyspace)| keyspace));
        all.sort_by_key(|keyspace| keyspace.id());
        all.retain(|keyspace| {
            let was_made = |roots: &Roots| {
                let first = roots.older.last().map_or(roots.since, |(since, _)| *since);
                first < from
            };
            if !was_made(&keyspace.roots()) {
                keyspace.replace_roots(|roots| roots.dropped = true);
                return false;
            }
            let roots = keyspace.roots();
            if roots.since >= from || roots.dropped {
                keyspace.replace_roots(|roots| {
                    roots.dropped = false;
                    while roots.since >= from {
                        (roots.since, roots.top) = roots.older.remove(0);
                    }
                });
            }
            true
        });
        self.keyspaces.store(Arc::new(all));
    }
}

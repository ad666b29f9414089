//! A keyspace of the tree: its roots and what it keeps.

use std::sync::{
    Arc, Mutex,
    atomic::{
        AtomicU64,
        Ordering::{AcqRel, Acquire, Release},
    },
};

use arc_swap::{ArcSwap, Guard};

use super::{
    node::{Child, Inner},
    slot::{Content, InnerSlot, LeafSlot},
};
use crate::{
    Error, KeyspaceId, Lsn, Retention,
    page::{Fence, Leaf},
};

/// A keyspace in memory. It outlives its being dropped while somebody reads it.
#[derive(Debug)]
pub struct Keyspace {
    id: KeyspaceId,
    name: Box<str>,
    keep: Retention,
    roots: ArcSwap<Roots>,
    /// The number of `roots`, to be compared under a latch or the tail.
    number: AtomicU64,
    earliest: AtomicU64,
    /// That of the tree.
    structure: Arc<Mutex<()>>,
}

/// The roots of a keyspace: the one that counts, and older ones that were cleared away.
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    /// How many times they have changed.
    number: u64,
    /// The version since which `top` counts.
    pub(crate) since: Lsn,
    pub(crate) top: Arc<InnerSlot>,
    /// Newest first, each with the version since which it counted.
    pub(crate) older: Vec<(Lsn, Arc<InnerSlot>)>,
    /// Whether the keyspace is no more.
    pub(crate) dropped: bool,
    /// Whether its nodes are given up: nobody can ask for a version at which it was there.
    retired: bool,
}

impl Roots {
    pub(crate) fn new(since: Lsn, top: Arc<InnerSlot>) -> Roots {
        Roots { number: 0, since, top, older: Vec::new(), dropped: false, retired: false }
    }

    /// The root that counted at `version`; `None` before the first.
    pub(crate) fn at(&self, version: Lsn) -> Option<&Arc<InnerSlot>> {
        if version >= self.since {
            return Some(&self.top);
        }
        self.older.iter().find(|(since, _)| version >= *since).map(|(_, root)| root)
    }
}

impl Keyspace {
    pub(crate) fn new(
        id: KeyspaceId,
        name: &str,
        keep: Retention,
        roots: Roots,
        structure: &Arc<Mutex<()>>,
    ) -> Keyspace {
        Keyspace {
            id,
            name: name.into(),
            keep,
            number: AtomicU64::new(roots.number),
            roots: ArcSwap::from_pointee(roots),
            earliest: AtomicU64::new(0),
            structure: structure.clone(),
        }
    }

    /// Waits until a change of the inner nodes that is going on is done.
    #[cold]
    pub(crate) fn await_structure(&self) {
        drop(self.structure.lock().expect("nobody panics while changing the structure"));
    }

    /// Whether it is of the tree with this structure mutex.
    #[inline]
    pub(crate) fn shares(&self, structure: &Arc<Mutex<()>>) -> bool {
        Arc::ptr_eq(&self.structure, structure)
    }

    /// Its number.
    pub fn id(&self) -> KeyspaceId {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which versions it keeps.
    pub fn retention(&self) -> Retention {
        self.keep
    }

    /// The version from which on everything can be read.
    pub fn earliest(&self) -> Lsn {
        Lsn(self.earliest.load(Acquire))
    }

    /// Versions before `version` can no longer be read.
    pub(crate) fn trim(&self, version: Lsn) {
        self.earliest.fetch_max(version.0, AcqRel);
    }

    #[inline]
    pub(crate) fn roots(&self) -> Guard<Arc<Roots>> {
        self.roots.load()
    }

    /// Whether `roots` still are those that count. Told under a leaf's latch or the tail, the
    /// answer holds for every version assigned so far.
    #[inline]
    pub(crate) fn is_current(&self, roots: &Roots) -> bool {
        self.number.load(Acquire) == roots.number
    }

    /// Puts other roots in the place of those that count. The caller holds structure and tail.
    pub(crate) fn replace_roots(&self, change: impl FnOnce(&mut Roots)) {
        let mut roots = Roots::clone(&self.roots.load());
        change(&mut roots);
        roots.number += 1;
        let number = roots.number;
        self.roots.store(Arc::new(roots));
        self.number.store(number, Release);
    }
}

impl Keyspace {
    /// Moves the roots to `retired` that count for no version from `floor` on.
    pub(crate) fn retire(&self, floor: Lsn, retired: &mut Vec<Arc<InnerSlot>>) {
        let mut successor = self.roots().since;
        let mut keeps = 0;
        for (since, _) in &self.roots().older {
            if successor <= floor {
                break;
            }
            (successor, keeps) = (*since, keeps + 1);
        }
        if keeps < self.roots().older.len() {
            self.replace_roots(|roots| {
                retired.extend(roots.older.drain(keeps..).map(|(_, root)| root));
            });
        }
    }

    /// Copies all roots to `retired`: it was dropped, and nobody can read it any more.
    pub(crate) fn retire_all(&self, retired: &mut Vec<Arc<InnerSlot>>) {
        self.replace_roots(|roots| roots.retired = true);
        let roots = self.roots();
        retired.push(roots.top.clone());
        retired.extend(roots.older.iter().map(|(_, root)| root.clone()));
    }

    /// For whoever has a handle and did not find the way: whether there is one.
    ///
    /// # Errors
    /// [`Error::NoKeyspace`].
    #[cold]
    pub(crate) fn check_there(&self) -> Result<(), Error> {
        match self.roots().retired {
            true => Err(Error::NoKeyspace { name: self.name().into() }),
            false => Ok(()),
        }
    }
}

/// A root with one empty leaf below it, of `size` bytes.
pub(crate) fn empty_root(
    keyspace: KeyspaceId,
    size: usize,
    epoch: u32,
) -> (Arc<InnerSlot>, Arc<LeafSlot>) {
    let leaf = Leaf::new(keyspace, Fence::FIRST, None, size);
    let leaf = Arc::new(LeafSlot::new(Content::new(leaf), epoch));
    let children = [(Fence::FIRST, Child::Leaf(leaf.clone(), 0))];
    let root = Inner::new(keyspace, 1, 0, &children, None);
    (Arc::new(InnerSlot::new(root, epoch)), leaf)
}

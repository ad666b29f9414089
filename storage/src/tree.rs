//! The tree in memory: keyspaces of versioned keys, changed and read at once by many.
//!
//! Everything here is synchronous. What is not in memory is answered [`Pause::Miss`]; whoever asked
//! loads the page, installs it and asks again. `docs/src/engine.md` says why it is as it is.
//!
//! Lock order: leaf latches by (keyspace, key) < the table of locks < structure < tail <
//! snapshots < a node's book.

mod capture;
mod commit;
mod cursor;
mod descend;
mod dirty;
mod keyspace;
mod load;
mod merge;
mod node;
mod read;
mod repack;
mod replay;
mod rising;
mod slot;
mod split;
#[cfg(test)]
mod tests;
mod values;
mod whole;
mod write;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use arc_swap::ArcSwap;

pub use capture::{Capture, Catalogued};
pub use commit::Check;
pub use cursor::{Cursor, Item};
pub use dirty::{Dirty, Image, LongValue};
pub use keyspace::Keyspace;
pub use load::{Evicted, Miss, Resident};
pub use read::{At, Found};
pub use repack::Repacked;
pub(crate) use write::check_sizes;

use self::{keyspace::Roots, node::Child, rising::Rising, slot::InnerSlot};
use crate::{
    Durability, Error, KeyspaceId, Lsn, Options,
    locks::{Locks, Place, Wait},
    page::{Claim, PagePtr, ValuePointer},
    retention::{Keep, Moments},
    snapshots::{Snapshot, Snapshots},
    tail::Tail,
};

/// An answer, or what has to be done before the same is asked again.
pub type Attempt<T> = Result<T, Pause>;

/// Why there is no answer yet, or none.
#[derive(Debug)]
pub enum Pause {
    /// A page must be loaded.
    Miss(Miss),
    /// A value must be loaded from the value log.
    Value(LongValueMiss),
    /// Records wait for the journal, or pages for the disk: there is no room for more now.
    Room,
    /// Somebody has a lock on a key that is to be written: lock it too, and ask again as its owner.
    Locked(Place),
    /// A lock has to be waited for.
    Wait(Wait),
    /// There will be none.
    Failed(Error),
}

/// A long value that is needed and on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongValueMiss {
    /// Where it lies.
    pub at: ValuePointer,
    /// Whose value it is: the keyspace,
    pub keyspace: KeyspaceId,
    /// the key,
    pub key: Box<[u8]>,
    /// and the version of it.
    pub version: Lsn,
}

impl From<Error> for Pause {
    fn from(error: Error) -> Pause {
        Pause::Failed(error)
    }
}

/// Of the tree's small lists.
const NOBODY_PANICS: &str = "nobody panics while holding it";

/// Sizes that nodes are kept to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Bytes at which a node splits.
    pub(crate) page: usize,
    /// Values above this many bytes are long.
    pub(crate) inline: usize,
    /// Most children of an inner node.
    pub(crate) fanout: usize,
}

impl Sizes {
    fn of(options: &Options) -> Sizes {
        let page = options.page_bytes as usize;
        Sizes { page, inline: options.inline_bytes as usize, fanout: page / 64 }
    }
}

/// Every keyspace of a database, and the end of its history.
#[derive(Debug)]
pub struct Tree {
    sizes: Sizes,
    /// In the order of their numbers.
    keyspaces: ArcSwap<Vec<Arc<Keyspace>>>,
    /// Held by whoever changes which nodes there are. Also the epoch of captures is taken under it.
    structure: Arc<Mutex<()>>,
    /// The highest number that a keyspace was ever given.
    numbers: Rising,
    tail: Tail,
    snapshots: Arc<Snapshots>,
    locks: Arc<Locks>,
    moments: Moments,
    /// The newest position of a replicated log that was applied.
    applied: Rising,
    /// Nodes that came into being since the cache last asked; none is noted without files.
    born: Option<Mutex<Vec<Resident>>>,
    /// Keyspaces that were dropped, with the version of that, as long as it may be taken back.
    dropped: Mutex<Vec<(Lsn, Arc<Keyspace>)>>,
    /// Roots that nobody can read any more.
    retired: Mutex<Vec<Child>>,
    /// Places of pages that the tree has no use for any more.
    released: Mutex<Vec<PagePtr>>,
    /// Units of trees that were loaded, with the version since which each counts, until a
    /// checkpoint refers to them.
    adopted: Mutex<Vec<(Lsn, Claim)>>,
    /// Bytes of the value log that pruning has made dead, by segment.
    dead_values: Mutex<std::collections::BTreeMap<u32, u64>>,
    /// Versions that pruning has dropped.
    pruned: AtomicU64,
    /// Memory of one leaf, which nobody waits for.
    spare: Mutex<Vec<u8>>,
}

impl Tree {
    /// An empty tree.
    pub fn new(options: &Options) -> Tree {
        Tree::with(Sizes::of(options), options.durability, options.batch_bytes)
    }

    /// The tree as the catalogue of a capture at `at` says. Nothing of it is in memory yet.
    pub fn open(options: &Options, at: Lsn, catalogue: &[Catalogued]) -> Tree {
        let tree = Tree::new(options);
        tree.take_up(at, catalogue);
        tree
    }

    /// What the capture at `at` knew of the database as a whole: see [`Capture::highest_keyspace`],
    /// [`Capture::moments`], [`Capture::applied`].
    pub fn recall(&self, at: Lsn, highest: KeyspaceId, moments: &[(u64, Lsn)], applied: u64) {
        self.numbers.raise(highest.0.into(), at, at);
        self.moments.restore(moments);
        self.applied.raise(applied, at, at);
    }

    fn take_up(&self, at: Lsn, catalogue: &[Catalogued]) {
        self.tail.recovered(at);
        let root = |ptr: PagePtr| Arc::new(InnerSlot::on_disk(ptr));
        let keyspace = |of: &Catalogued| {
            let mut places = of.roots.iter().map(|(since, ptr)| (*since, root(*ptr)));
            let (since, top) = places.next().expect("a keyspace has a root");
            let mut roots = Roots::new(since, top);
            roots.older = places.collect();
            let keyspace = Keyspace::new(of.id, &of.name, of.keep, roots, &self.structure);
            keyspace.trim(of.earliest);
            Arc::new(keyspace)
        };
        let mut all: Vec<_> = catalogue.iter().map(keyspace).collect();
        all.sort_by_key(|keyspace| keyspace.id());
        self.keyspaces.store(Arc::new(all));
    }

    pub(crate) fn with(sizes: Sizes, mode: Durability, batch_bytes: u32) -> Tree {
        Tree {
            sizes,
            keyspaces: ArcSwap::default(),
            structure: Arc::default(),
            numbers: Rising::default(),
            tail: Tail::new(mode, batch_bytes, Lsn(0)),
            snapshots: Arc::default(),
            locks: Arc::default(),
            moments: Moments::default(),
            applied: Rising::default(),
            born: (mode != Durability::InMemory).then(Mutex::default),
            dropped: Mutex::default(),
            retired: Mutex::default(),
            released: Mutex::default(),
            adopted: Mutex::default(),
            dead_values: Mutex::default(),
            pruned: AtomicU64::new(0),
            spare: Mutex::default(),
        }
    }

    /// The end of history.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The registered snapshots.
    pub fn snapshots(&self) -> &Arc<Snapshots> {
        &self.snapshots
    }

    /// The locks on keys, which hold back whoever writes without them.
    pub fn locks(&self) -> &Arc<Locks> {
        &self.locks
    }

    /// What the engine knows of time.
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// The newest position of a replicated log that was applied.
    pub fn applied(&self) -> u64 {
        self.applied.now()
    }

    /// A snapshot of all that is visible now.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshots.now(&self.tail)
    }

    /// The keyspace of that number.
    ///
    /// # Errors
    /// [`Error::NoKeyspace`].
    pub fn keyspace(&self, id: KeyspaceId) -> Result<Arc<Keyspace>, Error> {
        let all = self.keyspaces.load();
        let at = all.binary_search_by_key(&id, |keyspace| keyspace.id());
        at.map(|at| all[at].clone()).map_err(|_| Error::NoKeyspace { name: id.to_string() })
    }

    /// As [`Tree::keyspace`], also of one that was dropped as long as somebody may read it.
    ///
    /// # Errors
    /// [`Error::NoKeyspace`].
    pub(crate) fn keyspace_ever(&self, id: KeyspaceId) -> Result<Arc<Keyspace>, Error> {
        self.keyspace(id).or_else(|none| {
            let dropped = self.dropped();
            let found = dropped.iter().find(|(_, keyspace)| keyspace.id() == id);
            found.map(|(_, keyspace)| keyspace.clone()).ok_or(none)
        })
    }

    /// The keyspace of that name.
    ///
    /// # Errors
    /// [`Error::NoKeyspace`].
    pub fn named(&self, name: &str) -> Result<Arc<Keyspace>, Error> {
        let all = self.keyspaces.load();
        let found = all.iter().find(|keyspace| keyspace.name() == name).cloned();
        found.ok_or_else(|| Error::NoKeyspace { name: name.into() })
    }

    /// Whether a keyspace is one of this tree.
    #[inline]
    pub(crate) fn owns(&self, keyspace: &Keyspace) -> bool {
        keyspace.shares(&self.structure)
    }

    /// Every keyspace, in the order of their numbers.
    pub fn keyspaces(&self) -> Arc<Vec<Arc<Keyspace>>> {
        self.keyspaces.load_full()
    }

    /// The highest number that a keyspace was ever given, the engine's own among them; 0 before the
    /// first.
    pub fn highest_keyspace(&self) -> KeyspaceId {
        KeyspaceId(u32::try_from(self.numbers.now()).expect("raised by numbers of keyspaces only"))
    }

    /// The number for the next keyspace that a user makes: no keyspace ever had it. Whoever else
    /// is told the same may be faster: a commit that comes later is refused with
    /// [`Error::KeyspaceNumber`], even if that keyspace is gone again.
    pub fn next_keyspace(&self) -> KeyspaceId {
        let next = self.highest_keyspace().0.saturating_add(1);
        KeyspaceId(next.max(KeyspaceId::FIRST_USER.0))
    }

    /// Nodes that came into being since this was last called, for the cache to watch.
    pub fn take_born(&self) -> Vec<Resident> {
        let born = self.born.as_ref().map(Mutex::lock);
        born.map_or_else(Vec::new, |born| std::mem::take(&mut *born.expect(NOBODY_PANICS)))
    }

    /// Bytes of the value log that pruning has made dead since this was last called, by segment.
    pub fn take_dead_values(&self) -> std::collections::BTreeMap<u32, u64> {
        std::mem::take(&mut *self.dead_values.lock().expect(NOBODY_PANICS))
    }

    /// Versions that pruning has dropped since the tree came into being.
    pub fn pruned(&self) -> u64 {
        self.pruned.load(Relaxed)
    }

    fn take_retired(&self) -> Vec<Child> {
        std::mem::take(&mut *self.retired.lock().expect(NOBODY_PANICS))
    }

    fn put_back_retired(&self, mut nodes: Vec<Child>) {
        self.retired.lock().expect(NOBODY_PANICS).append(&mut nodes);
    }

    /// Places that fell out of use since the last capture began.
    fn take_released(&self) -> Vec<PagePtr> {
        std::mem::take(&mut *self.released.lock().expect(NOBODY_PANICS))
    }

    fn adopted(&self) -> std::sync::MutexGuard<'_, Vec<(Lsn, Claim)>> {
        self.adopted.lock().expect(NOBODY_PANICS)
    }

    /// Notes places that fell out of use.
    fn release(&self, places: &mut Vec<PagePtr>) {
        self.released.lock().expect(NOBODY_PANICS).append(places);
    }

    fn dropped(&self) -> std::sync::MutexGuard<'_, Vec<(Lsn, Arc<Keyspace>)>> {
        self.dropped.lock().expect(NOBODY_PANICS)
    }

    fn note_born(&self, node: Resident) {
        if let Some(born) = &self.born {
            born.lock().expect(NOBODY_PANICS).push(node);
        }
    }

    /// What may be pruned of a keyspace now. Trims its history to that.
    fn keep(&self, of: &Keyspace) -> Keep {
        let floor = self.snapshots.floor(&self.tail);
        let keep = self.moments.keep(of.retention(), floor);
        of.trim(keep.floor);
        keep
    }

    fn structure(&self) -> std::sync::MutexGuard<'_, ()> {
        self.structure.lock().expect("nobody panics while changing the structure")
    }
}

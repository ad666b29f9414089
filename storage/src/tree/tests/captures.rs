//! Captures against concurrent writes, and trees opened from what they wrote.

use proptest::prelude::*;

use super::{
    disk::{Disk, reopen},
    *,
};
use crate::page::ValuePointer;

const PAGE: usize = 512;

#[derive(Clone, Debug)]
enum Act {
    Put(u8, usize),
    Delete(u8),
    /// Deletes many in a row.
    Sweep(u8, u8),
    Read(u8),
    Begin,
    /// Writes so many nodes of the capture.
    Step(u8),
    Finish,
    Abandon,
    Evict,
    Merge,
}

fn act() -> impl Strategy<Value = Act> {
    let size = prop_oneof![12 => 0..40_usize, 1 => Just(100_usize)];
    prop_oneof![
        40 => (any::<u8>(), size).prop_map(|(key, size)| Act::Put(key, size)),
        8 => any::<u8>().prop_map(Act::Delete),
        10 => any::<u8>().prop_map(Act::Read),
        2 => Just(Act::Begin),
        8 => (1..6_u8).prop_map(Act::Step),
        1 => Just(Act::Finish),
        1 => Just(Act::Abandon),
        2 => Just(Act::Evict),
        1 => Just(Act::Merge),
        1 => (any::<u8>(), 10..40_u8).prop_map(|(first, count)| Act::Sweep(first, count)),
    ]
}

fn key(n: u8) -> Vec<u8> {
    format!("key {:03}", n / 2).into_bytes()
}

struct World {
    tree: Arc<Tree>,
    model: Model,
    disk: Disk,
    capture: Option<Capture>,
    /// Nodes in memory that the cache would know of.
    watched: Vec<Resident>,
}

impl World {
    fn new() -> World {
        let tree = Arc::new(tree(PAGE, Durability::Buffered));
        tree.tail().durable(tree.tail().assigned());
        let (model, disk) = (Model::default(), Disk::default());
        World { tree, model, disk, capture: None, watched: Vec::new() }
    }

    fn write(&mut self, key: &[u8], value: Option<&[u8]>) {
        for keyspace in self.tree.keyspaces().iter() {
            let tree = &self.tree;
            let of = keyspace.id();
            let at = self.disk.resolve(|| match value {
                Some(value) if key.ends_with(b"7") => {
                    let put = Op::Put { keyspace: of, key, value, deadline: None };
                    let since = tree.tail().assigned();
                    tree.commit(&[Check::Unchanged { keyspace: of, key, since }], &[put])
                }
                Some(value) => tree.put(keyspace, key, value, None),
                None => tree.delete(keyspace, key),
            });
            self.model.write(keyspace.id(), key, at.expect("there is room"), value);
        }
        self.tree.tail().durable(self.tree.tail().assigned());
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Put(n, size) => {
                let value = vec![self.tree.tail().assigned().0 as u8; *size];
                self.write(&key(*n), Some(&value));
            }
            Act::Delete(n) => self.write(&key(*n), None),
            Act::Read(n) => {
                let (key, mut out) = (key(*n), Vec::new());
                for keyspace in self.tree.keyspaces().iter() {
                    let tree = &self.tree;
                    let found = self
                        .disk
                        .resolve(|| tree.get(keyspace, &key, At::Visible, &mut out))
                        .expect("every page is there");
                    let at = self.tree.tail().assigned();
                    let expected = self.model.get(keyspace.id(), &key, at);
                    let value = found.map(|found| match found.pointer {
                        Some(at) => (found.version, self.disk.value(at)),
                        None => (found.version, &out[..]),
                    });
                    assert_eq!(value, expected);
                }
            }
            Act::Begin if self.capture.is_none() => {
                self.capture = Some(Capture::begin(&self.tree));
            }
            Act::Step(count) => {
                if let Some(capture) = &mut self.capture {
                    (0..*count).for_each(|_| _ = self.disk.step(capture));
                }
            }
            Act::Finish => {
                let Some(mut capture) = self.capture.take() else { return };
                while self.disk.step(&mut capture) {}
                let at = capture.version();
                let catalogue = self.disk.finish(capture);
                self.compare(at, &catalogue);
            }
            Act::Abandon => drop(self.capture.take()),
            Act::Evict => {
                let mut all = std::mem::take(&mut self.disk.loaded);
                all.append(&mut self.watched);
                all.extend(self.tree.take_born());
                // Children come before their parents if it is done often enough.
                for _ in 0..4 {
                    all.retain(|node| !matches!(self.tree.evict(node), Evicted::Yes(_)));
                }
                self.watched = all;
            }
            Act::Merge => {
                self.tree.merge_small();
            }
            Act::Sweep(first, count) => {
                for n in *first..first.saturating_add(*count) {
                    self.write(&key(n), None);
                }
            }
            Act::Begin => {}
        }
    }

    /// What was captured is the model at that version, whatever has been written since.
    fn compare(&mut self, at: Lsn, catalogue: &[Catalogued]) {
        let mine = std::mem::take(&mut self.disk.loaded);
        let reopened = reopen(PAGE, at, catalogue);
        assert_eq!(reopened.tail().assigned(), at);
        for keyspace in reopened.keyspaces().iter() {
            let whole = self.model.scan(keyspace.id(), at);
            assert_eq!(self.disk.scan(keyspace, at), whole, "{} at {at}", keyspace.name());
            audit(keyspace);
        }
        let all = reopened.keyspace(ALL).expect("it was catalogued");
        let mut out = Vec::new();
        for version in (1..=at.0).step_by(7).map(Lsn) {
            for n in (0..=255).step_by(16) {
                let key = key(n);
                let found = self
                    .disk
                    .resolve(|| reopened.get(&all, &key, At::Version(version), &mut out))
                    .expect("all versions are kept");
                let expected = self.model.get(ALL, &key, version).map(|(version, _)| version);
                assert_eq!(found.map(|found| found.version), expected);
            }
        }
        self.disk.loaded = mine;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_capture_is_the_tree_at_one_version(acts in prop::collection::vec(act(), 1..300)) {
        let mut world = World::new();
        acts.iter().for_each(|act| world.act(act));
        if world.capture.is_none() {
            world.act(&Act::Begin);
        }
        world.act(&Act::Put(7, 9));
        world.act(&Act::Finish);
    }
}

#[test]
fn a_second_capture_writes_only_what_has_changed() {
    let mut world = World::new();
    (0..=255).for_each(|n| world.act(&Act::Put(n, 30)));
    let count = |world: &mut World| {
        let mut capture = Capture::begin(&world.tree);
        let mut nodes = 0;
        while world.disk.step(&mut capture) {
            nodes += 1;
        }
        let at = capture.version();
        let catalogue = world.disk.finish(capture);
        world.compare(at, &catalogue);
        nodes
    };
    let all = count(&mut world);
    assert_eq!(world.disk.pages(), all, "every page written is in use");
    assert_eq!(count(&mut world), 0, "nothing has changed");
    world.act(&Act::Put(100, 30));
    let changed = count(&mut world);
    assert!(
        (3 * 3..3 * 8).contains(&changed),
        "{changed}: a leaf and what is above it, three times"
    );
    assert!(world.disk.pages() >= all && world.disk.pages() <= all + 6, "old places were released");
}

#[test]
fn an_abandoned_capture_leaves_everything_dirty() {
    let mut world = World::new();
    (0..=255).for_each(|n| world.act(&Act::Put(n, 30)));
    let mut capture = Capture::begin(&world.tree);
    (0..10).for_each(|_| assert!(world.disk.step(&mut capture)));
    capture.abandon();
    let before = world.disk.pages();
    let mut capture = Capture::begin(&world.tree);
    while world.disk.step(&mut capture) {}
    let at = capture.version();
    let catalogue = world.disk.finish(capture);
    assert!(world.disk.pages() >= before + 10);
    world.compare(at, &catalogue);
}

#[test]
fn what_is_clean_leaves_memory_and_comes_back() {
    let mut world = World::new();
    (0..=255).for_each(|n| world.act(&Act::Put(n, 30)));
    let nodes = world.tree.take_born();
    let evicted = nodes.iter().map(|node| world.tree.evict(node)).collect::<Vec<_>>();
    assert!(evicted.iter().all(|evicted| matches!(evicted, Evicted::Dirty | Evicted::Busy)));
    world.act(&Act::Begin);
    world.act(&Act::Finish);
    world.disk.loaded = nodes;
    world.act(&Act::Evict);
    (0..=255).for_each(|n| world.act(&Act::Read(n)));
    assert!(!world.disk.loaded.is_empty());
}

impl World {
    /// A whole checkpoint, with everything that fell out of use.
    fn checkpoint(&mut self) {
        let mut capture = Capture::begin(&self.tree);
        while self.disk.step(&mut capture) {}
        self.disk.retire(&mut capture);
        let at = capture.version();
        let catalogue = self.disk.finish(capture);
        self.compare(at, &catalogue);
    }

    fn evict_all(&mut self) {
        self.act(&Act::Evict);
        self.act(&Act::Evict);
    }
}

#[test]
fn what_has_been_emptied_is_merged_and_its_places_come_back() {
    let mut world = World::new();
    (0..=255).for_each(|n| world.act(&Act::Put(n, 30)));
    world.checkpoint();
    let full = world.disk.pages();
    let newest = world.tree.keyspace(NEWEST_ONLY).expect("it is there");
    let (leaves, levels) = audit(&newest);
    assert!(leaves > 8 && levels > 1, "{leaves} leaves, {levels} levels");
    (0..250).for_each(|n| world.act(&Act::Delete(n)));
    // Leaves are pruned when they are written.
    world.checkpoint();
    assert!(world.tree.merge_small() > 0);
    while world.tree.merge_small() > 0 {}
    world.checkpoint();
    assert_eq!(audit(&newest), (1, 1), "a root and a leaf are left");
    assert!(world.disk.pages() < full, "{} of {full} pages", world.disk.pages());
    (0..=255).for_each(|n| world.act(&Act::Read(n)));
}

#[test]
fn the_places_of_a_cleared_tree_come_back_when_nobody_can_read_it() {
    let mut world = World::new();
    world.checkpoint();
    let empty = world.disk.pages();
    (0..=255).for_each(|n| world.act(&Act::Put(n, 30)));
    world.checkpoint();
    world.evict_all();
    let snapshot = world.tree.snapshot();
    for id in [NEWEST_ONLY, LAST_3] {
        world.tree.commit(&[], &[Op::Clear(id)]).expect("no checks");
    }
    let last = world.tree.commit(&[], &[Op::Drop(ALL)]).expect("it is there");
    world.tree.tail().durable(last);
    world.model = Model::default();
    let mut capture = Capture::begin(&world.tree);
    while world.disk.step(&mut capture) {}
    let roots: Vec<_> = capture.catalogue().iter().map(|of| of.roots.len()).collect();
    assert_eq!(roots, [2, 2], "the snapshot sees what was there before");
    world.disk.retire(&mut capture);
    world.disk.finish(capture);
    drop(snapshot);
    let mut capture = Capture::begin(&world.tree);
    while world.disk.step(&mut capture) {}
    world.disk.retire(&mut capture);
    world.disk.finish(capture);
    assert_eq!(world.disk.pages(), empty - 2, "a root and a leaf of each that is left");
}

#[test]
fn a_check_of_what_is_on_disk_passes_if_nothing_there_is_newer() {
    let mut world = World::new();
    (0..=255).for_each(|n| world.act(&Act::Put(n, 30)));
    let leaves = world.tree.take_born().into_iter().filter(Resident::is_leaf).collect();
    world.checkpoint();
    world.watched = leaves;
    let snapshot = world.tree.snapshot();
    let since = snapshot.version();
    world.act(&Act::Evict);
    let check = |since| [Check::RangeUnchanged { keyspace: ALL, from: b"", to: None, since }];
    let at = world.tree.commit(&check(since), &[]);
    assert_eq!(at.expect("leaves need not be loaded for that"), since);
    // The last write was one to each of three keyspaces.
    let before = world.tree.commit(&check(Lsn(since.0 - 3)), &[]);
    assert!(matches!(before, Err(Pause::Miss(_))), "one may have changed: {before:?}");
    world.act(&Act::Put(9, 5));
    let after = world.disk.resolve(|| world.tree.commit(&check(since), &[]));
    assert!(matches!(after, Err(Pause::Failed(Error::Conflict { .. }))), "{after:?}");
}

#[test]
fn a_long_value_is_found_where_it_was_moved_to() {
    let mut world = World::new();
    (0..=255).for_each(|n| world.act(&Act::Put(n, 100)));
    let nodes = world.tree.take_born();
    world.checkpoint();
    let of = world.tree.keyspace(ALL).expect("it is there");
    let mut out = Vec::new();
    for n in [3, 5] {
        let key = key(n);
        if n == 5 {
            world.watched = nodes.clone();
            world.act(&Act::Evict);
        }
        let tree = world.tree.clone();
        let found = world.disk.resolve(|| tree.get(&of, &key, At::Visible, &mut out));
        let version = found.expect("all is there").expect("it was put").version;
        let from = world.disk.resolve(|| tree.pointer(&of, &key, version)).expect("all is there");
        let from = from.expect("it was written to the value log");
        let to = ValuePointer { segment: 2, ..from };
        for expected in [true, false] {
            let moved = world.disk.resolve(|| tree.repoint(&of, &key, version, from, to));
            assert_eq!(moved.expect("all is there"), expected);
        }
        let now = world.disk.resolve(|| tree.pointer(&of, &key, version)).expect("all is there");
        assert_eq!(now, Some(to));
        world.checkpoint();
    }
}

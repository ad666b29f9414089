//! Random scripts, on pages so small that every shape of split comes up.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Put(Vec<u8>, usize),
    Delete(Vec<u8>),
    /// Several keys at once.
    Commit(Vec<(Vec<u8>, Option<usize>)>),
    Snapshot,
    Release(prop::sample::Index),
    Read(Vec<u8>, prop::sample::Index),
    Scan(Vec<u8>, Vec<u8>, prop::sample::Index, u8),
}

/// Few keys that share beginnings, so that versions pile up; and some very long ones.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let tail = prop::collection::vec(prop::sample::select(b"ab\0\xff".to_vec()), 0..5);
    prop_oneof![
        30 => tail.prop_map(|tail| [b"key", &tail[..]].concat()),
        10 => (0..30_u8).prop_map(|n| vec![n]),
        8 => Just(b"hot".to_vec()),
        1 => (0..3_u8).prop_map(|n| vec![b'x' + n; 200]),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let index = any::<prop::sample::Index>;
    let size = || prop_oneof![20 => 0..40_usize, 1 => 60..70_usize, 1 => Just(300_usize)];
    let batch = prop::collection::vec((key(), prop::option::weighted(0.8, size())), 1..12);
    prop_oneof![
        30 => (key(), size()).prop_map(|(key, size)| Act::Put(key, size)),
        8 => key().prop_map(Act::Delete),
        4 => batch.prop_map(Act::Commit),
        3 => Just(Act::Snapshot),
        3 => index().prop_map(Act::Release),
        10 => (key(), index()).prop_map(|(key, at)| Act::Read(key, at)),
        2 => (key(), key(), index(), any::<u8>())
            .prop_map(|(from, to, at, ways)| Act::Scan(from, to, at, ways)),
    ]
}

struct Run {
    tree: Tree,
    model: Model,
    snapshots: Vec<Snapshot>,
    spaces: Vec<Arc<Keyspace>>,
}

impl Run {
    fn new(page: usize) -> Run {
        let tree = tree(page, Durability::InMemory);
        let spaces = tree.keyspaces().to_vec();
        Run { tree, model: Model::default(), snapshots: Vec::new(), spaces }
    }

    fn value(&self, size: usize) -> Vec<u8> {
        let next = self.tree.tail().assigned().0 as u8;
        (0..size).map(|at| next.wrapping_add(at as u8)).collect()
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Put(key, size) => {
                for keyspace in self.spaces.clone() {
                    let value = self.value(*size);
                    let at = self.tree.put(&keyspace, key, &value, None).expect("there is room");
                    self.model.write(keyspace.id(), key, at, Some(&value));
                }
            }
            Act::Delete(key) => {
                for keyspace in self.spaces.clone() {
                    let at = self.tree.delete(&keyspace, key).expect("there is room");
                    self.model.write(keyspace.id(), key, at, None);
                }
            }
            Act::Commit(batch) => {
                let values: Vec<_> =
                    batch.iter().map(|(_, size)| size.map(|size| self.value(size))).collect();
                let mut ops = Vec::new();
                for keyspace in &self.spaces {
                    let keyspace = keyspace.id();
                    for ((key, _), value) in batch.iter().zip(&values) {
                        ops.push(match value {
                            Some(value) => Op::Put { keyspace, key, value, deadline: None },
                            None => Op::Delete { keyspace, key },
                        });
                    }
                }
                let at = self.tree.commit(&[], &ops).expect("no checks");
                for op in ops {
                    match op {
                        Op::Put { keyspace, key, value, .. } => {
                            self.model.write(keyspace, key, at, Some(value));
                        }
                        Op::Delete { keyspace, key } => self.model.write(keyspace, key, at, None),
                        _ => unreachable!(),
                    }
                }
            }
            Act::Snapshot => self.snapshots.push(self.tree.snapshot()),
            Act::Release(which) if !self.snapshots.is_empty() => {
                self.snapshots.remove(which.index(self.snapshots.len()));
            }
            Act::Release(_) => {}
            Act::Read(key, at) => self.read_everywhere(key, at),
            Act::Scan(from, to, at, ways) => {
                let versions: Vec<Lsn> = self.snapshots.iter().map(Snapshot::version).collect();
                let at = match versions.is_empty() {
                    true => self.tree.tail().assigned(),
                    false => versions[at.index(versions.len())],
                };
                for keyspace in &self.spaces {
                    let whole = self.model.scan(keyspace.id(), at);
                    let got =
                        walk(keyspace, from, Some(to), at, |step| ways >> (step % 8) & 1 == 1);
                    let range: Vec<_> =
                        whole.into_iter().filter(|(key, ..)| from <= key && key < to).collect();
                    assert_eq!(got, range, "{} at {at}", keyspace.name());
                }
            }
        }
    }

    fn read_everywhere(&self, key: &[u8], at: &prop::sample::Index) {
        let newest = self.tree.tail().assigned();
        let any = Lsn(1 + at.index(newest.0 as usize) as u64);
        let held = self.snapshots.iter().map(Snapshot::version);
        for keyspace in &self.spaces {
            self.read(keyspace, key, At::Visible, newest);
            for at in held.clone().chain([any]) {
                self.read(keyspace, key, At::Version(at), at);
            }
        }
    }

    fn read(&self, keyspace: &Keyspace, key: &[u8], at: At, version: Lsn) {
        let mut out = vec![1, 2, 3];
        let expected = self.model.get(keyspace.id(), key, version);
        match self.tree.get(keyspace, key, at, &mut out) {
            Ok(found) => {
                let got = found.map(|found| (found.version, &out[..]));
                assert_eq!(got, expected, "{} {key:?} at {at:?}", keyspace.name());
            }
            Err(Pause::Failed(Error::HistoryTrimmed { asked, earliest_kept })) => {
                assert!(asked < earliest_kept && asked == version);
                let held = self.snapshots.iter().any(|held| held.version() <= version);
                assert!(!held, "a snapshot holds {version}, earliest is {earliest_kept}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn finish(self) {
        let newest = self.tree.tail().assigned();
        for keyspace in &self.spaces {
            audit(keyspace);
            for at in self.snapshots.iter().map(Snapshot::version).chain([newest]) {
                let whole = self.model.scan(keyspace.id(), at);
                for front in [|_| true, |_| false, |step| step % 3 != 0] {
                    assert_eq!(walk(keyspace, b"", None, at, front), whole, "{}", keyspace.name());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_tree_is_a_versioned_map(
        acts in prop::collection::vec(act(), 1..250),
        page in prop::sample::select(vec![256_usize, 400, 1024]),
    ) {
        let mut run = Run::new(page);
        acts.iter().for_each(|act| run.act(act));
        run.finish();
    }
}

#[test]
fn a_hot_key_is_split_among_its_versions_and_shrinks_again() {
    let mut run = Run::new(256);
    run.act(&Act::Snapshot);
    for _ in 0..100 {
        run.act(&Act::Put(b"hot".to_vec(), 20));
        run.act(&Act::Put(b"later".to_vec(), 3));
    }
    let newest = run.spaces[0].clone();
    assert!(audit(&newest).0 > 4, "the snapshot holds no version, but the newest was once seen");
    let versions: Vec<_> = (1..=run.tree.tail().assigned().0).map(Lsn).collect();
    for at in versions {
        run.read(&run.spaces[1], b"hot", At::Version(at), at);
    }
    run.finish();
}

#[test]
fn what_is_loaded_in_order_fills_its_leaves() {
    let mut run = Run::new(1024);
    for n in 0..2_000_u32 {
        run.act(&Act::Put(n.to_be_bytes().to_vec(), 20));
    }
    let keyspace = run.spaces[0].clone();
    let (leaves, levels) = audit(&keyspace);
    let entries = 2_000 * (13 + 8 + 2 + 20);
    assert!(leaves * 1024 < entries * 13 / 10, "{leaves} leaves");
    assert!(levels > 2, "{levels} levels");
    run.finish();
}

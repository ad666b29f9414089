//! The tree against a sorted map that keeps every version.

mod captures;
mod checks;
mod cursors;
mod disk;
mod history;
mod script;

use std::{cmp::Reverse, collections::BTreeMap, num::NonZeroU32, sync::Arc};

use super::{
    node::Child,
    slot::{Body, InnerSlot},
    *,
};
use crate::{
    Retention,
    page::{Fence, FenceBuf},
    record::Op,
};

pub(super) const NEWEST_ONLY: KeyspaceId = KeyspaceId(16);
pub(super) const ALL: KeyspaceId = KeyspaceId(17);
pub(super) const LAST_3: KeyspaceId = KeyspaceId(18);

/// A tree with pages of `page` bytes and the three keyspaces above.
pub(super) fn tree(page: usize, mode: Durability) -> Tree {
    let sizes = Sizes { page, inline: 64, fanout: 4 };
    let tree = Tree::with(sizes, mode, 1 << 24);
    let three = NonZeroU32::new(3).expect("not zero");
    for (keyspace, name, keep) in [
        (NEWEST_ONLY, "newest", Retention::default()),
        (ALL, "all", Retention::All),
        (LAST_3, "last 3", Retention::Last(three)),
    ] {
        tree.commit(&[], &[Op::Create { keyspace, name, keep }]).expect("it is new");
    }
    tree
}

/// Every version ever written, newest of a key first.
#[derive(Clone, Debug, Default)]
pub(super) struct Model(BTreeMap<Place, Option<Vec<u8>>>);

type Place = (KeyspaceId, Vec<u8>, Reverse<Lsn>);

impl Model {
    pub(super) fn write(&mut self, of: KeyspaceId, key: &[u8], at: Lsn, value: Option<&[u8]>) {
        self.0.insert((of, key.to_vec(), Reverse(at)), value.map(<[u8]>::to_vec));
    }

    /// The version that counts at `at`, with what it holds.
    pub(super) fn get(&self, of: KeyspaceId, key: &[u8], at: Lsn) -> Option<(Lsn, &[u8])> {
        let (place, value) = self.0.range((of, key.to_vec(), Reverse(at))..).next()?;
        let is_it = (place.0, &place.1[..]) == (of, key);
        Some((place.2.0, value.as_deref().filter(|_| is_it)?))
    }

    /// Every key there is at `at`.
    pub(super) fn scan(&self, of: KeyspaceId, at: Lsn) -> Vec<(Vec<u8>, Lsn, Vec<u8>)> {
        let mut keys: Vec<&Vec<u8>> = self.0.keys().filter(|k| k.0 == of).map(|k| &k.1).collect();
        keys.dedup();
        let found = |key: &Vec<u8>| {
            let (version, value) = self.get(of, key, at)?;
            Some((key.clone(), version, value.to_vec()))
        };
        keys.into_iter().filter_map(found).collect()
    }
}

/// Everything a cursor gives, from the front, the back, or both in turn.
pub(super) fn walk(
    of: &Arc<Keyspace>,
    from: &[u8],
    to: Option<&[u8]>,
    at: Lsn,
    front: impl Fn(usize) -> bool,
) -> Vec<(Vec<u8>, Lsn, Vec<u8>)> {
    let mut cursor = Cursor::new(of, from, to, at).expect("the version is kept");
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for step in 0.. {
        let is_front = front(step);
        let item = if is_front { cursor.next() } else { cursor.back() };
        let Some(item) = item.expect("all is in memory") else { break };
        let item = (item.key.to_vec(), item.version, item.value.to_vec());
        if is_front { &mut first } else { &mut last }.push(item);
    }
    first.extend(last.into_iter().rev());
    first
}

/// Walks every node: fences tile, levels fall by one, entries are in order and within fences.
/// Returns how many leaves and levels there are.
pub(super) fn audit(keyspace: &Keyspace) -> (usize, u8) {
    let roots = keyspace.roots();
    let top = roots.top.node.load_full().expect("resident");
    let leaves = audit_node(&roots.top, Fence::FIRST, None, 0, top.level);
    (leaves, top.level)
}

fn audit_node(
    slot: &Arc<InnerSlot>,
    lower: Fence<'_>,
    upper: Option<Fence<'_>>,
    turn: u32,
    level: u8,
) -> usize {
    let node = slot.node.load_full().expect("resident");
    assert_eq!((node.level, node.turn, node.lower(0)), (level, turn, lower));
    assert_eq!(node.upper_fence(), upper);
    let mut leaves = 0;
    for at in 0..node.count() {
        let (lower, upper) = (node.lower(at), node.upper(at));
        assert!(upper.is_none_or(|upper| lower < upper), "{lower:?} {upper:?}");
        match node.child(at) {
            Child::Inner(below, turn) => {
                leaves += audit_node(below, lower, upper, *turn, level - 1);
            }
            Child::Leaf(leaf, turn) => {
                assert_eq!(level, 1);
                let state = leaf.read();
                assert_eq!(state.turn, *turn);
                let Body::Resident(content) = &state.body else { panic!("not resident") };
                let leaf = &content.leaf;
                assert_eq!((leaf.lower_fence(), leaf.upper_fence()), (lower, upper));
                let mut before: Option<FenceBuf> = None;
                for entry in leaf.entries(0..leaf.count()) {
                    let key = [leaf.prefix(), entry.suffix].concat();
                    let here = Fence { key: &key, version: entry.version };
                    assert!(lower <= here && upper.is_none_or(|upper| here < upper));
                    assert!(before.is_none_or(|before| before.get() < here));
                    assert!(entry.version <= state.lsn);
                    before = Some(here.to_buf());
                }
                leaves += 1;
            }
        }
    }
    leaves
}

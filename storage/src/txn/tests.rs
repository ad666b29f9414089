//! Transactions against each other on a tree in memory.

mod anomalies;
mod history;
mod kinds;
mod random;
mod scans;
mod script;
mod waiting;

use std::sync::Arc;

use orloj_kernel::Instant;

use super::Terms;
use crate::{
    Durability, KeyspaceId, Retention,
    record::Op,
    tree::{Keyspace, Sizes, Tree},
};

pub(crate) const USERS: KeyspaceId = KeyspaceId(16);
pub(crate) const TERMS: Terms = Terms { now: 1_000, deadline: Instant(u64::MAX) };

/// A tree with pages so small that they split, and one keyspace besides the index of deadlines.
pub(crate) fn tree(mode: Durability) -> (Arc<Tree>, Arc<Keyspace>) {
    let tree = Arc::new(Tree::with(Sizes { page: 256, inline: 64, fanout: 4 }, mode, 1 << 24));
    let keep = Retention::default();
    for (keyspace, name) in [(KeyspaceId::DEADLINES, "deadlines"), (USERS, "users")] {
        tree.commit(&[], &[Op::Create { keyspace, name, keep }]).expect("it is new");
    }
    let users = tree.keyspace(USERS).expect("just made");
    (tree, users)
}

//! The end of every transaction: one commit, under locks if others have any.

use std::sync::Arc;

use super::{Terms, overlay::Overlay};
use crate::{
    Error, Lsn,
    locks::{Holder, Mode},
    record::{KEY_MAX, Op},
    sweep::index_key,
    tree::{Attempt, Check, Pause, Tree, check_sizes},
};

/// What a transaction is about to write.
pub(super) struct Writing<'a> {
    pub(super) tree: &'a Arc<Tree>,
    pub(super) terms: Terms,
    pub(super) own: &'a Overlay,
}

impl<'a> Writing<'a> {
    /// Commits if `checks` hold.
    ///
    /// If somebody has locks on what is written then all of that is locked first, in order, so
    /// the commit takes its place in the queues and can close no circle of waiting.
    pub(super) fn commit(
        &self,
        holder: &mut Option<Holder>,
        mut checks: Vec<Check<'a>>,
    ) -> Attempt<Lsn> {
        let due: Vec<Vec<u8>> = self.own.ops().filter_map(|op| index_key(&op)).collect();
        let ops: Vec<Op<'_>> = self.own.ops().chain(due.iter().map(|key| index_entry(key))).collect();
        loop {
            if let Some(holder) = holder {
                let keys = self.own.keys().map(|(keyspace, key)| (keyspace, key, Mode::Exclusive));
                if let Some(wait) = holder.lock_all(keys)? {
                    return Err(Pause::Wait(wait));
                }
                holder.settle()?;
                checks.push(Check::Owner(holder.owner()));
            }
            match self.tree.commit(&checks, &ops) {
                Err(Pause::Locked(_)) if holder.is_none() => {
                    *holder = Some(Holder::new(self.tree.locks(), self.terms.deadline));
                }
                Err(again @ (Pause::Miss(_) | Pause::Room)) => return Err(again),
                done => {
                    *holder = None;
                    return done;
                }
            }
        }
    }
}

/// The entry of a deadline in the index, which says all it has to say by its key.
fn index_entry(key: &[u8]) -> Op<'_> {
    Op::Put { keyspace: crate::KeyspaceId::DEADLINES, key, value: &[], deadline: None }
}

/// Makes sure that key and value can be written.
///
/// # Errors
/// [`Error::KeyLength`], [`Error::ValueLength`], [`Error::DeadlineKeyLength`].
pub(super) fn check_put(key: &[u8], value: &[u8], deadline: Option<u64>) -> Result<(), Error> {
    check_sizes(key, value)?;
    match deadline {
        Some(_) if key.len() > KEY_MAX - crate::sweep::INDEX_HEAD => {
            Err(Error::DeadlineKeyLength { len: key.len() })
        }
        _ => Ok(()),
    }
}

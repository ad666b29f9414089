//! The end of every transaction: one commit, under locks if others have any.

use std::sync::Arc;

use super::{
    Terms,
    overlay::{Overlay, Own},
};
use crate::{
    Error, KeyspaceId, Lsn,
    locks::{Holder, Mode},
    record::{KEY_MAX, Op},
    sweep::{INDEX_HEAD, index_key},
    tree::{Attempt, Check, Keyspace, Pause, Tree, check_sizes},
};

/// The writes of a transaction, with the entries of the index that their deadlines ask for.
pub(super) struct Writes<'a> {
    own: &'a Overlay,
    due: Vec<Vec<u8>>,
}

impl<'a> Writes<'a> {
    pub(super) fn of(own: &'a Overlay) -> Writes<'a> {
        Writes { own, due: own.ops().filter_map(|op| index_key(&op)).collect() }
    }

    pub(super) fn ops(&self) -> Vec<Op<'_>> {
        // The entry says all it has to say by its key.
        let entry = |key| {
            let keyspace = KeyspaceId::DEADLINES;
            Op::Put { keyspace, key, value: &[], deadline: None }
        };
        self.own.ops().chain(self.due.iter().map(|key| entry(key.as_slice()))).collect()
    }
}

/// Commits `own` if `checks` hold.
///
/// If somebody has locks on what is written then all of that is locked first, in order, so the
/// commit takes its place in the queues and can close no circle of waiting.
///
/// # Errors
/// [`Pause`]; all but [`Pause::Failed`] may be asked again, and only then is `holder` kept.
pub(super) fn commit<'a>(
    tree: &Arc<Tree>,
    terms: Terms,
    holder: &mut Option<Holder>,
    mut checks: Vec<Check<'a>>,
    own: &'a Overlay,
) -> Attempt<Lsn> {
    let writes = Writes::of(own);
    let ops = writes.ops();
    loop {
        if let Some(holder) = holder {
            let keys = own.keys().map(|(keyspace, key)| (keyspace, key, Mode::Exclusive));
            if let Some(wait) = holder.lock_all(keys)? {
                return Err(Pause::Wait(wait));
            }
            checks.push(Check::Owner(holder.owner()));
        }
        match tree.commit(&checks, &ops) {
            Err(Pause::Locked(_)) if holder.is_none() => {
                *holder = Some(Holder::new(tree.locks(), terms.deadline));
            }
            Err(again @ (Pause::Miss(_) | Pause::Room)) => return Err(again),
            done => {
                *holder = None;
                return done;
            }
        }
    }
}

/// Gives one key a value with a deadline, and the index its entry, if nobody has locked the key.
///
/// # Errors
/// [`Pause`]; nothing happened. Lengths out of bounds.
pub(crate) fn put_at_once(
    tree: &Tree,
    to: &Keyspace,
    key: &[u8],
    value: &[u8],
    deadline: Option<u64>,
) -> Attempt<Lsn> {
    check_put(key, value, deadline)?;
    let mut own = Overlay::default();
    own.set(to.id(), key, Own::Put { value, deadline });
    own.sort();
    tree.commit(&[], &Writes::of(&own).ops())
}

/// Makes sure that key and value can be written.
///
/// # Errors
/// [`Error::KeyLength`], [`Error::ValueLength`], [`Error::DeadlineKeyLength`].
pub(super) fn check_put(key: &[u8], value: &[u8], deadline: Option<u64>) -> Result<(), Error> {
    check_sizes(key, value)?;
    match deadline {
        Some(_) if key.len() > KEY_MAX - INDEX_HEAD => {
            Err(Error::DeadlineKeyLength { len: key.len() })
        }
        _ => Ok(()),
    }
}

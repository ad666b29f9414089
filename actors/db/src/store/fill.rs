//! Filling a store that is being made.

use std::borrow::Cow;

use orloj_net::UnixMs;
use orloj_storage::{
    Database, Error,
    database::{Batch, Keyspace},
};

use super::{ACCOUNTS, COUNTS, Counts, STRINGS, keyspace, name};

/// Entries of one commit, at most, and their bytes, but for the last.
const ENTRIES: usize = 1000;
const BYTES: usize = 1 << 20;

/// A key of the tree, its value, and its deadline.
type Named<'a> = (Cow<'a, [u8]>, &'a [u8], Option<UnixMs>);

/// Gives the store in `db`, which is empty, what it is to hold; all of it is durable on return.
/// Keys with a deadline up to `clock` are gone for it. `progress` is told how many bytes of keys
/// and values are written.
///
/// # Errors
/// What the engine says; there is part of it then.
pub(crate) async fn fill<'a>(
    db: &Database,
    entries: impl Iterator<Item = (&'a [u8], &'a [u8], Option<UnixMs>)>,
    clock: UnixMs,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<Counts, Error> {
    let strings = keyspace(db, STRINGS).await?;
    let accounts = keyspace(db, ACCOUNTS).await?;
    // Each commit rests on all before it: should the disk take one back, it is all over.
    let since = db.last_assigned();
    let (mut counts, mut done) = (Counts::default(), 0);
    let (mut some, mut bytes) = (Vec::with_capacity(ENTRIES), 0);
    for (key, value, deadline) in entries {
        counts.keys += 1;
        counts.expiring += u64::from(deadline.is_some());
        bytes += key.len() + value.len();
        some.push((name::of(key), value, deadline));
        if some.len() == ENTRIES || bytes >= BYTES {
            let _more = db.commit(&batch(db.batch(since), &strings, &some)).await?;
            done += std::mem::take(&mut bytes) as u64;
            progress(done);
            some.clear();
        }
    }
    let encoded = counts.encode();
    let mut last = batch(db.batch(since), &strings, &some);
    last.put(&accounts, COUNTS, &encoded, None);
    last.tell(clock.0);
    let last = db.commit(&last).await?;
    db.durable(last).await?;
    progress(done + bytes as u64);
    Ok(counts)
}

/// Adds `entries` to `batch`.
fn batch<'a>(mut batch: Batch<'a>, strings: &Keyspace, entries: &'a [Named<'a>]) -> Batch<'a> {
    for (name, value, deadline) in entries {
        batch.put(strings, name, value, deadline.map(|at| at.0));
    }
    batch
}

//! Transactions: what becomes checks and writes of one commit.
//!
//! A transaction of whatever kind gathers what it read and what it would write, and then commits
//! all of it by one call of the tree, which judges the checks and applies the writes under the
//! latches of the leaves concerned. [`Locks`](crate::locks::Locks) decide who waits for whom; they
//! never decide what is right.
//!
//! | kind | reads | at commit |
//! | --- | --- | --- |
//! | [`Transaction`], serializable | its snapshot | nothing it read has changed |
//! | [`Transaction`], snapshot | its snapshot | nothing it writes has changed |
//! | [`Locked`] | the latest, under locks | no range it scanned has changed |
//! | [`SingleShot`](single::SingleShot) | the latest | what it read has the same versions |
//!
//! Everything here is synchronous but for the pauses of a [`Retry`].

mod check;
mod optimistic;
mod overlay;
mod pessimistic;
mod ranges;
mod retry;
mod scan;
pub mod single;
#[cfg(test)]
pub(crate) mod tests;
mod write;

use orloj_kernel::Instant;

use crate::{Lsn, page::ValuePointer, tree::Found};
pub use optimistic::{Isolation, Transaction};
use overlay::Own;
pub use pessimistic::Locked;
pub use retry::Retry;
pub use scan::{Entry, Scan};
pub(crate) use write::put_at_once;

/// What a transaction is told of time when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Keys with a deadline up to here (Unix ms) are gone.
    pub now: u64,
    /// Until when it waits for locks.
    pub deadline: Instant,
}

/// What a transaction knows of a value it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What wrote it; `None` if the transaction itself did.
    pub version: Option<Lsn>,
    /// From then on (Unix ms) it counts as deleted.
    pub deadline: Option<u64>,
    /// Where it lies, if that is in the value log and not in memory.
    pub pointer: Option<ValuePointer>,
}

impl Seen {
    /// What was found, unless its deadline has passed.
    fn of(found: Option<Found>, now: u64, out: &mut Vec<u8>) -> Option<Seen> {
        let Found { version, deadline, pointer } = found?;
        if has_passed(deadline, now) {
            out.clear();
            return None;
        }
        Some(Seen { version: Some(version), deadline, pointer })
    }
}

impl Own<'_> {
    /// Reads it into `out`.
    fn read(self, now: u64, out: &mut Vec<u8>) -> Option<Seen> {
        out.clear();
        match self {
            Own::Put { value, deadline } if !has_passed(deadline, now) => {
                out.extend_from_slice(value);
                Some(Seen { version: None, deadline, pointer: None })
            }
            Own::Put { .. } | Own::Delete => None,
        }
    }
}

fn has_passed(deadline: Option<u64>, now: u64) -> bool {
    deadline.is_some_and(|deadline| deadline <= now)
}

//! A shot against the tree.

use std::{collections::BTreeMap, sync::Arc};

use super::{Abort, Aborts, Access, Answer, Row, SingleShot, decide::Holds};
use crate::{
    Error, Lsn,
    locks::{Holder, Mode},
    page::{NEWEST, ValuePointer},
    tree::{At, Attempt, Check, LongValueMiss, Pause, Tree},
    txn::{
        Terms, has_passed,
        overlay::{Overlay, Own},
        write::{Writes, check_put},
    },
};

/// How often a shot loses to others before it locks its keys.
const LOSSES_MAX: u32 = 8;

/// What came of a shot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The version it made, or one at which what it says was so if it wrote nothing. Before
    /// anybody is told of the outcome, it must be durable.
    pub version: Lsn,
    /// What each `GET` and `ADD` says, in order; or why nothing happened.
    pub result: Result<Vec<Answer>, Abort>,
}

/// How far a shot has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// To its end.
    Done(Outcome),
    /// It needs this value, which is in the value log: see [`Execution::supply`].
    Load(LongValueMiss),
}

/// A shot that is being executed.
///
/// It reads the latest, decides, and commits if what it read still has the same versions. Whoever
/// loses starts over at once, for the winner got ahead. Who meets locks, or loses too often, locks
/// its key table in order and cannot lose any more.
#[derive(Debug)]
pub struct Execution<'a> {
    shot: &'a SingleShot<'a>,
    tree: Arc<Tree>,
    terms: Terms,
    holder: Option<Holder>,
    losses: u32,
    /// Values from the value log by segment and offset.
    long: BTreeMap<(u32, u64), Vec<u8>>,
}

impl<'a> Execution<'a> {
    /// Nothing is done yet.
    pub fn new(shot: &'a SingleShot<'a>, tree: &Arc<Tree>, terms: Terms) -> Execution<'a> {
        let tree = Arc::clone(tree);
        Execution { shot, tree, terms, holder: None, losses: 0, long: BTreeMap::new() }
    }

    /// Gives it a value that it asked for.
    pub fn supply(&mut self, at: ValuePointer, value: Vec<u8>) {
        self.long.insert((at.segment, at.offset), value);
    }

    /// Executes it. What comes to nothing is counted in `aborts`.
    ///
    /// # Errors
    /// [`Pause`]; nothing happened, ask again. [`Error::NoKeyspace`].
    pub fn run(&mut self, aborts: &Aborts) -> Attempt<Progress> {
        loop {
            if let Some(wait) = self.lock()? {
                return Err(wait);
            }
            // Before anything is read.
            let times = self.tree.snapshots().times_taken_back();
            let mut before = Vec::with_capacity(self.shot.rows.len());
            let mut checks = vec![Check::Intact { at: NEWEST, times }];
            checks.extend(self.holder.as_ref().map(|holder| Check::Owner(holder.owner())));
            for row in &self.shot.rows {
                match self.read(row)? {
                    Ok((check, holds)) => {
                        checks.push(check);
                        before.push(holds);
                    }
                    Err(missing) => return Ok(Progress::Load(missing)),
                }
            }
            let mut own = Overlay::default();
            let result = match self.shot.decide(&before) {
                Ok(decided) => {
                    for (row, write) in self.shot.rows.iter().zip(decided.writes) {
                        if let Some(write) = write {
                            own.set(row.keyspace, row.key, to_write(row, write.as_ref())?);
                        }
                    }
                    Ok(decided.answers)
                }
                Err(abort) => Err(abort),
            };
            own.sort();
            let writes = Writes::of(&own);
            match self.tree.commit(&checks, &writes.ops()) {
                Ok(version) => {
                    self.holder = None;
                    let _ = result.as_ref().inspect_err(|abort| aborts.count(abort));
                    return Ok(Progress::Done(Outcome { version, result }));
                }
                Err(Pause::Failed(Error::Conflict { .. })) => self.losses += 1,
                Err(Pause::Locked(_)) if self.holder.is_none() => self.losses = LOSSES_MAX,
                Err(pause) => return Err(pause),
            }
        }
    }

    /// Locks its keys if it must.
    fn lock(&mut self) -> Result<Option<Pause>, Error> {
        if self.losses >= LOSSES_MAX && self.holder.is_none() {
            self.holder = Some(Holder::new(self.tree.locks(), self.terms.deadline));
        }
        let Some(holder) = &mut self.holder else { return Ok(None) };
        let mode = |access| match access {
            Access::Read => Mode::Shared,
            Access::Write => Mode::Exclusive,
        };
        let set = self.shot.rows.iter().map(|row| (row.keyspace, row.key, mode(row.access)));
        Ok(holder.lock_all(set)?.map(Pause::Wait))
    }

    /// What a key holds now, and the check that it still does. Or where its value is.
    fn read(&self, row: &Row<'a>) -> Attempt<Result<(Check<'a>, Option<Holds>), LongValueMiss>> {
        let Row { keyspace, key, .. } = *row;
        let of = self.tree.keyspace(keyspace)?;
        let (mut value, now) = (Vec::new(), self.terms.now);
        let found = self.tree.get(&of, key, At::Assigned, &mut value)?;
        let Some(found) = found.filter(|found| !has_passed(found.deadline, now)) else {
            let absent = Check::VersionIs { keyspace, key, expected: Lsn(0), now };
            return Ok(Ok((absent, None)));
        };
        if let Some(pointer) = found.pointer {
            match self.long.get(&(pointer.segment, pointer.offset)) {
                Some(long) => value.clone_from(long),
                None => {
                    let (at, version) = (pointer, found.version);
                    return Ok(Err(LongValueMiss { at, keyspace, key: key.into(), version }));
                }
            }
        }
        let check = Check::VersionIs { keyspace, key, expected: found.version, now };
        Ok(Ok((check, Some(Holds { value, deadline: found.deadline }))))
    }
}

fn to_write<'h>(row: &Row<'_>, write: Option<&'h Holds>) -> Result<Own<'h>, Error> {
    let Some(Holds { value, deadline }) = write else { return Ok(Own::Delete) };
    check_put(row.key, value, *deadline)?;
    Ok(Own::Put { value, deadline: *deadline })
}

//! History applied again, and history taken back.

use super::{
    Attempt, Pause, Tree,
    descend::{Arrival, Step, To, descend},
    keyspace::Keyspace,
    split::Write,
};
use crate::{
    Error, KeyspaceId, Lsn,
    journal::Records,
    page::{Fence, Held, NEWEST, Slot},
    record::{Op, ops},
};

/// What `op` writes to a key, if it does.
fn write_of<'a>(op: &Op<'a>) -> Option<(KeyspaceId, Write<'a>)> {
    match *op {
        Op::Put { keyspace, key, value, deadline } => {
            Some((keyspace, Write { key, value: Some(value), deadline }))
        }
        Op::Delete { keyspace, key } => {
            Some((keyspace, Write { key, value: None, deadline: None }))
        }
        _ => None,
    }
}

/// What an operation of history writes to a key of `keyspace`, if it does.
fn write_to<'a>(keyspace: KeyspaceId, entry: &(Lsn, Op<'a>)) -> Option<(Write<'a>, Lsn)> {
    let (to, write) = write_of(&entry.1)?;
    (to == keyspace).then_some((write, entry.0))
}

impl Tree {
    /// Applies operations of history, each with the version of its record, and moves `batch` past
    /// those that are done, so that after a [`Pause::Miss`] it goes on where it was. What has been
    /// applied before stays as it is.
    ///
    /// Fast if the operations are in the order of (keyspace, key, version). That order is allowed
    /// between operations on keyspaces as a whole only: before one of these a batch ends, and it
    /// comes alone. Nobody else writes meanwhile; [`crate::tail::Tail::recovered`] says how far
    /// history has come.
    ///
    /// # Errors
    /// [`Pause`]; [`Error::NoKeyspace`] if the history makes no sense.
    pub fn apply_sorted(&self, batch: &mut &[(Lsn, Op<'_>)]) -> Attempt<()> {
        while let Some((version, op)) = batch.first() {
            let done = match write_of(op) {
                Some((keyspace, _)) => {
                    let keyspace = self.keyspace(keyspace)?;
                    self.apply_run(&keyspace, batch)?
                }
                None => {
                    self.apply_whole(op, *version)?;
                    1
                }
            };
            *batch = &batch[done..];
        }
        Ok(())
    }

    /// Whether nobody can ask for what a key of a keyspace held right before `version`.
    pub(crate) fn is_outdated(&self, keyspace: KeyspaceId, version: Lsn) -> bool {
        let keep = self.keyspace(keyspace).map(|keyspace| self.keep(&keyspace));
        keep.is_ok_and(|keep| keep.last <= 1 && version <= keep.floor)
    }

    /// Applies the operations at the beginning of `batch` that go to one leaf; returns how many.
    fn apply_run(&self, to: &Keyspace, batch: &[(Lsn, Op<'_>)]) -> Attempt<usize> {
        let (first, version) = write_to(to.id(), &batch[0]).expect("the first one writes there");
        let here = Fence { key: first.key, version };
        loop {
            let roots = to.roots();
            // What was written before a clear is no longer there to be seen.
            if version < roots.since {
                return Ok(1);
            }
            let step = descend(&roots.top, To::At(here), |arrival: Arrival<'_>| {
                let mut state = arrival.slot.write();
                state.content(arrival.turn)?;
                let run: Vec<(Write<'_>, Lsn)> = batch
                    .iter()
                    .map_while(|entry| write_to(to.id(), entry))
                    .take_while(|(write, version)| {
                        let here = Fence { key: write.key, version: *version };
                        let is_here = arrival.upper().is_none_or(|upper| here < upper);
                        arrival.lower() <= here && is_here && *version >= roots.since
                    })
                    .collect();
                let newest = run.iter().map(|(_, version)| *version).max().expect("the first");
                let content = state.resident();
                let size = |(write, _): &(Write<'_>, Lsn)| {
                    write.size(&content.leaf, self.sizes.inline) + Slot::SIZE
                };
                let need = run.iter().map(size).sum::<usize>();
                let bytes = need - run.len() * Slot::SIZE;
                let fits = content.leaf.fits(run.len(), bytes)
                    || self.make_room(to, content, need) && content.leaf.fits(run.len(), bytes);
                let structure = (!fits).then(|| self.structure());
                let ticket = self.tail.replayed(newest);
                state.freeze(ticket);
                let writes: Vec<Write<'_>> = run.iter().map(|(write, _)| *write).collect();
                let more = self.spread(&mut state, &writes, |number| run[number].1);
                debug_assert!(more.is_empty() || structure.is_some());
                self.publish(&roots.top, arrival.slot, &mut state, more, ticket);
                state.changed(newest);
                Ok(run.len())
            });
            match step {
                Ok(done) => return Ok(done),
                Err(Step::Restart | Step::Load | Step::Further(_)) => {}
                Err(Step::Structure) => to.await_structure(),
                Err(Step::Pause(pause)) => return Err(pause),
            }
        }
    }

    /// Takes back every version from `from` on: the journal refused `refused`, the records of the
    /// first of them, and nobody was told of any. The tail has been closed; it can be reopened
    /// afterwards.
    ///
    /// # Errors
    /// [`Pause::Miss`] never comes up: what is not durable is in memory.
    pub fn roll_back(&self, from: Lsn, refused: &Records) -> Attempt<()> {
        let mut waiting = Records::new();
        self.tail.roll_back(from, &mut waiting);
        self.snapshots.take_back(from);
        self.moments.take_back(from);
        self.applied.take_back(from);
        self.take_back_whole(from);
        for record in refused.iter().chain(waiting.iter()) {
            for op in ops(record) {
                let op = op.expect("what this process encoded makes sense");
                let Some((keyspace, write)) = write_of(&op) else { continue };
                // A keyspace that was made by what is taken back is gone, its keys with it.
                match self.keyspace(keyspace) {
                    Ok(keyspace) => self.take_back_key(&keyspace, write.key, from)?,
                    Err(Error::NoKeyspace { .. }) => {}
                    Err(error) => return Err(Pause::Failed(error)),
                }
            }
        }
        Ok(())
    }

    /// Removes the versions of `key` from `from` on.
    fn take_back_key(&self, of: &Keyspace, key: &[u8], from: Lsn) -> Attempt<()> {
        let mut version = NEWEST;
        loop {
            let roots = of.roots();
            let way = To::At(Fence { key, version });
            let step = descend(&roots.top, way, |arrival: Arrival<'_>| {
                let mut state = arrival.slot.write();
                let content = state.content_mut(arrival.turn)?;
                let (at, _) = content.leaf.seek(key, NEWEST);
                let mut changed = false;
                while content.leaf.is_of(at, key) && content.leaf.version(at) >= from {
                    if let Held::Memory(number) = content.leaf.entry(at).held {
                        content.longs[number as usize] = None;
                    }
                    content.leaf.remove(at);
                    changed = true;
                }
                let next = content.leaf.goes_on_with(key).filter(|next| *next >= from);
                if changed {
                    let newest = state.lsn;
                    state.changed(newest);
                }
                next.map_or(Ok(()), |next| Err(Step::Further(next)))
            });
            match step {
                Ok(()) => return Ok(()),
                Err(Step::Further(next)) => version = next,
                Err(Step::Restart | Step::Load) => {}
                Err(Step::Structure) => of.await_structure(),
                Err(Step::Pause(pause)) => return Err(pause),
            }
        }
    }
}

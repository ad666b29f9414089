//! Applying to the tree what the journal has behind its generation.

use orloj_kernel::sometimes;

use super::{Report, batch::Batch};
use crate::{
    Error, Lsn,
    checkpoint::Checkpoint,
    engine::Engine,
    journal::History,
    page::Claim,
    record::{Op, ops},
    tree::{Attempt, Pause},
    vlog::Appender,
};

/// Bytes of writes that are sorted and applied together: half of the cache, within these bounds.
const BATCH: (u64, u64) = (32 << 20, 256 << 20);

/// The journal on its way into the tree.
///
/// Records are taken as they are read for the first time, which is when they are judged: what they
/// write to is in memory most often, and if the journal turns out to be damaged the tree is thrown
/// away. From the first record on that would have to wait for anything the journal is read again,
/// once it is known to be whole.
pub(super) struct Replay<'a> {
    engine: &'a Engine,
    batch: Batch,
    /// Bytes at which it is full.
    most: usize,
    /// The last record that was taken.
    last: Lsn,
    /// The first that was not, as something had to be waited for.
    stalled: Option<Lsn>,
    /// Units of trees that were loaded: nothing may be written there.
    loaded: Vec<Claim>,
    operations: u64,
}

/// What a record turned out to be.
enum Taken {
    /// It is in the batch.
    Whole,
    /// It says something of a keyspace as a whole, before which all that came before must be
    /// applied. Some of it may be in the batch.
    Barrier,
    Senseless,
}

impl<'a> Replay<'a> {
    pub(super) fn new(engine: &'a Engine, after: Lsn) -> Replay<'a> {
        let most = (engine.options.cache_bytes / 2).clamp(BATCH.0, BATCH.1) as usize;
        let (batch, loaded, stalled) = (Batch::default(), Vec::new(), None);
        Replay { engine, batch, most, last: after, stalled, loaded, operations: 0 }
    }

    /// Whether a record that is read for the first time makes sense. Takes it, unless something has
    /// to be waited for first.
    pub(super) fn judge(&mut self, lsn: Lsn, record: &[u8]) -> bool {
        if self.stalled.is_some() {
            return ops(record).all(|op| op.inspect(|op| self.look(op)).is_ok());
        }
        if self.batch.size() >= self.most && self.settle_at_once().is_err() {
            self.stalled = Some(lsn);
            return self.judge(lsn, record);
        }
        match self.take(lsn, record) {
            Taken::Senseless => return false,
            Taken::Whole => {}
            Taken::Barrier => {
                if self.take_at_once(lsn, record).is_err() {
                    self.stalled = Some(lsn);
                }
                return self.stalled.is_none() || self.judge(lsn, record);
            }
        }
        true
    }

    /// From which record on the journal has to be read again.
    pub(super) fn stalled(&self) -> Option<Lsn> {
        self.stalled
    }

    /// Applies what is left: what was taken, and then what `history` has from there on.
    ///
    /// # Errors
    /// What cannot be loaded. [`Error::NoKeyspace`] if the journal makes no sense.
    pub(super) async fn finish(
        mut self,
        history: Option<History>,
        values: &mut Appender,
        report: &mut Report,
    ) -> Result<(), Error> {
        self.settle(values, report).await?;
        let Some(mut history) = history else {
            report.operations += self.operations;
            return Ok(());
        };
        sometimes!(self.engine.cx, true, "recovery: the journal was read again");
        while history.frame().await? {
            for (lsn, record) in history.records() {
                match self.take(lsn, record) {
                    Taken::Whole => {}
                    Taken::Barrier => self.take_singly(lsn, record).await?,
                    Taken::Senseless => unreachable!("it made sense when the journal was judged"),
                }
            }
            if self.batch.size() >= self.most {
                self.settle(values, report).await?;
            }
        }
        self.settle(values, report).await?;
        report.operations += self.operations;
        Ok(())
    }

    /// Puts a record into the batch, if it can be sorted with others.
    #[inline]
    fn take(&mut self, lsn: Lsn, record: &[u8]) -> Taken {
        let (mut all, before) = (ops(record), self.batch.count());
        loop {
            let rest = all.rest();
            match all.next() {
                None => break,
                Some(Ok(op @ (Op::Put { .. } | Op::Delete { .. }))) => {
                    self.batch.add(lsn, &op, &rest[..rest.len() - all.rest().len()]);
                }
                Some(Ok(_)) => {
                    let makes_sense = all.all(|op| op.is_ok());
                    return if makes_sense { Taken::Barrier } else { Taken::Senseless };
                }
                Some(Err(_)) => return Taken::Senseless,
            }
        }
        self.operations += (self.batch.count() - before) as u64;
        self.last = self.last.max(lsn);
        Taken::Whole
    }

    fn look(&mut self, op: &Op<'_>) {
        if let Op::Load { units, .. } = op {
            let claim = Claim::decode(units).expect("the operation makes sense");
            self.engine.pager.space.keep(&claim);
            self.loaded.push(claim);
        }
    }

    /// Applies a record by itself, if nothing of it and of what came before has to wait.
    fn take_at_once(&mut self, lsn: Lsn, record: &[u8]) -> Attempt<()> {
        self.batch.apply(&self.engine.tree)?;
        let mut all = ops(record);
        loop {
            let rest = all.rest();
            let Some(op) = all.next() else { break };
            match op.expect("it makes sense") {
                op @ (Op::Put { .. } | Op::Delete { .. }) => {
                    self.batch.add(lsn, &op, &rest[..rest.len() - all.rest().len()]);
                    self.batch.apply(&self.engine.tree)?;
                }
                // Its root has to be looked at.
                Op::Load { .. } => return Err(Pause::Room),
                op => self.engine.tree.apply_sorted(&mut &[(lsn, op)][..])?,
            }
        }
        self.operations += ops(record).count() as u64;
        self.last = self.last.max(lsn);
        Ok(())
    }

    /// Applies a record by itself, and before it what came before.
    async fn take_singly(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), Error> {
        let Replay { engine, batch, .. } = self;
        batch.load_and_apply(engine).await?;
        let mut all = ops(record);
        loop {
            let rest = all.rest();
            let Some(op) = all.next() else { break };
            match op.expect("it makes sense") {
                op @ (Op::Put { .. } | Op::Delete { .. }) => {
                    batch.add(lsn, &op, &rest[..rest.len() - all.rest().len()]);
                    batch.load_and_apply(engine).await?;
                }
                op => {
                    if let Op::Load { root, .. } = op {
                        // Whoever has the journal without those pages must not believe it.
                        engine.pager.read(root).await?;
                    }
                    match engine.tree.apply_sorted(&mut &[(lsn, op)][..]) {
                        Err(Pause::Failed(error)) => return Err(error),
                        applied => applied.expect("it asks for no page"),
                    }
                }
            }
        }
        self.operations += ops(record).count() as u64;
        self.last = self.last.max(lsn);
        Ok(())
    }

    /// Applies the batch and sees to it that there is room, if neither has to wait.
    fn settle_at_once(&mut self) -> Attempt<()> {
        self.engine.tree.tail().recovered(self.last);
        self.batch.apply(&self.engine.tree)?;
        if self.engine.has_room() { Ok(()) } else { Err(Pause::Room) }
    }

    /// Applies the batch and makes room.
    async fn settle(&mut self, values: &mut Appender, report: &mut Report) -> Result<(), Error> {
        // What is older than the newest of a key in the batch need not be put into the tree.
        self.engine.tree.tail().recovered(self.last);
        self.batch.load_and_apply(self.engine).await?;
        make_room(self.engine, values, report).await
    }
}

/// Writes a checkpoint if everything in memory is dirty: the journal is durable, so the state
/// between two records is as good as any.
async fn make_room(
    engine: &Engine,
    values: &mut Appender,
    report: &mut Report,
) -> Result<(), Error> {
    if engine.has_room() {
        return Ok(());
    }
    sometimes!(engine.cx, true, "recovery: a checkpoint made room");
    match Checkpoint::begin(engine).write(values).await {
        Ok(_) => {
            report.checkpoints += 1;
            engine.cache.measure();
            Ok(())
        }
        // Memory is not bounded by a disk that is full.
        Err(Error::ReadOnly { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

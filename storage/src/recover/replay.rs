//! Applying to the tree what the journal has behind its generation.

use std::mem::take;

use orloj_kernel::sometimes;

use super::Report;
use crate::{
    Error, Lsn,
    checkpoint::Checkpoint,
    engine::Engine,
    journal::History,
    record::{Op, ops},
    tree::Pause,
    vlog::Appender,
};

/// Operations that are sorted and applied together. Sorting makes one pass over the leaves out of
/// visits at random.
const BATCH: usize = 256 << 10;
/// Bytes of records above which fewer are.
const BATCH_BYTES: usize = 32 << 20;

/// Applies all of `history`, a batch at a time: so much of it is in memory, and a segment.
pub(super) async fn replay(
    history: &mut History,
    engine: &Engine,
    values: &mut Appender,
    report: &mut Report,
) -> Result<(), Error> {
    let mut batch = Batch::default();
    while history.frame().await? {
        for (lsn, record) in history.records() {
            batch.keep(lsn, record);
        }
        if batch.is_full() {
            batch.apply(engine, values, report).await?;
        }
    }
    batch.apply(engine, values, report).await
}

/// Records on their way from the journal to the tree, as they were read.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each record ends, and its version.
    ends: Vec<(usize, Lsn)>,
    operations: usize,
}

impl Batch {
    fn keep(&mut self, lsn: Lsn, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push((self.bytes.len(), lsn));
        self.operations += ops(record).count();
    }

    fn is_full(&self) -> bool {
        self.operations >= BATCH || self.bytes.len() >= BATCH_BYTES
    }

    /// Applies all of them, and makes room.
    async fn apply(
        &mut self,
        engine: &Engine,
        values: &mut Appender,
        report: &mut Report,
    ) -> Result<(), Error> {
        let Some((_, last)) = self.ends.last().copied() else { return Ok(()) };
        let mut batch: Vec<(Lsn, Op<'_>)> = Vec::with_capacity(self.operations);
        let mut start = 0;
        for (end, lsn) in &self.ends {
            let record = &self.bytes[start..*end];
            start = *end;
            for op in ops(record) {
                let op = op.expect("it made sense when the journal was judged");
                match op {
                    Op::Put { .. } | Op::Delete { .. } => batch.push((*lsn, op)),
                    // These change where keys are found: what came before must be there.
                    Op::Clear(_) | Op::Create { .. } | Op::Drop(_) => {
                        apply_batch(engine, take(&mut batch)).await?;
                        apply_batch(engine, vec![(*lsn, op)]).await?;
                    }
                    Op::Clock(_) | Op::Applied(_) => apply_batch(engine, vec![(*lsn, op)]).await?,
                }
            }
        }
        apply_batch(engine, batch).await?;
        report.operations += self.operations as u64;
        engine.tree.tail().recovered(last);
        self.operations = 0;
        self.bytes.clear();
        self.ends.clear();
        make_room(engine, values, report).await
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

async fn apply_batch(engine: &Engine, mut batch: Vec<(Lsn, Op<'_>)>) -> Result<(), Error> {
    // Stable: what one record does to one key twice stays in its order.
    batch.sort_by(|a, b| order(a).cmp(&order(b)));
    let mut left = &batch[..];
    loop {
        let miss = match engine.tree.apply_sorted(&mut left) {
            Ok(()) => return Ok(()),
            Err(Pause::Miss(miss)) => miss,
            Err(Pause::Failed(error)) => return Err(error),
            Err(pause) => unreachable!("nobody else is there during a recovery: {pause:?}"),
        };
        engine.load(miss).await?;
    }
}

/// By keyspace, key and version.
fn order<'a>((lsn, op): &(Lsn, Op<'a>)) -> (u32, &'a [u8], Lsn) {
    match op {
        Op::Put { keyspace, key, .. } | Op::Delete { keyspace, key } => (keyspace.0, key, *lsn),
        _ => (0, &[], *lsn),
    }
}

//! Applying to the tree what the journal has behind its generation.

use std::mem::take;

use orloj_kernel::sometimes;

use super::Report;
use crate::{
    Error, Lsn,
    checkpoint::Checkpoint,
    engine::Engine,
    record::{Op, ops},
    tree::Pause,
    vlog::Appender,
};

/// Operations that are sorted and applied together. Sorting makes one pass over the leaves out of
/// visits at random.
const BATCH: usize = 64 << 10;

/// Records on their way from the journal to the tree. They are kept in memory as they were read;
/// the bytes of journal at which a checkpoint begins bound how many they are.
#[derive(Debug, Default)]
pub(super) struct Replay {
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
    /// The version before the first.
    before: Lsn,
}

impl Replay {
    pub(super) fn new(before: Lsn) -> Replay {
        Replay { before, ..Replay::default() }
    }

    /// Keeps a record; whether it makes sense.
    pub(super) fn keep(&mut self, lsn: Lsn, record: &[u8]) -> bool {
        assert_eq!(lsn, self.before.plus(self.ends.len() as u64 + 1), "a record out of order");
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
        ops(record).all(|op| op.is_ok())
    }

    /// Applies all of them.
    pub(super) async fn apply(
        self,
        engine: &Engine,
        values: &mut Appender,
        report: &mut Report,
    ) -> Result<(), Error> {
        let mut batch: Vec<(Lsn, Op<'_>)> = Vec::new();
        let (mut start, mut lsn) = (0, self.before);
        for end in &self.ends {
            let record = &self.bytes[start..*end];
            (start, lsn) = (*end, lsn.next());
            for op in ops(record) {
                let op = op.expect("it made sense when it was kept");
                report.operations += 1;
                match op {
                    Op::Put { .. } | Op::Delete { .. } => batch.push((lsn, op)),
                    // These change where keys are found: what came before must be there.
                    Op::Clear(_) | Op::Create { .. } | Op::Drop(_) => {
                        apply_batch(engine, take(&mut batch)).await?;
                        apply_batch(engine, vec![(lsn, op)]).await?;
                    }
                    Op::Clock(_) | Op::Applied(_) => apply_batch(engine, vec![(lsn, op)]).await?,
                }
            }
            if batch.len() >= BATCH {
                apply_batch(engine, take(&mut batch)).await?;
                engine.tree.tail().recovered(lsn);
                self.make_room(engine, values, report).await?;
            }
        }
        apply_batch(engine, batch).await?;
        engine.tree.tail().recovered(lsn);
        self.make_room(engine, values, report).await
    }

    /// Writes a checkpoint if everything in memory is dirty: the journal is durable, so the state
    /// between two records is as good as any.
    async fn make_room(
        &self,
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
}

async fn apply_batch(engine: &Engine, mut batch: Vec<(Lsn, Op<'_>)>) -> Result<(), Error> {
    // Stable: what one record does to one key twice stays in its order.
    batch.sort_by(|a, b| order(a).cmp(&order(b)));
    let mut left = &batch[..];
    loop {
        let miss = match engine.tree.apply_sorted(&mut left) {
            Ok(()) => return Ok(()),
            Err(Pause::Miss(miss)) => miss,
            Err(Pause::Room) => unreachable!("history needs no room in the batch"),
            Err(Pause::Failed(error)) => return Err(error),
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

//! The journal's tests: its bytes, its judgement of damage, and its life under power cuts.

mod crash;
mod damage;
mod format;
mod history;
mod trim;
mod world;

use orloj_kernel::Context;

use super::{AppendError, JournalConfig, JournalError, Log, Lsn, Records, Recovery};

/// Small enough that a few records fill a segment.
fn small() -> JournalConfig {
    let step_bytes = 4096;
    JournalConfig {
        first_bytes: 8192,
        segment_bytes: 16384,
        step_bytes,
        ..JournalConfig::new("wal")
    }
}

type History = Vec<Vec<u8>>;

async fn open(cx: Context) -> Result<(Log, Recovery, History), JournalError> {
    let mut history = History::new();
    let mut next = 1;
    let mut on_record = |lsn: Lsn, record: &[u8]| {
        assert_eq!(lsn, Lsn(next), "a record out of order");
        next += 1;
        history.push(record.to_vec());
        true
    };
    let (log, recovery) = Log::open(cx, small(), &mut on_record).await?;
    assert_eq!(log.next(), Lsn(next));
    assert_eq!(log.durable().next(), log.next(), "what recovery tells is durable");
    assert_eq!(recovery.last, log.durable());
    Ok((log, recovery, history))
}

fn batch<'a>(records: impl IntoIterator<Item = &'a [u8]>) -> [Records; 1] {
    let mut batch = Records::new();
    for record in records {
        batch.push(|out| out.extend_from_slice(record));
    }
    [batch]
}

async fn append(log: &mut Log, record: &[u8]) -> Result<(), AppendError> {
    log.append(&batch([record]), true).await
}

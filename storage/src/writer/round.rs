//! One turn of whoever has the journal.

use std::{
    slice,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use orloj_kernel::{DiskError, mutant, sometimes};

use super::{Goal, Writer};
use crate::{
    Error, Lsn,
    journal::{AppendError, Log, Records},
    tree::Pause,
};

/// What is done with the journal in one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// What waits is written, and synced if that is asked for.
    Flush { sync: bool },
    /// The journal says that everything up to now is durable.
    Mark,
    /// The same, and that it was closed in order.
    Close,
    /// The journal goes on in a new segment, if the disk has room for one.
    MakeRoom,
    /// The journal goes on in a segment of the least size.
    Shorten,
    /// Segments that end before this version are removed, but for what somebody keeps.
    Trim { keep: Lsn },
}

impl Round {
    pub(super) async fn run(
        self,
        writer: Arc<Writer>,
        mut log: Log,
        mut records: Records,
    ) -> Result<(), Error> {
        let done = match self {
            Round::Flush { sync } => writer.flush(&mut log, &mut records, sync).await,
            Round::Mark => log.mark(false).await,
            Round::Close => log.mark(true).await,
            Round::MakeRoom => log.make_room().await,
            Round::Shorten => log.shorten().await,
            Round::Trim { keep } => match log.trim(writer.needed(keep)).await {
                Ok(_) => Ok(()),
                Err(cause) => Err(AppendError::Refused { cause, definite: true }),
            },
        };
        records.clear();
        let mut state = writer.state();
        state.spare = records;
        let outcome = match done {
            Ok(()) => {
                if self == Round::MakeRoom && std::mem::take(&mut state.refusing) {
                    sometimes!(writer.cx, true, "writer: there was room again");
                    writer.tree.tail().reopen();
                }
                Ok(())
            }
            Err(AppendError::Refused { cause, .. }) => Err(Error::ReadOnly { cause }),
            Err(AppendError::Fatal(cause)) => {
                let error = halted(cause);
                writer.tree.tail().close(error.clone());
                state.end(error.clone());
                Err(error)
            }
        };
        if state.ended.is_none() {
            state.log = Some(log);
        }
        let tail = writer.tree.tail();
        let durable = tail.last_durable();
        let (taken_back, has_ended) = (outcome.is_err(), state.ended.is_some());
        let due = state.due(|goal| match goal {
            Goal::Durable { version, .. } => taken_back || *version <= durable,
            Goal::Done(_) => has_ended,
        });
        drop(state);
        due.iter().for_each(std::task::Waker::wake_by_ref);
        outcome
    }
}

impl Writer {
    /// Writes what waits as one frame.
    async fn flush(
        &self,
        log: &mut Log,
        records: &mut Records,
        sync: bool,
    ) -> Result<(), AppendError> {
        let tail = self.tree.tail();
        let last = tail.drain(records);
        let done = match records.is_empty() {
            true if sync && log.durable().next() < log.next() => {
                log.sync().await.map_err(AppendError::Fatal)
            }
            true => Ok(()),
            false => {
                let sync = sync && !mutant!(self.cx, "writer.ack_before_sync");
                log.append(slice::from_ref(records), sync).await
            }
        };
        match &done {
            Ok(()) => {
                assert_eq!(log.next(), last.next(), "the journal ends where the tail was drained");
                sometimes!(
                    self.cx,
                    records.count() > 1,
                    "writer: one frame carried several records"
                );
                let new = records.len() as u64;
                self.bell.written(self.bytes.fetch_add(new, Relaxed) + new);
                tail.written(last);
                match sync && mutant!(self.cx, "writer.ack_before_sync") {
                    true => tail.durable(last),
                    false => tail.durable(log.durable()),
                }
            }
            Err(AppendError::Refused { cause, definite }) => {
                self.refuse(log, records, cause, *definite)
            }
            Err(AppendError::Fatal(_)) => {}
        }
        done
    }

    /// The disk took no write: takes back what it refused, and all that came after.
    fn refuse(&self, log: &Log, records: &Records, cause: &DiskError, definite: bool) {
        sometimes!(self.cx, definite, "writer: a refused batch was taken back");
        sometimes!(self.cx, !definite, "writer: a refused batch may be found by a recovery");
        self.cx.trace("storage", format_args!("refused (definite: {definite}): {cause}"));
        self.tree.tail().close(Error::ReadOnly { cause: cause.clone() });
        {
            let mut state = self.state();
            state.refusal = Some((cause.clone(), definite));
            state.refusing = true;
        }
        if mutant!(self.cx, "writer.refused_stays_in_memory") {
            return self.wake_beat();
        }
        match self.tree.roll_back(log.next(), records) {
            Ok(()) => {}
            Err(Pause::Failed(error)) => panic!("what was never written is taken back: {error}"),
            Err(pause) => panic!("what is not durable is in memory: {pause:?}"),
        }
        self.wake_beat();
    }
}

/// A failed sync, whatever the disk calls it.
fn halted(cause: DiskError) -> Error {
    Error::Disk(DiskError { op: "sync", ..cause })
}

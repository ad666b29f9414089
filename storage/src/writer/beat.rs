//! The beat: what the journal is owed when nobody waits for it.

use std::{sync::Arc, sync::atomic::Ordering::SeqCst, task::Poll, time::Duration};

use super::{Durability, Round, Writer};
use crate::Lsn;

/// How often it looks while there is something to look after. Also, when nothing has been written
/// for so long, the journal says that all is durable: see [`crate::journal::Log::mark`].
const BEAT: Duration = Duration::from_millis(5);
/// How long a full disk is left alone before it is asked again.
const RETRY: Duration = Duration::from_millis(250);
/// So many unsynced records are synced by the next beat, however young they are.
const SYNC_RECORDS: u64 = 1_000;

/// Lives as long as the database is open.
pub(super) async fn run(writer: Arc<Writer>) {
    let mut marked = writer.tree.tail().assigned();
    while writer.is_needed().await {
        match writer.look_after(marked).await {
            Some(upto) => marked = upto,
            None => break,
        }
    }
    // Nobody is told any more; what waits is written all the same.
    let _ = writer.act(Round::Flush { sync: true }).await;
}

impl Writer {
    /// Waits until there is something to look after; `false` if there never will be.
    async fn is_needed(&self) -> bool {
        std::future::poll_fn(|task| {
            let mut state = self.state();
            if state.stopped || state.ended.is_some() {
                return Poll::Ready(false);
            }
            if self.armed.load(SeqCst) {
                return Poll::Ready(true);
            }
            state.beat = Some(task.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Beats until everything is written and said to be durable; up to which version that is. What
    /// had been `marked` before need not be said again. `None` at the end.
    async fn look_after(self: &Arc<Self>, marked: Lsn) -> Option<Lsn> {
        let tail = self.tree.tail();
        let (mut before, mut unsynced) = (marked, self.cx.now());
        loop {
            if self.state().refusing {
                self.rest(RETRY).await?;
                let _ = self.act(Round::MakeRoom).await;
                continue;
            }
            self.rest(BEAT).await?;
            // Before the look: what is assigned after it arms again.
            self.armed.store(false, SeqCst);
            let now = tail.assigned();
            // In strict mode somebody waits for every write, unless he was dropped.
            let is_due = self.durability == Durability::Buffered || now == before;
            if is_due && tail.last_durable() < now {
                let are_many = now.0 - tail.last_durable().0 >= SYNC_RECORDS;
                let is_late = are_many || self.cx.now().since(unsynced) >= self.sync_every;
                let sync = is_late || self.durability == Durability::Strict;
                // A refusal is told to those who wait, and seen by the next beat.
                let _ = self.act(Round::Flush { sync }).await;
                if sync {
                    unsynced = self.cx.now();
                }
            }
            let is_quiet = now == before && tail.last_durable() == now;
            if is_quiet && now == tail.assigned() {
                if now > marked {
                    // One that is refused leaves the journal as it was.
                    let _ = self.act(Round::Mark).await;
                }
                if !self.state().refusing {
                    return Some(now);
                }
            }
            before = now;
        }
    }

    /// Rests for a while; `None` if the database has ended meanwhile.
    async fn rest(&self, time: Duration) -> Option<()> {
        self.cx.sleep(time).await;
        let state = self.state();
        (!state.stopped && state.ended.is_none()).then_some(())
    }
}

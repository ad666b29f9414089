//! Telling openraft when entries are safe.

use std::io;

use openraft::storage::IOFlushed;
use openraft_rt::MpscReceiver;
use orloj_kernel::{Context, mutant};
use orloj_storage::{Database, database::Assigned};

use crate::{channel::Receiver, types::Types};

/// Entries that are in the engine, and who waits until they are safe.
pub(crate) type Waiting = (Assigned, IOFlushed<Types>);

/// Waits for one append after the other, in their order. Who waits leads the engine's group commit,
/// and what was appended meanwhile goes with it: the next few are then safe at once.
pub(crate) async fn run(cx: Context, db: Database, mut appends: Receiver<Waiting>) {
    while let Some((assigned, done)) = appends.recv().await {
        if mutant!(cx, "cluster.append_done_before_sync") {
            done.io_completed(Ok(()));
            continue;
        }
        let durable = db.durable(assigned).await;
        done.io_completed(durable.map(|_| ()).map_err(io::Error::other));
    }
}

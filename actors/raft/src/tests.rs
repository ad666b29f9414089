//! What the log and the state machine promise together: openraft's own suite, and power cuts.

mod crash;
mod heartbeat;
mod log;
mod machine;
mod program;
mod suite;

use orloj_kernel::Context;
use orloj_storage::{Database, Durability, Options};

use crate::{
    log::LogStore,
    machine::{self as state_machine, Machine},
};

/// A node's storage in the directory of that name.
async fn open(cx: Context, dir: &str) -> (Database, LogStore, Machine) {
    let options = Options::new(dir, Durability::Strict);
    let (db, _) = Database::open(cx, options).await.expect("the disk works");
    let (log, machine) = state_machine::open(cx, db.clone()).await.expect("it makes sense");
    (db, log, machine)
}

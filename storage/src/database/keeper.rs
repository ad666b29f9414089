//! The keeper: what a database does for itself now and then.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use orloj_kernel::{Context, mutant};

use super::{Database, Shared, files::Call};
use crate::{Error, Lsn, record::Op, sweep, vlog::Appender};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// How long it leaves a disk alone that takes none.
const RETRY: Duration = Duration::from_millis(250);
/// Keys whose time has passed that go in one commit.
const SWEEP: usize = 256;

/// Lives until the database is closed or its last handle is gone.
pub(super) async fn run(cx: Context, of: Weak<Shared>) {
    let mut told = Lsn(0);
    loop {
        cx.sleep(EVERY).await;
        let Some(shared) = of.upgrade() else { return };
        let db = Database(shared);
        match db.keep(&mut told).await {
            Ok(()) => {}
            Err(Error::Closed) => return,
            // A disk that takes nothing, or a page that cannot be read: the next time may do.
            Err(error) => cx.trace("storage", format_args!("keeper: {error}")),
        }
    }
}

/// Writes checkpoints for as long as the database is open.
pub(super) async fn checkpoints(cx: Context, of: Weak<Shared>, mut values: Appender) {
    loop {
        let Some(shared) = of.upgrade() else { return };
        let files = shared.files.as_ref().expect("only files have checkpoints");
        let asked = match files.call(cx.now()) {
            Call::Over => return,
            Call::NotYet => {
                let (bell, until) = (Arc::clone(files.writer.bell()), cx.now() + files.pause());
                // The database is not held while nothing happens.
                drop(shared);
                bell.wait(cx, until).await;
                continue;
            }
            Call::Compact((what, reply)) => {
                reply.send(files.compact(what, &mut values).await);
                continue;
            }
            Call::Write(asked) => asked,
        };
        let done = files.write_checkpoint(&mut values).await;
        if let Err(error) = &done {
            cx.trace("storage", format_args!("checkpoint: {error}"));
        }
        let has_failed = done.is_err();
        for reply in asked {
            reply.send(done.clone());
        }
        // What is collected after the last checkpoint would be in no catalogue.
        if !has_failed
            && !files.is_closing()
            && let Err(error) = files.collect(&mut values).await
        {
            cx.trace("storage", format_args!("values: {error}"));
        }
        drop(shared);
        if has_failed {
            cx.sleep(RETRY).await;
        }
    }
}

impl Database {
    /// Tells history the time, if anything was written since that was `told`, and gives back the
    /// space of keys whose time has passed.
    async fn keep(&self, told: &mut Lsn) -> Result<(), Error> {
        self.check_open()?;
        let tree = self.tree();
        if tree.tail().assigned() > *told {
            *told = self.ask(|| tree.commit(&[], &[Op::Clock(self.now())])).await?;
            self.arm();
        }
        if !self.0.options.sweeps {
            return Ok(());
        }
        loop {
            let now = match mutant!(self.0.cx, "keeper.sweeps_too_soon") {
                true => self.now() + 1_000,
                false => self.now(),
            };
            let swept = self.ask(|| sweep::sweep(tree, now, SWEEP)).await?;
            if swept.entries > 0 {
                self.arm();
            }
            if !swept.more {
                return Ok(());
            }
        }
    }
}

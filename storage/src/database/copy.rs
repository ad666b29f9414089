//! What a backup needs of an open database.

use std::sync::Arc;

use orloj_kernel::Context;

use super::Database;
use crate::{
    Error, Lsn,
    backup::Moment,
    engine::{Engine, Hold},
    record::Op,
    writer::Kept,
};

/// A generation to be copied, which stays as it is meanwhile, with the journal behind it.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) hold: Hold,
    pub(crate) kept: Kept,
}

impl Database {
    pub(crate) fn cx(&self) -> Context {
        self.0.cx
    }

    /// What there is of files; `None` in memory.
    pub(crate) fn engine(&self) -> Option<&Arc<Engine>> {
        self.0.files.as_ref().map(|files| &files.engine)
    }

    /// The newest version, whether durable or not.
    pub(crate) fn newest(&self) -> Lsn {
        self.tree().tail().assigned()
    }

    /// Tells history the time, so that the version has a moment of its own, and waits until that
    /// is durable, and everything before it.
    pub(crate) async fn tell_time(&self) -> Result<Moment, Error> {
        self.check_open()?;
        let taken_back = self.times_taken_back();
        let time = self.now();
        let version = self.ask(|| self.tree().commit(&[], &[Op::Clock(time)])).await?;
        self.durable(self.assigned(version, taken_back)).await?;
        Ok(Moment { version, time })
    }

    /// Keeps the journal from `from` on, as far as it is still there.
    pub(crate) async fn keep_journal(&self, from: Lsn) -> Kept {
        let files = self.0.files.as_ref().expect("only files have a journal");
        files.writer.keep(from).await
    }

    /// Writes a checkpoint and holds it.
    pub(crate) async fn hold(&self) -> Result<Copied, Error> {
        // Before the checkpoint, which else trims what it does not need itself.
        let kept = self.keep_journal(Lsn(0)).await;
        self.checkpoint().await?;
        let engine = self.engine().expect("only files have checkpoints");
        let hold = engine.hold().expect("there is a checkpoint");
        kept.move_to(hold.superblock().lsn.next());
        Ok(Copied { hold, kept })
    }
}

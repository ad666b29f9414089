//! The keeper: what a database does for itself now and then.

use std::{sync::Weak, time::Duration};

use orloj_kernel::Context;

use super::{Database, Shared};
use crate::{Error, Lsn, record::Op, sweep};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
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

impl Database {
    /// Tells history the time, if anything was written since that was `told`, and gives back the
    /// space of keys whose time has passed.
    async fn keep(&self, told: &mut Lsn) -> Result<(), Error> {
        self.check_open()?;
        if self.tree().tail().assigned() > *told {
            *told = self.tell_time().await?;
        }
        loop {
            match sweep::sweep(self.tree(), self.now(), SWEEP) {
                Ok(swept) => {
                    if let (Some(files), 1..) = (&self.0.files, swept.entries) {
                        files.writer.arm();
                    }
                    if !swept.more {
                        return Ok(());
                    }
                }
                Err(pause) => self.resolve(pause).await?,
            }
        }
    }

    async fn tell_time(&self) -> Result<Lsn, Error> {
        loop {
            match self.tree().commit(&[], &[Op::Clock(self.now())]) {
                Ok(version) => {
                    // Nobody waits for it.
                    let _ = self.assigned(version, 0);
                    return Ok(version);
                }
                Err(pause) => self.resolve(pause).await?,
            }
        }
    }
}

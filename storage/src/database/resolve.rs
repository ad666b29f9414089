//! Doing what has to be done before something can be asked again.

use super::Database;
use crate::{
    Error,
    locks::{Holder, Mode},
    tree::Pause,
    writer::Round,
};

impl Database {
    /// Does what `pause` asks for. Afterwards the same can be asked again, and may pause again.
    ///
    /// # Errors
    /// What [`Pause::Failed`] says; what stands in the way.
    pub async fn resolve(&self, pause: Pause) -> Result<(), Error> {
        match pause {
            Pause::Failed(error) => Err(error),
            Pause::Room => self.make_room().await,
            Pause::Wait(wait) => wait.over(&self.0.cx).await,
            Pause::Locked(place) => {
                let terms = self.terms();
                let mut holder = Holder::new(self.tree().locks(), terms.deadline);
                // Held for a moment: who writes without a transaction queues like everybody else.
                while let Some(wait) = holder.lock(place.keyspace, &place.key, Mode::Exclusive)? {
                    wait.over(&self.0.cx).await?;
                }
                Ok(())
            }
            Pause::Miss(miss) => unreachable!("everything is in memory: {miss:?}"),
        }
    }

    /// Records wait for the journal.
    async fn make_room(&self) -> Result<(), Error> {
        let Some(files) = &self.0.files else { return Ok(()) };
        let sync = self.0.options.durability == crate::Durability::Strict;
        files.writer.act(Round::Flush { sync }).await
    }
}

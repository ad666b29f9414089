//! Asking until there is an answer.

use orloj_kernel::mutant;

use super::Database;
use crate::{
    Error,
    locks::{Holder, Mode},
    tree::{Attempt, LongValueMiss, Pause},
};

impl Database {
    /// Does what `pause` asks for. Afterwards the same can be asked again, and may pause again.
    ///
    /// # Errors
    /// What [`Pause::Failed`] says, or what stands in the way.
    pub async fn resolve(&self, pause: Pause) -> Result<(), Error> {
        match (pause, &self.0.files) {
            (Pause::Failed(error), _) => Err(error),
            (Pause::Wait(wait), _) => wait.over(&self.0.cx).await,
            (Pause::Locked(place), _) => {
                let mut holder = Holder::new(self.tree().locks(), self.terms().deadline);
                // Who writes without a transaction queues like everybody else.
                if mutant!(self.0.cx, "locks.turn_is_held") {
                    let mode = Mode::Exclusive;
                    while let Some(wait) = holder.lock(place.keyspace, &place.key, mode)? {
                        wait.over(&self.0.cx).await?;
                    }
                    return Ok(());
                }
                if let Some(wait) = holder.turn(place.keyspace, &place.key)? {
                    wait.over(&self.0.cx).await?;
                }
                holder.settle()
            }
            (Pause::Miss(miss), Some(files)) => files.load(miss).await,
            (Pause::Value(miss), Some(files)) => files.value(&miss).await.map(|_| ()),
            (Pause::Room, Some(files)) => files.make_room().await,
            (pause @ (Pause::Miss(_) | Pause::Value(_) | Pause::Room), None) => {
                unreachable!("everything is in memory, for ever: {pause:?}")
            }
        }
    }

    /// Asks until there is an answer. What was loaded for it stays until then: who needs several
    /// pages at once would else lose one for the other.
    pub(super) async fn ask<T>(&self, mut ask: impl FnMut() -> Attempt<T>) -> Result<T, Error> {
        let mut pin = None;
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(pause) => {
                    match (&pause, &self.0.files) {
                        (Pause::Miss(_), Some(files)) => {
                            pin.get_or_insert_with(|| files.engine.cache().pin());
                        }
                        (Pause::Value(_), _) => {}
                        // Who waits for others keeps nothing from leaving that they wait for.
                        _ => pin = None,
                    }
                    self.resolve(pause).await?;
                }
            }
        }
    }

    /// Adds the value that is missing to `out`.
    pub(super) async fn load_value(
        &self,
        miss: &LongValueMiss,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let files = self.0.files.as_ref().expect("in memory no value is anywhere else");
        out.extend_from_slice(&files.value(miss).await?);
        Ok(())
    }
}

//! What those are told who follow what happens to commands.

use super::{Causes, Outcome};
use crate::UnixMs;

/// A step in the life of a command, told when it is as safe as an answer would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which command.
    pub causes: Causes,
    /// The number of this step on its lane. A replay repeats that of the step it tells again.
    pub lane_sequence: u64,
    /// When.
    pub at: UnixMs,
    /// Which step.
    pub stage: Stage,
}

/// The steps in the life of a command, in order: accepted, at most once started, finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It will have an outcome.
    Accepted,
    /// Its lane has come to it.
    Started,
    /// It has its outcome. A replay tells only this, with [`Outcome::replayed`].
    Finished(Outcome),
}

impl Stage {
    /// Its name on every wire.
    pub fn name(&self) -> &'static str {
        match self {
            Stage::Accepted => "command_accepted",
            Stage::Started => "command_started",
            Stage::Finished(_) => "command_finished",
        }
    }
}

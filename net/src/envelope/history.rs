//! What is kept of commands that have been: the rows of the history, and how they are asked for.

use super::{Causes, Envelope, Id, Outcome, SessionName, Withheld};
use crate::UnixMs;

/// One row of the history. A command that is accepted, started and finished within one turn has one
/// row; another has one for each step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The lane it stands on; `None` is the server's.
    pub session: Option<SessionName>,
    /// The number on its lane of the first step that it tells.
    pub lane_sequence: u64,
    /// The row of the same lane before it; 0 is none.
    pub before: u64,
    /// When it was written.
    pub at: UnixMs,
    /// What it tells.
    pub record: Record,
    /// What of the command's payload stands there as a hash.
    pub withheld: Option<Box<Withheld>>,
}

/// What a row tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A command was accepted.
    Accepted {
        /// Its id, or the one the server gave it.
        id: Id,
        /// What was asked.
        envelope: Box<Envelope>,
    },
    /// A lane came to a command.
    Started {
        /// The row in which it was accepted.
        accepted: u64,
    },
    /// A command has its outcome.
    Finished {
        /// The row in which it was accepted.
        accepted: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// A command was accepted, started and finished in one turn.
    Whole {
        /// Its id, or the one the server gave it.
        id: Id,
        /// What was asked.
        envelope: Box<Envelope>,
        /// How it ended.
        outcome: Outcome,
    },
}

impl Record {
    /// Whether it tells how a command ended.
    pub fn is_end(&self) -> bool {
        matches!(self, Record::Finished { .. } | Record::Whole { .. })
    }

    /// How many steps it tells, each with a number on its lane.
    pub fn steps(&self) -> u64 {
        match self {
            Record::Whole { .. } => 3,
            _ => 1,
        }
    }
}

/// Which commands are asked for. Newest first; what is not given does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this session.
    pub session: Option<SessionName>,
    /// Of the server's lane alone.
    pub server_only: bool,
    /// With this id.
    pub id: Option<Id>,
    /// Accepted at or after this.
    pub from: Option<UnixMs>,
    /// Accepted before this.
    pub to: Option<UnixMs>,
    /// That ended so: `ok`, `failed`, `timed_out`, `cancelled`; or `in_flight`.
    pub outcome: Option<String>,
    /// Most commands, 1 to 500; 0 is 100.
    pub limit: u32,
    /// Where the page before ended.
    pub cursor: Option<u64>,
}

/// One page of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryPage {
    /// What was found.
    pub commands: Vec<State>,
    /// Whether the search ended before the history did: go on from `cursor`.
    pub truncated: bool,
    /// Where the next page begins.
    pub cursor: Option<u64>,
}

/// What is known of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The row in which it was accepted.
    pub row: u64,
    /// Which command.
    pub causes: Causes,
    /// The number on its lane of its acceptance.
    pub lane_sequence: u64,
    /// When it was accepted.
    pub accepted: UnixMs,
    /// When it was finished.
    pub finished: Option<UnixMs>,
    /// How it ended; `None` is not yet.
    pub outcome: Option<Outcome>,
}

//! What can be asked beside the lanes: questions leave no trace, and need no turn.

use super::{Failure, Filter, HistoryPage, Id, Outcome, SessionName};
use crate::UnixMs;

/// A question about the node or about commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// How the node is. Answered also while recovery goes on.
    Health,
    /// What the last recovery found and did. Answered also while recovery goes on.
    RecoverySummary,
    /// Commands that have been, newest first.
    History(Filter),
    /// The outcome of a command.
    Outcome(Id),
    /// Sessions in the order of their names, `limit` (1 to 500) at most, those after `after`.
    Sessions {
        /// The last name of the page before.
        after: Option<SessionName>,
        /// Most names.
        limit: u32,
    },
    /// Cancels a command that has not had its turn. Finds whether it did: a command that cannot be
    /// cancelled, or that is not in flight, goes its way.
    Cancel(Id),
}

/// Most commands, or sessions, of one page.
pub const PAGE_MAX: u32 = 500;

impl Question {
    /// Whether it keeps its rules.
    ///
    /// # Errors
    /// [`Code::Invalid`](super::Code::Invalid), naming the field.
    pub fn validate(&self) -> Result<(), Failure> {
        match self {
            Question::History(Filter { limit, .. }) if *limit > PAGE_MAX => {
                Err(Failure::invalid("limit", "is more than 500"))
            }
            Question::History(Filter { outcome: Some(outcome), .. })
                if !["ok", "failed", "timed_out", "cancelled", "in_flight"]
                    .contains(&outcome.as_str()) =>
            {
                let rule = "is not one of ok, failed, timed_out, cancelled, in_flight";
                Err(Failure::invalid("outcome", rule))
            }
            Question::History(Filter { session: Some(_), server_only: true, .. }) => {
                Err(Failure::invalid("server_only", "excludes a session"))
            }
            Question::Sessions { limit, .. } if !(1..=PAGE_MAX).contains(limit) => {
                Err(Failure::invalid("limit", "is not from 1 to 500"))
            }
            _ => Ok(()),
        }
    }
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// To [`Question::Health`].
    Health(Health),
    /// To [`Question::RecoverySummary`].
    Recovery(RecoverySummary),
    /// To [`Question::History`].
    History(HistoryPage),
    /// To [`Question::Outcome`]; `None` while it is in flight.
    Outcome(Option<Outcome>),
    /// To [`Question::Sessions`], and whether there are more.
    Sessions(Vec<SessionState>, bool),
    /// To [`Question::Cancel`].
    Cancelled(bool),
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether commands are taken.
    pub is_ready: bool,
    /// Whether it is about to stop.
    pub is_stopping: bool,
    /// Whether the disk takes no writes.
    pub is_read_only: bool,
    /// When commands are answered: `strict`, `buffered` or `in_memory`.
    pub durability: String,
    /// What happens when the journal takes nothing: `fail_closed` or `best_effort`.
    pub append_failure: String,
    /// The version of the program.
    pub version: String,
    /// Commands in flight.
    pub in_flight: u64,
    /// Connections.
    pub connections: u64,
    /// The node's time.
    pub now: UnixMs,
}

/// What a recovery found and did. The same again if it is done again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoverySummary {
    /// Segments of the journal that were read.
    pub segments: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of a torn tail that were cut off.
    pub cut_bytes: u64,
    /// Records of a kind nobody knows.
    pub unsupported: u64,
    /// Outcomes known.
    pub outcomes: u64,
    /// Commands that were accepted and not started, and are run now.
    pub rerun: Vec<Id>,
    /// Commands that were started and have no outcome, and why they have failed now.
    pub failed: Vec<(Id, String)>,
}

/// A session as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// Its name.
    pub name: SessionName,
    /// Its version.
    pub version: u64,
    /// Records of its lane.
    pub lane_sequence: u64,
    /// When it was made.
    pub created: UnixMs,
}

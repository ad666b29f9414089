//! How a run ended.

use std::fmt;

use crate::{fault::Faults, graph::Graph, sites::Coverage, stop::Look, trace::Line};

/// A promise was broken, or the run could not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The name of the law: a property of the code, `panic`, `stalled`, `out-of-time`, `trap`.
    pub law: String,
    /// What was seen, with the values.
    pub evidence: String,
    /// Where it was seen, for panics and traps.
    pub backtrace: Option<String>,
}

impl Failure {
    /// A failure without a backtrace.
    pub fn new(law: impl Into<String>, evidence: impl Into<String>) -> Failure {
        Failure { law: law.into(), evidence: evidence.into(), backtrace: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.evidence)?;
        match &self.backtrace {
            Some(backtrace) => write!(f, "\n{backtrace}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// Everything known of a finished run.
#[derive(Debug)]
pub struct Report {
    /// Rolling hash of every poll, event and choice. Equal runs have equal hashes.
    pub trace_hash: u64,
    /// Polls and events.
    pub events: u64,
    /// Polls alone.
    pub polls: u64,
    /// Choices made.
    pub choices: u64,
    /// Simulated nanoseconds.
    pub virtual_ns: u64,
    /// What was injected.
    pub faults: Faults,
    /// Which places in the code were passed.
    pub coverage: Coverage,
    /// The last lines of the story, if it was told.
    pub story: Vec<Line>,
    /// What happened and why, if it was recorded.
    pub graph: Option<Graph>,
    /// What the actors were like where the run was stopped.
    pub looks: Vec<Look>,
    /// The choices as they were made, if they were recorded.
    pub recorded: Option<Vec<crate::choice::Choice>>,
}

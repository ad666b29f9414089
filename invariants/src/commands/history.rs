//! What was observed of one run with causal commands.

use std::time::Duration;

use orloj_net::{
    Answer, Command, UnixMs,
    envelope::{
        Envelope, Event, Failure, Finding, Id, Outcome, Question, RecoverySummary, SessionName,
        SessionState, State,
    },
};

use crate::{Durability, Ending, Entry, Halt, Moment, OpId, Quiet};

/// How much the node takes and remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Commands in flight at a time.
    pub in_flight: usize,
    /// How long an idempotency key is known after its command is finished.
    pub idempotency: Duration,
    /// How long a command waits for one that it depends on.
    pub dependency_wait: Duration,
    /// How many outcomes are known by id at least, the newest.
    pub outcomes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            in_flight: 10_000,
            idempotency: Duration::from_secs(600),
            dependency_wait: Duration::from_secs(30),
            outcomes: 2_000,
        }
    }
}

/// How a request ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It has not.
    Open,
    /// With an outcome, or with the reason why it was not accepted.
    Answered {
        /// When.
        at: Moment,
        /// What it was told.
        answer: Result<Outcome, Failure>,
    },
    /// Without one: what became of it is unknown to the client.
    Lost {
        /// When the client gave up.
        at: Moment,
    },
}

/// One request of a client to carry out a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which one.
    pub id: OpId,
    /// When the client let go of it.
    pub invoked: Moment,
    /// What it went out with, if that keeps the order: a connection, or one call of the library.
    pub line: Option<u64>,
    /// What was asked, to the letter.
    pub envelope: Envelope,
    /// What came of it.
    pub end: End,
}

/// One question of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// When it was asked.
    pub invoked: Moment,
    /// What.
    pub question: Question,
    /// When it was answered, and how; `None` if it never was.
    pub answer: Option<(Moment, Result<Finding, Failure>)>,
}

/// What one subscriber was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Whose events; `None` is everybody's.
    pub session: Option<SessionName>,
    /// When it was granted.
    pub began: Moment,
    /// What came, in order.
    pub heard: Vec<(Moment, Event)>,
}

/// One thing that the node says happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The turn behind it.
    pub turn: u64,
    /// The node's wall-clock time.
    pub at: UnixMs,
    /// The number of the step on its lane; 0 where there is none.
    pub lane_sequence: u64,
    /// When it was said.
    pub seen: Moment,
    /// What.
    pub what: What,
}

/// What can happen. Commands inside envelopes are known by the row in which they were accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A request was refused before it was accepted.
    Refused {
        /// What was asked.
        envelope: Box<Envelope>,
        /// Why not.
        failure: Failure,
    },
    /// A request repeats an accepted one.
    Repeated {
        /// What was asked.
        envelope: Box<Envelope>,
        /// The earlier one.
        row: u64,
    },
    /// A command was accepted.
    Accepted {
        /// Its row.
        row: u64,
        /// Its id, or the one it was given.
        id: Id,
        /// What was asked.
        envelope: Box<Envelope>,
    },
    /// Its lane came to it.
    Started {
        /// Its row.
        row: u64,
    },
    /// It has its outcome.
    Finished {
        /// Its row.
        row: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// A command without an envelope was executed.
    Plain {
        /// Which, its deadlines absolute.
        command: Command,
        /// What the store answered.
        answer: Answer,
    },
    /// Nothing is left of a session that was deleted: the lane of one that is made again counts
    /// from 1.
    Forgotten {
        /// Its name.
        session: SessionName,
    },
    /// The disk took nothing from the turn on.
    Undone,
}

/// What the node did between a start that recovered and the next stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// When recovery was complete.
    pub began: Moment,
    /// The last turn that recovery found; 0 is the empty store.
    pub recovered: u64,
    /// What the node said of its recovery, if it was asked.
    pub summary: Option<RecoverySummary>,
    /// What it said, in order.
    pub told: Vec<Told>,
    /// When and how it ended; absent for the one that was still running.
    pub ended: Option<(Moment, Ending)>,
}

/// What was done to what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpkeepKind {
    /// Old commands were let go.
    Compaction,
    /// Payloads were hidden.
    Redaction,
}

/// All that the history answers, before and after something was done to it that may not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upkeep {
    /// When it was done.
    pub done: Moment,
    /// What.
    pub kind: UpkeepKind,
    /// Every command before it, newest first.
    pub before: Vec<State>,
    /// Every command after it, newest first, without those accepted since.
    pub after: Vec<State>,
}

/// All that can be read of the node when nobody else uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// When it was complete.
    pub seen: Moment,
    /// The node's wall-clock time then.
    pub at: UnixMs,
    /// How many recoveries of one and the same disk lie between the first dump and this one.
    pub recoveries: u32,
    /// Every key, in order.
    pub entries: Vec<Entry>,
    /// Every session, in order.
    pub sessions: Vec<SessionState>,
    /// Every command, newest first.
    pub commands: Vec<State>,
}

/// Everything observed of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// When commands are answered that do not say it themselves.
    pub durability: Durability,
    /// How much the node takes and remembers.
    pub limits: Limits,
    /// What clients asked, in order.
    pub ops: Vec<Operation>,
    /// What they asked beside the lanes, in order.
    pub inquiries: Vec<Inquiry>,
    /// What subscribers were told.
    pub subscriptions: Vec<Subscription>,
    /// The node's lives, in order.
    pub lives: Vec<Life>,
    /// What was done to what is kept.
    pub upkeep: Vec<Upkeep>,
    /// The quiet phase, if the run reached it.
    pub quiet: Option<Quiet>,
    /// Full reads made in the quiet phase, in order.
    pub dumps: Vec<Dump>,
    /// Whether, and why, the node refused to serve at the end.
    pub halt: Option<Halt>,
}

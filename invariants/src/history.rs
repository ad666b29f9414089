//! What was observed of one run: what clients asked and heard, and what the node says it did.
//!
//! Two kinds of witness, kept apart. An [`Operation`] is what a client saw from outside, in the
//! true time of the run. A [`Life`] is the node's own account between a start and the next stop:
//! where recovery left it, and every command it executed, in order, with the commit version each
//! saw. Laws hold the one against the other.

use std::{fmt, time::Duration};

use bytes::Bytes;
use orloj_net::{Answer, Command, Key, UnixMs, Value};

/// Nanoseconds of true time since the run began. No host's clock shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// This moment moved `by` later, stopping at the end of time.
    pub fn after(self, by: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to here; zero if `earlier` is later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Seconds, milliseconds, microseconds: `41.207 316`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0 / 1_000;
        write!(f, "{}.{:03} {:03}", us / 1_000_000, us / 1_000 % 1_000, us % 1_000)
    }
}

/// Names one request of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId {
    /// The client, counted from 0.
    pub client: u32,
    /// How many requests the client had sent before.
    pub number: u32,
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client {}, request {}", self.client, self.number)
    }
}

/// What a client asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A command for the store. Deadlines are as the client sent them, relative ones included.
    Store(Command),
    /// To hear these bytes again. The session answers it without the store, and in order all the
    /// same.
    Echo(Bytes),
}

/// Why a client stopped waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The connection ended.
    Closed,
    /// The client lost patience and closed the connection.
    TimedOut,
}

/// How a request ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It has not.
    Open,
    /// With a reply.
    Answered {
        /// When the reply was whole.
        at: Moment,
        /// The reply, read as an answer to the request.
        answer: Answer,
    },
    /// Without one: whether it was carried out is unknown to the client.
    Lost {
        /// When the client gave up.
        at: Moment,
        /// What made it give up.
        how: Loss,
    },
}

/// One request as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Which one.
    pub id: OpId,
    /// On which of the client's connections, counted from 0.
    pub connection: u32,
    /// When its first byte was handed to the connection.
    pub invoked: Moment,
    /// What was asked.
    pub request: Request,
    /// What came of it.
    pub end: End,
}

/// A reply that belongs to no request, or that is no reply at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surplus {
    /// Who got it.
    pub client: u32,
    /// On which of its connections.
    pub connection: u32,
    /// When.
    pub at: Moment,
    /// What it was, in words.
    pub what: String,
}

/// One command as the node executed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// The request it came from; absent if no client ever sent such a request.
    pub op: Option<OpId>,
    /// The commit version of the state behind it: its own if it wrote, else the one it read.
    pub version: u64,
    /// The wall-clock time it was carried out at.
    pub at: UnixMs,
    /// The command, its deadlines absolute.
    pub command: Command,
    /// The answer the store gave.
    pub answer: Answer,
    /// When it was executed.
    pub seen: Moment,
}

/// How a life of the node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The process died; what the operating system held in memory for the disk lives on.
    Crash,
    /// The machine lost power.
    PowerLoss,
    /// It stopped in order, or by its own decision.
    Stopped,
}

/// What the node did between a start that recovered and the next stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// When recovery was complete.
    pub began: Moment,
    /// The version of the state that recovery produced; 0 is the empty store.
    pub recovered: u64,
    /// What it executed, in order.
    pub executed: Vec<Executed>,
    /// The newest version it made, be it of its own accord.
    pub newest: u64,
    /// When and how it ended; absent for the one that was still running.
    pub ended: Option<(Moment, Ending)>,
}

/// One key as a full read found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: Value,
    /// When it expires.
    pub deadline: Option<UnixMs>,
}

/// A full read of the store when nobody else used it.
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
}

/// What the node promises of what it has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Everything it has shown survives.
    Strict,
    /// At most this much time before a crash is lost, and only the end of history.
    Buffered {
        /// How old what is lost may be.
        window: Duration,
    },
    /// Nothing survives.
    InMemory,
}

/// The phase in which no fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// When the last fault was lifted.
    pub began: Moment,
    /// How long the node may take to be healthy, and from then on to answer.
    pub bound: Duration,
}

/// The node refuses to serve, aloud, because of damage it has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// When.
    pub at: Moment,
    /// What it said.
    pub cause: String,
    /// Whether the scenario inflicts damage that the node is allowed to refuse.
    pub allowed: bool,
}

/// Everything observed of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// What the node promises.
    pub durability: Durability,
    /// What clients asked, in order of invocation.
    pub ops: Vec<Operation>,
    /// Replies nobody asked for.
    pub surplus: Vec<Surplus>,
    /// The node's lives, in order.
    pub lives: Vec<Life>,
    /// The quiet phase, if the run reached it.
    pub quiet: Option<Quiet>,
    /// Full reads made in the quiet phase, in order.
    pub dumps: Vec<Dump>,
    /// Whether, and why, the node refused to serve at the end.
    pub halt: Option<Halt>,
}

//! What a node is told at its start.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use orloj_net::{envelope::redaction::Redaction, resp::Limits};
use orloj_storage::Options;

use crate::Observer;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it would survive a power cut. No answer, a read's included, shows anything that would
    /// not.
    #[default]
    Strict,
    /// When it would survive the end of the process. A power cut takes at most the last 100
    /// milliseconds or 1,000 records, whichever is less, and the time of one sync.
    Buffered,
    /// At once. Nothing is read from the disk and nothing is written to it.
    InMemory,
}

impl Durability {
    /// Its name in flags, files and answers.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Strict => "strict",
            Durability::Buffered => "buffered",
            Durability::InMemory => "in_memory",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What becomes of commands while the journal takes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppendFailure {
    /// They are refused.
    #[default]
    FailClosed,
    /// Those that change nothing and rest on nothing are carried out, and leave no trace.
    BestEffort,
}

impl AppendFailure {
    /// Its name in flags, files and answers.
    pub fn name(self) -> &'static str {
        match self {
            AppendFailure::FailClosed => "fail_closed",
            AppendFailure::BestEffort => "best_effort",
        }
    }
}

impl fmt::Display for AppendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy is fail_closed or best_effort, not {0:?}")]
pub struct UnknownAppendFailure(pub String);

impl FromStr for AppendFailure {
    type Err = UnknownAppendFailure;
    fn from_str(name: &str) -> Result<AppendFailure, UnknownAppendFailure> {
        [AppendFailure::FailClosed, AppendFailure::BestEffort]
            .into_iter()
            .find(|policy| policy.name() == name)
            .ok_or_else(|| UnknownAppendFailure(name.to_owned()))
    }
}

/// How much clients may ask in envelopes, and how long is remembered what they did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLimits {
    /// Commands of one session in a second, each plane by itself; 0 is no limit.
    pub session_rate: u64,
    /// Commands of all in a second, each plane by itself; 0 is no limit.
    pub global_rate: u64,
    /// Commands that may be in flight.
    pub in_flight: usize,
    /// Bytes of keys and values that they may carry together.
    pub in_flight_bytes: usize,
    /// How long a command waits for another that it depends on.
    pub dependency_patience: Duration,
    /// How long an idempotency key counts after its command has ended.
    pub idempotency_keep: Duration,
    /// What becomes of commands while the journal takes nothing.
    pub append_failure: AppendFailure,
}

impl Default for CommandLimits {
    fn default() -> CommandLimits {
        CommandLimits {
            session_rate: 100,
            global_rate: 1_000,
            in_flight: 10_000,
            in_flight_bytes: 256 << 20,
            dependency_patience: Duration::from_secs(30),
            idempotency_keep: Duration::from_secs(600),
            append_failure: AppendFailure::FailClosed,
        }
    }
}

/// How much is kept of the history of commands. What commands in flight rest on is kept in any
/// case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRetention {
    /// What ended longer ago goes.
    pub age: Duration,
    /// The oldest go while rows have more bytes than that.
    pub bytes: u64,
    /// So many outcomes that are known by an id are kept, whatever their age and size.
    pub outcomes: u64,
}

impl HistoryRetention {
    /// What a node promises its clients: the fewest outcomes that are kept.
    pub const OUTCOMES_MIN: u64 = 2_000;
}

impl Default for HistoryRetention {
    fn default() -> HistoryRetention {
        HistoryRetention {
            age: Duration::from_secs(7 * 24 * 3_600),
            bytes: 1 << 30,
            outcomes: HistoryRetention::OUTCOMES_MIN,
        }
    }
}

/// A word that names no durability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("durability is strict, buffered or in_memory, not {0:?}")]
pub struct UnknownDurability(pub String);

impl FromStr for Durability {
    type Err = UnknownDurability;
    fn from_str(name: &str) -> Result<Durability, UnknownDurability> {
        [Durability::Strict, Durability::Buffered, Durability::InMemory]
            .into_iter()
            .find(|d| d.name() == name)
            .ok_or_else(|| UnknownDurability(name.to_owned()))
    }
}

/// Everything a node is told. [`NodeConfig::new`] has the defaults.
#[derive(Clone)]
pub struct NodeConfig {
    /// The database's directory. Made if absent. Not touched in [`Durability::InMemory`].
    pub data: String,
    /// Where RESP clients connect: `host:port`. Port 0 asks for any free one.
    pub resp: String,
    /// Where clients of the native protocol connect; `None` is nowhere.
    pub native: Option<String>,
    /// Requests that one of their connections may have in flight.
    pub native_credits: u32,
    /// Where clients connect that speak JSON, by WebSocket or a line each; `None` is nowhere.
    pub ws: Option<String>,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// What one client may send.
    pub limits: Limits,
    /// What commands in envelopes may ask.
    pub commands: CommandLimits,
    /// How much is kept of the history of commands.
    pub history: HistoryRetention,
    /// What of commands is withheld from the history.
    pub redaction: Redaction,
    /// Most connections at a time.
    pub max_clients: u32,
    /// Bytes of answers that may wait for one client to read them. One that leaves more is
    /// disconnected.
    pub output_max: usize,
    /// How long a client may take none of the answers that wait for it before it is disconnected.
    pub output_patience: Duration,
    /// How long draining may take before connections are cut.
    pub drain_patience: Duration,
    /// What clients must give to AUTH before anything else.
    pub password: Option<Bytes>,
    /// Bytes of memory for rows that were used lately, in front of the engine's own cache.
    pub rows_bytes: usize,
    /// How the storage engine works. Directory and durability are those above.
    pub storage: Options,
    /// What INFO shows as this server's version.
    pub version: &'static str,
    /// What INFO shows as the process's number, 0 if there is none.
    pub process_id: u32,
    /// Who is told what the node executes. For simulations; `None` costs nothing.
    pub observer: Option<Arc<dyn Observer>>,
}

impl NodeConfig {
    /// A strict node with its data in `data` and its clients at `resp`.
    pub fn new(data: impl Into<String>, resp: impl Into<String>) -> NodeConfig {
        NodeConfig {
            data: data.into(),
            resp: resp.into(),
            native: None,
            native_credits: 256,
            ws: None,
            durability: Durability::Strict,
            limits: Limits::default(),
            commands: CommandLimits::default(),
            history: HistoryRetention::default(),
            redaction: Redaction::default(),
            max_clients: 1_000,
            output_max: 256 << 20,
            output_patience: Duration::from_secs(60),
            drain_patience: Duration::from_secs(5),
            password: None,
            rows_bytes: 64 << 20,
            storage: Options::new("", orloj_storage::Durability::Strict),
            version: env!("CARGO_PKG_VERSION"),
            process_id: 0,
            observer: None,
        }
    }

    /// How the storage engine is to be opened.
    pub(crate) fn engine(&self) -> Options {
        Options {
            dir: self.data.clone(),
            durability: match self.durability {
                Durability::Strict => orloj_storage::Durability::Strict,
                Durability::Buffered => orloj_storage::Durability::Buffered,
                Durability::InMemory => orloj_storage::Durability::InMemory,
            },
            // The store decides what is dead: it counts keys.
            sweeps: false,
            ..self.storage.clone()
        }
    }
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeConfig")
            .field("data", &self.data)
            .field("resp", &self.resp)
            .field("native", &self.native)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

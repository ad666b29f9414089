//! A scenario: who takes part, what they do, what goes wrong, and which promise is tested.
//!
//! Written in TOML, to be read by someone who reads no Rust. `a..b` is drawn from the seed. A word
//! the format does not know is an error that names the line and the words there are.

mod book;
mod commands;
mod engine;
mod plan;
mod span;

use serde::{Deserialize, Serialize};

pub use book::{Listing, find, list};
pub use commands::{Commands, CommandsPlan, Upkeep, UpkeepPlan};
pub use engine::{Engine, EnginePlan};
pub use plan::{ClientPlan, Plan, Strike, StrikeKind, WorkloadPlan};
pub use span::{Count, Share, Size, Span, Time, Unit};
pub(crate) use span::{amount, time};

/// One scenario as it is written down.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// Its name: the file's, without `.toml`.
    pub title: String,
    /// What holds, in one sentence.
    pub promise: String,
    /// How long faults strike, in simulated time.
    pub duration: Span<Time>,
    /// How soon after the last fault everything must have completed, in simulated time.
    pub settle: Span<Time>,
    /// Whether each class of fault is left out of half of the seeds.
    #[serde(default)]
    pub swarm: bool,
    /// Whether the node may refuse, aloud, to serve data that the scenario has damaged.
    #[serde(default)]
    pub may_refuse: bool,
    /// Whether the code takes rare paths; absent means as the seed draws it.
    pub buggify: Option<bool>,
    /// The laws that are held; absent means all.
    pub laws: Option<Vec<String>>,
    /// A database by itself, in the place of a node and its clients.
    pub engine: Option<Engine>,
    /// Clients that ask in envelopes, in the place of those that speak RESP.
    pub commands: Option<Commands>,
    /// The node.
    #[serde(default)]
    pub node: Node,
    /// Its clients.
    #[serde(default)]
    pub clients: Clients,
    /// What they ask.
    #[serde(default)]
    pub workload: Workload,
    /// What goes wrong between them, per transfer.
    #[serde(default)]
    pub network: Network,
    /// What goes wrong on the node's disk, per operation.
    #[serde(default)]
    pub disk: Disk,
    /// How wrong clocks are from the beginning.
    #[serde(default)]
    pub clocks: Clocks,
    /// What strikes from time to time.
    #[serde(default)]
    pub nemesis: Vec<Nemesis>,
}

/// How sure an acknowledged write is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Synced before the answer.
    #[default]
    Strict,
    /// Synced soon after it.
    Buffered,
    /// Never.
    InMemory,
}

/// The node's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Node {
    /// How sure an acknowledged write is.
    pub durability: Mode,
    /// Bytes of rows that are kept in front of the engine. Few make it read its tree.
    pub rows: Span<Size>,
    /// The engine's cache. Little makes it read its pages.
    pub cache: Span<Size>,
    /// Bytes of journal between two checkpoints.
    pub checkpoint: Span<Size>,
    /// Time between two checkpoints.
    pub checkpoint_every: Span<Time>,
    /// Values above this go to the value log.
    pub inline: Span<Size>,
    /// Buffered mode: how old what a power cut takes may be. 100 ms are between two syncs; the rest
    /// is for the sync itself.
    pub window: Span<Time>,
    /// Bytes of answers that may wait for one client to read them.
    pub output: Span<Size>,
    /// Connections at a time. Must leave room for every client and two more.
    pub connections: Span<Count>,
}

impl Default for Node {
    fn default() -> Node {
        Node {
            durability: Mode::default(),
            rows: Span::new(1 << 10, 64 << 10),
            cache: Span::new(256 << 10, 1 << 20),
            checkpoint: Span::new(64 << 10, 256 << 10),
            checkpoint_every: Span::new(20_000_000, 400_000_000),
            inline: Span::new(64, 512),
            window: Span::new(150_000_000, 150_000_000),
            output: Span::new(1 << 20, 1 << 20),
            connections: Span::new(10_000, 10_000),
        }
    }
}

/// Who asks, and how.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Clients {
    /// How many.
    pub count: Span<Count>,
    /// How many requests each sends at most while faults strike.
    pub requests: Span<Count>,
    /// How many of them wait for replies at once.
    #[serde(default = "one")]
    pub pipeline: Span<Count>,
    /// Pause between two batches. Absent, pauses are such that the requests last as long as the
    /// faults.
    pub think: Option<Span<Time>>,
    /// How long a reply may take before the client closes the connection.
    pub patience: Span<Time>,
    /// How many requests a connection carries before the client leaves it for a new one; 0 is any
    /// number.
    #[serde(default)]
    pub per_connection: Span<Count>,
    /// Share of clients that read late and little.
    #[serde(default)]
    pub slow: Span<Share>,
    /// Share of batches after which a client walks away without reading the replies.
    #[serde(default)]
    pub walk_away: Span<Share>,
}

fn one() -> Span<Count> {
    Span::new(1, 1)
}

/// What clients ask.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Workload {
    /// Keys that most requests are about.
    pub hot: Span<Count>,
    /// Keys that the others are about.
    pub cold: Span<Count>,
    /// Share of requests about cold keys.
    pub cold_share: Span<Share>,
    /// Share of requests that may change something.
    pub writes: Span<Share>,
    /// Share of requests about deadlines: setting, reading and waiting for them.
    pub deadlines: Span<Share>,
    /// How far away deadlines are set.
    pub ttl: Span<Time>,
    /// Length of most values.
    pub value: Span<Size>,
    /// Length of a large value, which a hundredth of the writes carry.
    pub large: Span<Size>,
    /// Share of requests about every key at once: SCAN, DBSIZE, FLUSHALL.
    pub whole: Span<Share>,
}

impl Default for Workload {
    fn default() -> Workload {
        Workload {
            hot: Span::new(1, 4),
            cold: Span::new(0, 60),
            cold_share: Span::new(0, 500_000),
            writes: Span::new(300_000, 900_000),
            deadlines: Span::new(0, 300_000),
            ttl: Span::new(1_000_000, 300_000_000),
            value: Span::new(0, 40),
            large: Span::new(1 << 10, 16 << 10),
            whole: Span::new(0, 50_000),
        }
    }
}

/// Shares of transfers that go wrong.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Network {
    /// Delay of a delivery when nothing is wrong; absent means 100 us to 1 ms.
    pub latency: Option<Span<Time>>,
    /// A delivery takes a hundred times as long.
    pub slow_tail: Span<Share>,
    /// A delivery waits,
    pub stall: Span<Share>,
    /// for this long on average.
    pub stall_for: Span<Time>,
    /// A stream takes only part of a write.
    pub partial_write: Span<Share>,
    /// A write arrives in pieces.
    pub partial_frame: Span<Share>,
    /// A write resets its connection.
    pub reset: Span<Share>,
    /// A connection is gone and one end does not hear of it.
    pub half_open: Span<Share>,
    /// A connection attempt is never answered.
    pub connect_hang: Span<Share>,
    /// A read gets a few bytes.
    pub slow_reader: Span<Share>,
}

/// Shares of disk operations, and of sectors at a power cut, that go wrong.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Disk {
    /// A power cut takes an unsynced sector back.
    pub lost_write: Span<Share>,
    /// A power cut leaves a sector half old, half new.
    pub torn: Span<Share>,
    /// A power cut keeps a later write and loses an earlier one.
    pub reorder: Span<Share>,
    /// A power cut leaves noise where a write was under way.
    pub garbage: Span<Share>,
    /// A power cut takes back an unsynced creation or removal.
    pub lost_name: Span<Share>,
    /// A power cut takes back an unsynced rename.
    pub lost_rename: Span<Share>,
    /// A sync fails and the dirty pages are dropped.
    pub sync_failed: Span<Share>,
    /// A sync answers success, and the next one of that file fails: the first was none.
    pub late_sync: Span<Share>,
    /// A write fails.
    pub write_error: Span<Share>,
    /// A read fails.
    pub read_error: Span<Share>,
    /// A bit flips on the way from the disk, once; the next reading is right.
    pub read_flip: Span<Share>,
    /// One of the sectors that are read cannot be, until it is written again.
    pub unreadable: Span<Share>,
    /// A bit of what is read flips, for good.
    pub bit_rot: Span<Share>,
    /// One of the sectors that are read comes from elsewhere.
    pub misdirected_read: Span<Share>,
    /// One of the sectors that are synced lands elsewhere.
    pub misdirected_write: Span<Share>,
    /// One of the sectors that are synced stays as it was.
    pub stale: Span<Share>,
    /// One of the sectors that are synced becomes zeros.
    pub zeroed: Span<Share>,
    /// A write finds no room, though there was and will be.
    pub full: Span<Share>,
    /// The disk answers nothing for a while.
    pub stall: Span<Share>,
    /// An operation takes many times as long.
    pub slow: Span<Share>,
    /// How many times slower than a solid-state disk it is throughout; absent means no slower.
    pub slowness: Option<Span<Count>>,
}

/// How wrong clocks are. Half of the hosts are ahead, half behind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Clocks {
    /// How far a wall clock is off at the beginning.
    pub offset: Span<Time>,
    /// How much a clock gains or loses in a second.
    pub drift: Span<Time>,
}

/// Something that strikes from time to time.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields, rename_all = "kebab-case")]
pub enum Nemesis {
    /// The node goes down and comes back.
    Crash {
        /// Time between two strikes.
        every: Span<Time>,
        /// How long it stays down.
        down: Span<Time>,
        /// The ways, one of which is taken each time.
        how: Vec<CrashKind>,
    },
    /// The node stands still.
    Pause {
        /// Time between two strikes.
        every: Span<Time>,
        /// How long.
        last: Span<Time>,
    },
    /// Links between node and clients fail.
    Link {
        /// Time between two strikes.
        every: Span<Time>,
        /// How long.
        last: Span<Time>,
        /// The ways, one of which is taken each time.
        how: Vec<LinkKind>,
    },
    /// The connections of a client are reset.
    Reset {
        /// Time between two strikes.
        every: Span<Time>,
    },
    /// Strangers connect, say nothing, and leave.
    Crowd {
        /// Time between two strikes.
        every: Span<Time>,
        /// How long they stay.
        last: Span<Time>,
        /// How many.
        count: Span<Count>,
    },
    /// A host's wall clock jumps.
    ClockJump {
        /// Time between two strikes.
        every: Span<Time>,
        /// How far, forward or back.
        by: Span<Time>,
    },
    /// The node's disk has no room.
    DiskFull {
        /// Time between two strikes.
        every: Span<Time>,
        /// How long.
        last: Span<Time>,
        /// How much room is left at the beginning.
        room: Span<Size>,
    },
    /// The node's disk answers nothing.
    DiskStall {
        /// Time between two strikes.
        every: Span<Time>,
        /// How long.
        last: Span<Time>,
    },
    /// The node's disk may not be written.
    DiskReadOnly {
        /// Time between two strikes.
        every: Span<Time>,
        /// How long.
        last: Span<Time>,
    },
    /// The node loses power, and its disk comes back as it was at the strike before.
    OldCopy {
        /// Time between two strikes.
        every: Span<Time>,
        /// How much of it.
        extent: Extent,
    },
    /// The node goes down, durable bits of its journal flip, and it comes back.
    BitRot {
        /// Time between two strikes.
        every: Span<Time>,
        /// Which part of the journal.
        part: Part,
        /// How many bits.
        bits: Span<Count>,
    },
}

/// A way to go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrashKind {
    /// The process dies; its machine lives.
    Process,
    /// The machine loses power.
    Power,
    /// The process dies at an await point that time cannot name.
    ProcessAtAwait,
    /// The machine loses power while some task is at an await point that time cannot name.
    PowerAtAwait,
    /// It is told to stop, drains, and ends in order.
    Stop,
}

/// A way in which a link fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// Nothing passes.
    Cut,
    /// Nothing passes one way.
    OneWay,
    /// It comes and goes.
    Flap,
    /// Everything is late.
    Clog,
    /// It is narrow.
    Bandwidth,
}

/// How much of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// One of its files.
    File,
    /// All of it.
    Disk,
}

/// A part of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Behind what was synced last.
    Tail,
    /// In what was synced.
    Middle,
}

/// Why a scenario cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// No file and no built-in scenario has this name.
    #[error("there is no scenario \"{name}\"; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The text is not a scenario.
    #[error("scenario \"{name}\": {cause}")]
    Text {
        /// The scenario's name.
        name: String,
        /// What is wrong, with line and column.
        cause: String,
    },
    /// The text can be read and makes no sense.
    #[error("scenario \"{name}\": {cause}")]
    Sense {
        /// The scenario's name.
        name: String,
        /// What is wrong.
        cause: String,
    },
}

impl Scenario {
    /// Reads a scenario from the text of the file `name`.
    ///
    /// # Errors
    /// What is wrong with it and where.
    pub fn parse(name: &str, text: &str) -> Result<Scenario, ScenarioError> {
        let scenario: Scenario = toml::from_str(text).map_err(|error| {
            let cause = error.to_string().trim_end().to_owned();
            ScenarioError::Text { name: name.to_owned(), cause }
        })?;
        let sense = |cause: String| ScenarioError::Sense { name: name.to_owned(), cause };
        if scenario.title != name {
            return Err(sense(format!("its title is \"{}\"", scenario.title)));
        }
        let known: Vec<&str> = match (&scenario.engine, &scenario.commands) {
            (Some(_), Some(_)) => {
                return Err(sense("a database by itself has no commands".to_owned()));
            }
            (Some(_), None) => {
                orloj_invariants::engine::ENGINE_LAWS.iter().map(|law| law.name).collect()
            }
            (None, Some(_)) => {
                orloj_invariants::commands::COMMAND_LAWS.iter().map(|law| law.name).collect()
            }
            (None, None) => orloj_invariants::LAWS.iter().map(|law| law.name).collect(),
        };
        for law in scenario.laws.iter().flatten() {
            if !known.contains(&law.as_str()) {
                return Err(sense(format!(
                    "no law is called \"{law}\"; there are {}",
                    known.join(", ")
                )));
            }
        }
        let has_node = scenario.engine.is_none();
        if !has_node && scenario.nemesis.iter().any(Nemesis::is_of_links) {
            return Err(sense("a database by itself has no links".to_owned()));
        }
        let clients = &scenario.clients;
        if has_node && (clients.count.low == 0 || clients.pipeline.low == 0) {
            return Err(sense("clients.count and clients.pipeline are at least 1".to_owned()));
        }
        if scenario.node.connections.low < scenario.clients.count.high + 2 {
            return Err(sense("node.connections leaves no room for every client".to_owned()));
        }
        if scenario.workload.hot.low == 0 {
            return Err(sense("workload.hot is at least 1".to_owned()));
        }
        for nemesis in &scenario.nemesis {
            if nemesis.every().low == 0 {
                return Err(sense(
                    "a nemesis that strikes every 0 would let no time pass".to_owned(),
                ));
            }
            if nemesis.is_without_ways() {
                return Err(sense("a nemesis needs at least one way in `how`".to_owned()));
            }
        }
        Ok(scenario)
    }
}

impl Nemesis {
    /// Time between two strikes.
    pub fn every(&self) -> Span<Time> {
        match self {
            Nemesis::Crash { every, .. }
            | Nemesis::Pause { every, .. }
            | Nemesis::Link { every, .. }
            | Nemesis::Reset { every }
            | Nemesis::Crowd { every, .. }
            | Nemesis::ClockJump { every, .. }
            | Nemesis::DiskFull { every, .. }
            | Nemesis::DiskStall { every, .. }
            | Nemesis::DiskReadOnly { every, .. }
            | Nemesis::OldCopy { every, .. }
            | Nemesis::BitRot { every, .. } => *every,
        }
    }

    fn is_of_links(&self) -> bool {
        matches!(self, Nemesis::Link { .. } | Nemesis::Reset { .. } | Nemesis::Crowd { .. })
    }

    fn is_without_ways(&self) -> bool {
        match self {
            Nemesis::Crash { how, .. } => how.is_empty(),
            Nemesis::Link { how, .. } => how.is_empty(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;

//! The table `[engine]`: a database under its own users, and nothing above it.

use std::time::Duration;

use orloj_invariants::Durability;
use orloj_sim::{choice::Choices, disk::DiskFaults};
use serde::Deserialize;

use super::{Count, Mode, Scenario, Share, Size, Span, Strike, StrikeKind, Time, plan::Draw};

/// The database and those who use it.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Engine {
    /// How sure an acknowledged write is.
    pub durability: Mode,
    /// Buffered mode: how old what a crash takes may be.
    pub window: Span<Time>,
    /// Tasks that read and write at once.
    pub clients: Span<Count>,
    /// Pause between two operations of a client, half of which have none.
    pub think: Span<Time>,
    /// Keys of a keyspace.
    pub keys: Span<Count>,
    /// Share of puts with a deadline.
    pub deadlines: Span<Share>,
    /// How far away deadlines are set.
    pub ttl: Span<Time>,
    /// The cache's budget in pages of 4 KiB; 64 at least.
    pub cache_pages: Span<Count>,
    /// Bytes of journal between two checkpoints.
    pub checkpoint: Span<Size>,
    /// Time between two checkpoints.
    pub checkpoint_every: Span<Time>,
    /// Values above this go to the value log.
    pub inline: Span<Size>,
    /// Whether users compact, load and back up: 0 or 1.
    pub upkeep: Span<Count>,
}

impl Default for Engine {
    fn default() -> Engine {
        Engine {
            durability: Mode::Strict,
            window: Span::new(300_000_000, 300_000_000),
            clients: Span::new(2, 6),
            think: Span::new(0, 4_000_000),
            keys: Span::new(8, 300),
            deadlines: Span::new(0, 300_000),
            ttl: Span::new(1_000_000, 2_000_000_000),
            cache_pages: Span::new(64, 200),
            checkpoint: Span::new(64 << 10, 256 << 10),
            checkpoint_every: Span::new(20_000_000, 400_000_000),
            inline: Span::new(64, 512),
            upkeep: Span::new(0, 1),
        }
    }
}

/// What one seed does with a database.
#[derive(Clone, Debug)]
pub struct EnginePlan {
    /// What it promises.
    pub durability: Durability,
    /// How long faults strike.
    pub chaos: Duration,
    /// How soon after them everything must work.
    pub settle: Duration,
    /// Whether it may refuse damaged data.
    pub may_refuse: bool,
    /// Tasks that read and write at once.
    pub clients: u64,
    /// Pause between two operations.
    pub think: Span<Time>,
    /// Keys of a keyspace.
    pub keys: u64,
    /// Share of puts with a deadline, in parts per million.
    pub deadlines_ppm: u32,
    /// How far away deadlines are set.
    pub ttl: Span<Time>,
    /// The cache's budget.
    pub cache_bytes: u64,
    /// Bytes of journal between two checkpoints.
    pub checkpoint_bytes: u64,
    /// Time between two checkpoints.
    pub checkpoint_every: Duration,
    /// Values above this go to the value log.
    pub inline_bytes: u64,
    /// What goes wrong on the disk.
    pub disk: DiskFaults,
    /// How many times slower than a solid-state disk it is.
    pub slowness: u64,
    /// Microseconds its wall clock is off, and billionths by which it is fast.
    pub clock: (i64, i64),
    /// What strikes from time to time.
    pub strikes: Vec<Strike>,
    /// Whether users compact, load and back up.
    pub upkeep: bool,
    /// Whether the disk may become read-only, which nobody counts as a fault.
    pub is_made_read_only: bool,
    /// Whether the code takes rare paths.
    pub buggify: bool,
    /// Whether anything goes wrong at all.
    pub faults: bool,
}

impl Scenario {
    /// Draws one seed's plan for a database by itself. `None` if the scenario is about a node.
    pub fn engine_plan(&self, choices: &mut Choices, faults: bool) -> Option<EnginePlan> {
        let engine = self.engine.as_ref()?;
        let window = engine.window.draw_time(choices, "window");
        let durability = match engine.durability {
            Mode::Strict => Durability::Strict,
            Mode::Buffered => Durability::Buffered { window },
            Mode::InMemory => Durability::InMemory,
        };
        let chaos = self.duration.draw_time(choices, "duration");
        let settle = self.settle.draw_time(choices, "settle");
        let clients = engine.clients.draw(choices, "clients").max(1);
        let keys = engine.keys.draw(choices, "keys").max(1);
        let deadlines_ppm = engine.deadlines.draw_ppm(choices, "deadlines");
        let cache_bytes = engine.cache_pages.draw(choices, "cache").max(64) * 4096;
        let checkpoint_bytes = engine.checkpoint.draw(choices, "checkpoint");
        let checkpoint_every = engine.checkpoint_every.draw_time(choices, "checkpoint-every");
        let inline_bytes = engine.inline.draw(choices, "inline");
        let slowness = self.disk.slowness.map_or(1, |span| span.draw(choices, "slowness"));
        let mut draw = Draw { choices, swarm: self.swarm, faults };
        let mut plan = EnginePlan {
            durability,
            chaos,
            settle,
            may_refuse: self.may_refuse,
            clients,
            think: engine.think,
            keys,
            deadlines_ppm,
            ttl: engine.ttl,
            cache_bytes,
            checkpoint_bytes,
            checkpoint_every,
            inline_bytes,
            disk: draw.disk(self),
            slowness: if draw.takes_part() { slowness.max(1) } else { 1 },
            clock: draw.clock(self),
            strikes: self.nemesis.iter().filter_map(|nemesis| draw.strike(nemesis)).collect(),
            buggify: draw.takes_part() && self.buggify != Some(false),
            is_made_read_only: false,
            // Where nobody does, nothing comes to the help of what a checkpoint leaves undone.
            upkeep: engine.upkeep.draw(draw.choices, "upkeep") == 1,
            faults,
        };
        let read_only = |strike: &Strike| matches!(strike.kind, StrikeKind::DiskReadOnly(_));
        plan.is_made_read_only = plan.strikes.iter().any(read_only);
        Some(plan)
    }
}

//! A scenario with every range drawn: what one seed does.

use std::time::Duration;

use orloj_invariants::Durability;
use orloj_sim::{
    Latency, NetFaults,
    choice::{Choices, Stream},
    disk::{DiskFaults, OnSynced, SyncFailure},
};

use super::{
    CommandsPlan, Count, CrashKind, Extent, LinkKind, Mode, Nemesis, Part, Scenario, Share, Size,
    Span, Time, Workload,
};

/// One seed's configuration.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the node promises.
    pub durability: Durability,
    /// Bytes of rows in front of the engine.
    pub rows: u64,
    /// How the engine works.
    pub storage: StoragePlan,
    /// Bytes of answers that may wait for one client.
    pub output: u64,
    /// Connections at a time.
    pub connections: u32,
    /// How long faults strike.
    pub chaos: Duration,
    /// How soon after them everything must have completed.
    pub settle: Duration,
    /// Whether the node may refuse damaged data.
    pub may_refuse: bool,
    /// The clients.
    pub clients: Vec<ClientPlan>,
    /// What they ask.
    pub workload: WorkloadPlan,
    /// How they put it into envelopes, if they do.
    pub commands: Option<CommandsPlan>,
    /// Delay of deliveries.
    pub latency: Latency,
    /// What goes wrong per transfer.
    pub network: NetFaults,
    /// What goes wrong on the disk.
    pub disk: DiskFaults,
    /// How many times slower than a solid-state disk it is.
    pub slowness: u64,
    /// Per host, the node first: microseconds its wall clock is off, and billionths by which it is
    /// fast.
    pub clocks: Vec<(i64, i64)>,
    /// What strikes from time to time.
    pub strikes: Vec<Strike>,
    /// Whether the code takes rare paths.
    pub buggify: bool,
    /// Whether anything goes wrong at all.
    pub faults: bool,
}

/// How the node's engine works: what is small makes rare things happen.
#[derive(Clone, Copy, Debug)]
pub struct StoragePlan {
    /// The cache's budget.
    pub cache_bytes: u64,
    /// Bytes of journal between two checkpoints.
    pub checkpoint_bytes: u64,
    /// Time between two checkpoints.
    pub checkpoint_every: Duration,
    /// Values above this go to the value log.
    pub inline_bytes: u64,
}

/// One client's habits.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// Requests while faults strike.
    pub requests: u64,
    /// Requests that wait at once.
    pub pipeline: u64,
    /// Pause between batches, half of which have none.
    pub think: Span<Time>,
    /// How long a reply may take.
    pub patience: Duration,
    /// Requests a connection carries; 0 is any number.
    pub per_connection: u64,
    /// Whether it reads late and little.
    pub slow: bool,
    /// Share of batches, in parts per million, whose replies it does not wait for.
    pub walk_away_ppm: u32,
    /// Whether it speaks RESP3.
    pub resp3: bool,
}

/// The drawn shape of what clients ask.
#[derive(Clone, Debug)]
pub struct WorkloadPlan {
    /// Number of hot keys.
    pub hot: u64,
    /// Number of cold keys.
    pub cold: u64,
    /// Share of requests about cold keys, in parts per million, as are all shares here.
    pub cold_ppm: u32,
    /// Share of requests that may write.
    pub writes_ppm: u32,
    /// Share of requests about deadlines.
    pub deadlines_ppm: u32,
    /// Share of requests about every key.
    pub whole_ppm: u32,
    /// How far away deadlines are set.
    pub ttl: Span<Time>,
    /// Length of most values.
    pub value: Span<Size>,
    /// Length of large values.
    pub large: Span<Size>,
    /// The longest value that a page keeps: some large values are as long as that, or nearly.
    pub inline: u64,
}

/// Something that strikes from time to time.
#[derive(Clone, Debug)]
pub struct Strike {
    /// Time between two strikes.
    pub every: Span<Time>,
    /// What happens.
    pub kind: StrikeKind,
}

/// What happens at a strike. Ranges are drawn anew each time.
#[derive(Clone, Debug)]
pub enum StrikeKind {
    /// The node goes down and comes back.
    Crash(Vec<CrashKind>, Span<Time>),
    /// The node stands still.
    Pause(Span<Time>),
    /// A link fails.
    Link(Vec<LinkKind>, Span<Time>),
    /// Connections are reset.
    Reset,
    /// Strangers take connections.
    Crowd(Span<Count>, Span<Time>),
    /// A wall clock jumps.
    ClockJump(Span<Time>),
    /// The disk has little room, for a while.
    DiskFull(Span<Size>, Span<Time>),
    /// The disk answers nothing for a while.
    DiskStall(Span<Time>),
    /// The disk may not be written for a while.
    DiskReadOnly(Span<Time>),
    /// Durable bits flip while the node is down.
    BitRot(Part, u64),
    /// What lies on the disk is as it was at the strike before.
    OldCopy(Extent),
}

/// Draws what one seed does. Every draw is made whether or not faults are wanted, so that
/// `--no-faults` leaves the workload of a seed as it is.
pub(super) struct Draw<'c> {
    pub(super) choices: &'c mut Choices,
    pub(super) swarm: bool,
    pub(super) faults: bool,
}

impl Draw<'_> {
    /// Whether a class of fault takes part in this seed.
    pub(super) fn takes_part(&mut self) -> bool {
        let left_out = self.swarm && self.choices.draw(Stream::Swarm, "left-out", 2) == 0;
        self.faults && !left_out
    }

    fn rate(&mut self, share: Span<Share>, site: &'static str) -> u32 {
        if share.high == 0 {
            return 0;
        }
        let (rate, on) = (share.draw_ppm(self.choices, site), self.takes_part());
        if on { rate } else { 0 }
    }

    /// Half of the hosts are ahead, half behind.
    fn either_way(&mut self, amount: u64) -> i64 {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        if self.choices.draw(Stream::Swarm, "behind", 2) == 1 { -amount } else { amount }
    }

    fn network(&mut self, s: &Scenario) -> NetFaults {
        let n = &s.network;
        NetFaults {
            slow_tail_ppm: self.rate(n.slow_tail, "slow-tail"),
            stall_ppm: self.rate(n.stall, "stall"),
            stall_mean_ns: n.stall_for.draw(self.choices, "stall-for"),
            partial_write_ppm: self.rate(n.partial_write, "partial-write"),
            partial_frame_ppm: self.rate(n.partial_frame, "partial-frame"),
            reset_ppm: self.rate(n.reset, "reset"),
            half_open_ppm: self.rate(n.half_open, "half-open"),
            connect_hang_ppm: self.rate(n.connect_hang, "connect-hang"),
            slow_reader_ppm: self.rate(n.slow_reader, "slow-reader"),
            ..NetFaults::default()
        }
    }

    pub(super) fn disk(&mut self, s: &Scenario) -> DiskFaults {
        let d = &s.disk;
        // Bits may rot in what was synced only where a scenario is about that.
        let rots = |n: &Nemesis| matches!(n, Nemesis::BitRot { .. });
        let late = self.rate(d.late_sync, "late-sync");
        let bit_rot = s.nemesis.iter().any(rots) || d.read_flip.high > 0 || d.bit_rot.high > 0;
        DiskFaults {
            lost_write: self.rate(d.lost_write, "lost-write"),
            torn: self.rate(d.torn, "torn"),
            reorder: self.rate(d.reorder, "reorder"),
            garbage: self.rate(d.garbage, "garbage"),
            lost_name: self.rate(d.lost_name, "lost-name"),
            lost_rename: self.rate(d.lost_rename, "lost-rename"),
            sync_failed: self.rate(d.sync_failed, "sync-failed").max(late),
            sync_failures: match late {
                0 => DiskFaults::NONE.sync_failures,
                _ => &[SyncFailure::Late],
            },
            write_error: self.rate(d.write_error, "write-error"),
            read_error: self.rate(d.read_error, "read-error"),
            read_flip: self.rate(d.read_flip, "read-flip"),
            slow: self.rate(d.slow, "slow"),
            unreadable: self.rate(d.unreadable, "unreadable"),
            bit_rot: self.rate(d.bit_rot, "bit-rot"),
            misdirected_read: self.rate(d.misdirected_read, "misdirected-read"),
            misdirected_write: self.rate(d.misdirected_write, "misdirected-write"),
            stale: self.rate(d.stale, "stale"),
            zeroed: self.rate(d.zeroed, "zeroed"),
            full: self.rate(d.full, "full"),
            stall: self.rate(d.stall, "stall"),
            on_synced: OnSynced {
                bit_rot,
                misdirected: d.misdirected_read.high > 0 || d.misdirected_write.high > 0,
                stale: d.stale.high > 0,
                zeroed: d.zeroed.high > 0,
                unreadable: d.unreadable.high > 0,
                ..DiskFaults::NONE.on_synced
            },
            ..DiskFaults::NONE
        }
    }

    fn client(&mut self, s: &Scenario, chaos: Duration) -> ClientPlan {
        let (c, choices) = (&s.clients, &mut *self.choices);
        let slow_ppm = c.slow.draw_ppm(choices, "slow-share");
        let requests = c.requests.draw(choices, "requests");
        let pipeline = c.pipeline.draw(choices, "pipeline");
        // A batch is half a pipeline long, and half of the pauses are none: four times the mean.
        let batches = (requests * 2 / (pipeline + 1)).max(1);
        let pause_max = u64::try_from(chaos.as_nanos()).unwrap_or(u64::MAX) / batches * 4;
        ClientPlan {
            requests,
            pipeline,
            think: c.think.unwrap_or(Span::new(0, pause_max)),
            patience: c.patience.draw_time(choices, "patience"),
            per_connection: c.per_connection.draw(choices, "per-connection"),
            slow: choices.chance(Stream::Swarm, "slow-client", slow_ppm),
            walk_away_ppm: c.walk_away.draw_ppm(choices, "walk-away"),
            resp3: choices.draw(Stream::Swarm, "resp3", 2) == 1,
        }
    }

    fn workload(&mut self, w: &Workload, inline: u64) -> WorkloadPlan {
        let choices = &mut *self.choices;
        WorkloadPlan {
            hot: w.hot.draw(choices, "hot"),
            cold: w.cold.draw(choices, "cold"),
            cold_ppm: w.cold_share.draw_ppm(choices, "cold-share"),
            writes_ppm: w.writes.draw_ppm(choices, "writes"),
            deadlines_ppm: w.deadlines.draw_ppm(choices, "deadlines"),
            whole_ppm: w.whole.draw_ppm(choices, "whole"),
            ttl: w.ttl,
            value: w.value,
            large: w.large,
            inline,
        }
    }

    pub(super) fn clock(&mut self, s: &Scenario) -> (i64, i64) {
        let offset = s.clocks.offset.draw(self.choices, "offset");
        let drift = s.clocks.drift.draw(self.choices, "drift");
        let (offset, drift) = (self.either_way(offset / 1_000), self.either_way(drift));
        let (has_offset, drifts) = (self.takes_part(), self.takes_part());
        (if has_offset { offset } else { 0 }, if drifts { drift } else { 0 })
    }

    pub(super) fn strike(&mut self, nemesis: &Nemesis) -> Option<Strike> {
        let kind = match nemesis {
            Nemesis::Crash { how, down, .. } => StrikeKind::Crash(self.some_of(how), *down),
            Nemesis::Pause { last, .. } => StrikeKind::Pause(*last),
            Nemesis::Link { how, last, .. } => StrikeKind::Link(self.some_of(how), *last),
            Nemesis::Reset { .. } => StrikeKind::Reset,
            Nemesis::Crowd { count, last, .. } => StrikeKind::Crowd(*count, *last),
            Nemesis::ClockJump { by, .. } => StrikeKind::ClockJump(*by),
            Nemesis::DiskFull { room, last, .. } => StrikeKind::DiskFull(*room, *last),
            Nemesis::DiskStall { last, .. } => StrikeKind::DiskStall(*last),
            Nemesis::DiskReadOnly { last, .. } => StrikeKind::DiskReadOnly(*last),
            Nemesis::OldCopy { extent, .. } => StrikeKind::OldCopy(*extent),
            Nemesis::BitRot { part, bits, .. } => {
                StrikeKind::BitRot(*part, bits.draw(self.choices, "bits"))
            }
        };
        self.takes_part().then_some(Strike { every: nemesis.every(), kind })
    }

    /// Those ways that take part, or all if none does.
    fn some_of<T: Copy>(&mut self, ways: &[T]) -> Vec<T> {
        if !self.swarm {
            return ways.to_vec();
        }
        let mut some = Vec::new();
        for way in ways {
            if self.choices.draw(Stream::Swarm, "left-out", 2) == 1 {
                some.push(*way);
            }
        }
        if some.is_empty() { ways.to_vec() } else { some }
    }
}

impl Scenario {
    /// Draws one seed's plan. Without `faults` the workload is the same and nothing goes wrong.
    pub fn plan(&self, choices: &mut Choices, faults: bool) -> Plan {
        let window = self.node.window.draw_time(choices, "window");
        let durability = match self.node.durability {
            Mode::Strict => Durability::Strict,
            Mode::Buffered => Durability::Buffered { window },
            Mode::InMemory => Durability::InMemory,
        };
        let latency = self.network.latency.map_or(Latency::default(), |span| {
            let low = span.draw(choices, "latency-low");
            Latency::Uniform(low, choices.between(Stream::Swarm, "latency-high", low, span.high))
        });
        let rows = self.node.rows.draw(choices, "rows");
        let storage = StoragePlan {
            cache_bytes: self.node.cache.draw(choices, "cache"),
            checkpoint_bytes: self.node.checkpoint.draw(choices, "checkpoint"),
            checkpoint_every: self.node.checkpoint_every.draw_time(choices, "checkpoint-every"),
            inline_bytes: self.node.inline.draw(choices, "inline"),
        };
        let output = self.node.output.draw(choices, "output");
        let connections = self.node.connections.draw(choices, "connections");
        let slowness = self.disk.slowness.map_or(1, |span| span.draw(choices, "slowness"));
        let chaos = self.duration.draw_time(choices, "duration");
        let settle = self.settle.draw_time(choices, "settle");
        let count = self.clients.count.draw(choices, "clients");
        let mut draw = Draw { choices, swarm: self.swarm, faults };
        let clients = (0..count).map(|_| draw.client(self, chaos)).collect();
        Plan {
            durability,
            rows,
            storage,
            output,
            connections: u32::try_from(connections).unwrap_or(u32::MAX),
            chaos,
            settle,
            may_refuse: self.may_refuse,
            clients,
            workload: draw.workload(&self.workload, storage.inline_bytes),
            commands: self.commands.as_ref().map(|commands| commands.plan(draw.choices)),
            latency,
            network: draw.network(self),
            disk: draw.disk(self),
            slowness: match draw.takes_part() {
                true => slowness.max(1),
                false => 1,
            },
            clocks: (0..=count).map(|_| draw.clock(self)).collect(),
            strikes: self.nemesis.iter().filter_map(|nemesis| draw.strike(nemesis)).collect(),
            buggify: draw.takes_part() && self.buggify != Some(false),
            faults,
        }
    }
}

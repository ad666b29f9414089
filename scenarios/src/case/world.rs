//! What one seed drew, as a scenario whose every span is one value.

use orloj_invariants::Durability;
use orloj_sim::{
    Latency, NetFaults,
    disk::{DiskFaults, SyncFailure},
};
use toml::{Table, Value};

use super::{Clock, Noted, Script};
use crate::{
    Scenario, client,
    node::NODE,
    scenario::{EnginePlan, Plan, Share, Size, Time, Unit, amount},
};

/// A table that is being filled.
#[derive(Default)]
struct Filling(Table);

impl Filling {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn amount<U: Unit>(&mut self, name: &str, value: u64) {
        self.put(name, amount::<U>(value));
    }

    fn count(&mut self, name: &str, value: u64) {
        self.put(name, value.to_string());
    }

    fn rate(&mut self, name: &str, ppm: u32) {
        if ppm > 0 {
            self.amount::<Share>(name, ppm.into());
        }
    }

    fn within(self, outer: &mut Filling, name: &str) {
        if !self.0.is_empty() {
            outer.put(name, self.0);
        }
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn durability(mode: Durability, table: &mut Filling) {
    match mode {
        Durability::Strict => {}
        Durability::Buffered { window } => {
            table.put("durability", "buffered");
            table.amount::<Time>("window", nanos(window));
        }
        Durability::InMemory => table.put("durability", "in-memory"),
    }
}

fn common(scenario: &Scenario, buggify: bool) -> Filling {
    let mut world = Filling::default();
    if let Some(laws) = &scenario.laws {
        world.put("laws", laws.clone());
    }
    if scenario.may_refuse {
        world.put("may-refuse", true);
    }
    world.put("buggify", buggify);
    world
}

fn network(n: &NetFaults, latency: Latency) -> Filling {
    let mut table = Filling::default();
    if let Latency::Uniform(low, high) = latency {
        table.put("latency", format!("{}..{}", amount::<Time>(low), amount::<Time>(high)));
    }
    table.rate("slow-tail", n.slow_tail_ppm);
    table.rate("stall", n.stall_ppm);
    if n.stall_ppm > 0 {
        table.amount::<Time>("stall-for", n.stall_mean_ns);
    }
    table.rate("partial-write", n.partial_write_ppm);
    table.rate("partial-frame", n.partial_frame_ppm);
    table.rate("reset", n.reset_ppm);
    table.rate("half-open", n.half_open_ppm);
    table.rate("connect-hang", n.connect_hang_ppm);
    table.rate("slow-reader", n.slow_reader_ppm);
    table
}

fn disk(d: &DiskFaults, slowness: u64) -> Filling {
    let mut table = Filling::default();
    table.rate("lost-write", d.lost_write);
    table.rate("torn", d.torn);
    table.rate("reorder", d.reorder);
    table.rate("garbage", d.garbage);
    table.rate("lost-name", d.lost_name);
    table.rate("lost-rename", d.lost_rename);
    let is_late = d.sync_failures == [SyncFailure::Late];
    table.rate(if is_late { "late-sync" } else { "sync-failed" }, d.sync_failed);
    table.rate("write-error", d.write_error);
    table.rate("read-error", d.read_error);
    table.rate("read-flip", d.read_flip);
    table.rate("slow", d.slow);
    table.rate("unreadable", d.unreadable);
    table.rate("bit-rot", d.bit_rot);
    table.rate("misdirected-read", d.misdirected_read);
    table.rate("misdirected-write", d.misdirected_write);
    table.rate("stale", d.stale);
    table.rate("zeroed", d.zeroed);
    table.rate("full", d.full);
    table.rate("stall", d.stall);
    if slowness > 1 {
        table.count("slowness", slowness);
    }
    table
}

fn clocks(hosts: impl Iterator<Item = String>, wrong: &[(i64, i64)]) -> Vec<Clock> {
    let clock = |(host, (offset_us, drift_ppb)): (String, &(i64, i64))| Clock {
        host,
        offset_us: *offset_us,
        drift_ppb: *drift_ppb,
    };
    let is_wrong = |clock: &Clock| clock.offset_us != 0 || clock.drift_ppb != 0;
    hosts.zip(wrong).map(clock).filter(is_wrong).collect()
}

/// The plan of a world about a node.
pub(crate) fn node_world(scenario: &Scenario, plan: &Plan) -> Noted {
    let mut world = common(scenario, plan.buggify);
    world.amount::<Time>("duration", nanos(plan.chaos));
    world.amount::<Time>("settle", nanos(plan.settle));
    let mut node = Filling::default();
    durability(plan.durability, &mut node);
    node.amount::<Size>("rows", plan.rows);
    node.amount::<Size>("cache", plan.storage.cache_bytes);
    node.amount::<Size>("checkpoint", plan.storage.checkpoint_bytes);
    node.amount::<Time>("checkpoint-every", nanos(plan.storage.checkpoint_every));
    node.amount::<Size>("inline", plan.storage.inline_bytes);
    node.amount::<Size>("output", plan.output);
    node.count("connections", plan.connections.into());
    node.within(&mut world, "node");
    network(&plan.network, plan.latency).within(&mut world, "network");
    disk(&plan.disk, plan.slowness).within(&mut world, "disk");
    if let Some(c) = &plan.commands {
        let mut commands = Filling::default();
        commands.put("network", c.network);
        commands.count("sessions", c.sessions);
        commands.count("followers", c.followers);
        commands.count("in-flight", c.in_flight as u64);
        commands.count("credits", c.credits.into());
        commands.count("rate", c.rate);
        commands.amount::<Time>("dependency-wait", nanos(c.dependency_wait));
        commands.amount::<Time>("key-life", nanos(c.key_life));
        if let Some(json) = c.json_ppm {
            commands.amount::<Share>("json", json.into());
        }
        if let Some(u) = &c.upkeep {
            let mut upkeep = Filling::default();
            upkeep.amount::<Time>("age", nanos(u.age));
            upkeep.amount::<Size>("bytes", u.bytes);
            upkeep.count("outcomes", u.outcomes);
            upkeep.count("hidden", u.is_hidden.into());
            upkeep.within(&mut commands, "upkeep");
        }
        commands.within(&mut world, "commands");
    }
    let script = |habits: &crate::scenario::ClientPlan| Script {
        patience: nanos(habits.patience),
        slow: habits.slow,
        resp3: habits.resp3,
        steps: Vec::new(),
    };
    let hosts = std::iter::once(NODE.to_owned()).chain((0..).map(client::host));
    Noted {
        world: world.0,
        clocks: clocks(hosts, &plan.clocks),
        clients: plan.clients.iter().map(script).collect(),
    }
}

/// The plan of a world about a database by itself.
pub(crate) fn engine_world(scenario: &Scenario, plan: &EnginePlan) -> Noted {
    let mut world = common(scenario, plan.buggify);
    world.amount::<Time>("duration", nanos(plan.chaos));
    world.amount::<Time>("settle", nanos(plan.settle));
    let mut engine = Filling::default();
    durability(plan.durability, &mut engine);
    engine.count("keys", plan.keys);
    engine.amount::<Share>("deadlines", plan.deadlines_ppm.into());
    engine
        .put("ttl", format!("{}..{}", amount::<Time>(plan.ttl.low), amount::<Time>(plan.ttl.high)));
    engine.count("cache-pages", plan.cache_bytes / 4096);
    engine.amount::<Size>("checkpoint", plan.checkpoint_bytes);
    engine.amount::<Time>("checkpoint-every", nanos(plan.checkpoint_every));
    engine.amount::<Size>("inline", plan.inline_bytes);
    engine.count("upkeep", plan.upkeep.into());
    engine.within(&mut world, "engine");
    disk(&plan.disk, plan.slowness).within(&mut world, "disk");
    Noted {
        world: world.0,
        clocks: clocks(std::iter::once(NODE.to_owned()), &[plan.clock]),
        clients: (0..plan.clients)
            .map(|_| Script { patience: 1_000_000, ..Script::default() })
            .collect(),
    }
}

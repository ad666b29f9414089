//! What one operation costs, counted and not timed: in a calm world in which every delay is fixed
//! an operation sends so many messages and asks for so many syncs, and always the same. One more is
//! a change that somebody has to have wanted.
//!
//! Every operation has a world of its own. What happens by itself meanwhile, such as the syncs of a
//! buffered journal, and what the world itself allocates count as the operation's.

mod engine;
mod node;

use std::ops::AddAssign;

use orloj_sim::{Config, Control, Counts, Latency, Scheduler, Simulation, disk::LatencyProfile};

use crate::{allocations, node::NODE};

/// What is counted, by name.
pub const FIGURES: [&str; 10] = [
    "messages",
    "message_bytes",
    "reads",
    "writes",
    "write_bytes",
    "syncs",
    "polls",
    "allocations",
    "allocated_bytes",
    "virtual_ns",
];

/// What an operation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// What was done.
    pub name: String,
    /// How often.
    pub times: u64,
    /// The sum over all times, in the order of [`FIGURES`].
    pub figures: [u64; FIGURES.len()],
}

/// Does every operation, and counts.
///
/// # Errors
/// The operation that failed, and why.
pub fn all() -> Result<Vec<Cost>, String> {
    let mut costs = node::all()?;
    costs.extend(engine::all()?);
    Ok(costs)
}

/// A world without faults in which everything takes as long as always.
fn calm() -> Simulation {
    let scheduler = Scheduler::Fifo;
    Simulation::new(Config { scheduler, latency: Latency::Fixed(100_000), ..Config::seed(1) })
}

/// As fast as a solid-state disk, and never faster or slower.
const DISK: LatencyProfile = LatencyProfile {
    read: (50_000, 50_000),
    write: (5_000, 5_000),
    sync: (200_000, 200_000),
    name: (20_000, 20_000),
    per_kib: 500,
};

/// What is written everywhere.
const VALUE: &[u8; 32] = b"a value of thirty-two bytes, yes";

/// The key of that number, which costs no memory.
fn key(number: u64) -> [u8; 10] {
    let mut key = *b"key-000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    key
}

fn set_disk(sim: &mut Simulation) {
    sim.control(|control| control.set_disk_latency(NODE, DISK));
}

/// Sums over several stretches of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums([u64; FIGURES.len()]);

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Sums) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
    }
}

/// The moment from which on is counted.
#[derive(Clone, Copy, Debug)]
struct Meter([u64; FIGURES.len()]);

impl Meter {
    fn start() -> Meter {
        Meter(now())
    }

    /// What has come since.
    fn stop(self) -> Sums {
        let mut sums = now();
        sums.iter_mut().zip(self.0).for_each(|(sum, before)| *sum -= before);
        Sums(sums)
    }
}

fn now() -> [u64; FIGURES.len()] {
    let (allocations, allocated) = allocations::asked();
    let Counts { messages, message_bytes, reads, writes, write_bytes, syncs, polls, .. } =
        Control.counts();
    let time = Control.now().0;
    [
        messages,
        message_bytes,
        reads,
        writes,
        write_bytes,
        syncs,
        polls,
        allocations,
        allocated,
        time,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(cost: &Cost, name: &str) -> u64 {
        cost.figures[FIGURES.iter().position(|known| *known == name).expect("it is counted")]
    }

    #[test]
    fn the_same_is_counted_every_time() {
        assert_eq!(all().expect("nothing fails"), all().expect("nothing fails"));
    }

    #[test]
    fn a_strict_write_syncs_and_a_read_does_not() {
        let costs = all().expect("nothing fails");
        let cost = |name: &str| costs.iter().find(|c| c.name == name).expect("it is done");
        let strict = cost("resp.set.strict");
        assert_eq!(figure(strict, "syncs"), strict.times, "one by one they share none");
        assert_eq!(figure(strict, "messages"), 2 * strict.times, "a request and its answer");
        for name in ["resp.set.in_memory", "engine.get"] {
            assert_eq!(figure(cost(name), "syncs"), 0, "{name}");
        }
        // The journal syncs once for itself, after the writes before.
        assert!(figure(cost("resp.get.strict"), "syncs") <= 1);
    }
}

//! The rows every simulator is measured by, and the clock they are measured with.
//!
//! A peer is one small program that maps each row it can express to a function. Sizes live here, so
//! that no peer runs an easier version of a row. The clock is the CPU time of the process: wall
//! time on a shared machine measures the neighbours.

mod cost;
mod sizes;

use std::time::Duration;

use cost::cpu_time;
pub use cost::{Sample, measure, measure_mesh};
pub use sizes::Sizes;

/// One piece of work that every peer expresses in its own idiom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A client writes [`MESSAGE_LEN`] bytes over a stream, the server writes them back; 1 ms each
    /// way. One operation is one round trip.
    Echo,
    /// [`Sizes::mesh_nodes`] nodes, a stream from each to each; every millisecond each node writes
    /// one message into each of its streams. One operation is one message, and what connecting
    /// costs is taken out by subtracting a short run from a long one.
    Mesh,
    /// [`Sizes::timer_tasks`] tasks sleep one random duration after the other.
    Timer,
    /// [`Sizes::yield_tasks`] tasks give way to each other.
    Yield,
    /// Tasks are spawned in batches of [`Sizes::spawn_batch`], yield once and are joined.
    Spawn,
    /// A world of [`Sizes::cold_hosts`] hosts is built, one message goes round, the world is
    /// dropped. A peer without streams, or with cheaper datagrams, may use datagrams.
    Cold,
    /// [`Sizes::idle_hosts`] hosts have nothing to do. One operation is a simulated second,
    /// building and dropping the hosts included.
    Idle,
}

/// Bytes in a message.
pub const MESSAGE_LEN: usize = 64;
/// One way of every link.
pub const LATENCY: Duration = Duration::from_millis(1);

/// A row is run again until it has used this much CPU time,
const PATIENCE: Duration = Duration::from_millis(300);
/// or has been run this often.
const RUNS: u32 = 10;

/// The durations task `task` sleeps for: uniform from 1 ms to 1 s in steps of 1 us, the same for
/// every peer.
pub fn durations(task: u64) -> impl Iterator<Item = Duration> {
    let mut state = (task + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Duration::from_micros(1000 + (state >> 11) % 999_000)
    })
}

/// Runs the rows named on the command line, all without names, and prints `row ns_per_op ops` for
/// each. `--quick` runs [`Sizes::QUICK`]. A row the peer lacks prints nothing.
pub fn main(rows: &[(Row, fn(&Sizes) -> Sample)]) {
    let mut sizes = Sizes::FULL;
    let mut wanted = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => sizes = Sizes::QUICK,
            name => wanted.push(name.to_owned()),
        }
    }
    for (row, run) in rows {
        let name = format!("{row:?}").to_lowercase();
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        let sample = best(&sizes, *run);
        let ns = sample.cpu.as_nanos() as f64 / sample.ops as f64;
        println!("{name} {ns:.3} {}", sample.ops);
    }
}

/// The best of as many runs as fit into [`PATIENCE`], because a cheap row is over before the
/// machine has had one undisturbed moment.
fn best(sizes: &Sizes, run: fn(&Sizes) -> Sample) -> Sample {
    let start = cpu_time();
    let mut best = run(sizes);
    for _ in 1..RUNS {
        if cpu_time() - start > PATIENCE {
            break;
        }
        let sample = run(sizes);
        if sample.cpu < best.cpu {
            best = sample;
        }
    }
    best
}

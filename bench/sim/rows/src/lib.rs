//! The rows every simulator is measured by, and the clock they are measured with.
//!
//! A peer is one small program that maps each row it can express to a function. Sizes live here, so
//! that no peer runs an easier version of a row. The clock is the CPU time of the process: wall
//! time on a shared machine measures the neighbours.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// One piece of work that every peer expresses in its own idiom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// A client writes [`MESSAGE_LEN`] bytes over a stream, the server writes them back; 1 ms each
    /// way. One operation is one round trip.
    Echo,
    /// [`Sizes::mesh_nodes`] nodes, a stream from each to each; every millisecond each node writes
    /// one message into each of its streams. One operation is one message, and what connecting costs
    /// is taken out by subtracting a short run from a long one.
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
    /// [`Sizes::idle_hosts`] hosts have nothing to do. One operation is a simulated second, building
    /// and dropping the hosts included.
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

/// How much of each row is run.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Round trips.
    pub echo_rounds: u64,
    /// Nodes of the mesh.
    pub mesh_nodes: usize,
    /// Messages per stream in the run that is subtracted.
    pub mesh_rounds_short: u64,
    /// Messages per stream in the run it is subtracted from.
    pub mesh_rounds_long: u64,
    /// Tasks that sleep.
    pub timer_tasks: u64,
    /// Sleeps per task.
    pub timer_sleeps: u64,
    /// Tasks that yield.
    pub yield_tasks: u64,
    /// Yields per task.
    pub yields: u64,
    /// Tasks spawned in total.
    pub spawn_tasks: u64,
    /// Tasks alive at once.
    pub spawn_batch: u64,
    /// Worlds built and dropped.
    pub cold_worlds: u64,
    /// Hosts in each of them.
    pub cold_hosts: usize,
    /// Hosts that do nothing.
    pub idle_hosts: usize,
    /// Simulated seconds they do it for.
    pub idle_seconds: u64,
}

impl Sizes {
    /// What RESULTS.md is measured with.
    pub const FULL: Sizes = Sizes {
        echo_rounds: 200_000,
        mesh_nodes: 100,
        mesh_rounds_short: 2,
        mesh_rounds_long: 22,
        timer_tasks: 1000,
        timer_sleeps: 1000,
        yield_tasks: 1000,
        yields: 1000,
        spawn_tasks: 1_000_000,
        spawn_batch: 1000,
        cold_worlds: 5000,
        cold_hosts: 5,
        idle_hosts: 100,
        idle_seconds: 10,
    };

    /// Enough for a tendency within minutes.
    pub const QUICK: Sizes = Sizes {
        echo_rounds: 50_000,
        mesh_rounds_long: 12,
        timer_sleeps: 200,
        spawn_tasks: 200_000,
        cold_worlds: 500,
        idle_seconds: 1,
        ..Sizes::FULL
    };

    /// Messages in a mesh whose streams carry `rounds` each.
    pub fn mesh_messages(&self, rounds: u64) -> u64 {
        (self.mesh_nodes * (self.mesh_nodes - 1)) as u64 * rounds
    }
}

/// What a row cost.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Operations the cost is spread over.
    pub ops: u64,
    /// CPU time of all of them.
    pub cpu: Duration,
}

/// Runs `work` and charges its CPU time to `ops` operations.
pub fn measure(ops: u64, work: impl FnOnce()) -> Sample {
    let start = cpu_time();
    work();
    Sample { ops, cpu: cpu_time() - start }
}

/// Runs the mesh short and long, and charges the difference to the messages it consists of. The
/// difference of two runs doubles their noise, so it is taken between the best of each.
pub fn measure_mesh(sizes: &Sizes, mut mesh: impl FnMut(u64)) -> Sample {
    let (short, long) = (sizes.mesh_rounds_short, sizes.mesh_rounds_long);
    let ops = sizes.mesh_messages(long) - sizes.mesh_messages(short);
    let mut best = [Duration::MAX; 2];
    for _ in 0..2 {
        for (best, rounds) in best.iter_mut().zip([short, long]) {
            *best = measure(ops, || mesh(rounds)).cpu.min(*best);
        }
    }
    Sample { ops, cpu: best[1].saturating_sub(best[0]) }
}

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

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

/// The best of as many runs as fit into [`PATIENCE`], because a cheap row is over before the machine
/// has had one undisturbed moment.
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

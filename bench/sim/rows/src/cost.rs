//! What work costs, in CPU time of the process.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::Sizes;

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

pub(crate) fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

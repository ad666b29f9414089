//! How much of each row is run, the same for every peer.

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

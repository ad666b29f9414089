//! openraft's own suite for runtimes, on both of ours.

use openraft_rt::testing::Suite;
use orloj_host::{Host, Options, Workers};
use orloj_kernel::with_ambient;
use orloj_raft::Ambient;
use orloj_sim::{Config, Simulation};

/// The suite allows a sleep of 50 ms to take 200, which a busy machine may not keep: the best of a
/// few attempts counts.
#[test]
fn openraft_runs_on_a_machine() {
    for workers in [Workers::One, Workers::Many(2)] {
        let cx = Host::new(Options { workers, ..Options::new("unused") }).unwrap().context();
        let attempt = move || with_ambient(cx, Suite::<Ambient>::test_all);
        let held = (0..5).any(|_| std::thread::spawn(attempt).join().is_ok());
        assert!(held, "{workers:?}: no attempt passed; their panics are above");
    }
}

#[test]
fn openraft_runs_in_a_simulation() {
    for seed in 0..20 {
        let run = std::thread::spawn(move || {
            let mut sim = Simulation::new(Config::seed(seed));
            let cx = sim.idle_host("here");
            sim.control(|_| with_ambient(cx, Suite::<Ambient>::test_all));
        });
        assert!(run.join().is_ok(), "seed {seed}");
    }
}

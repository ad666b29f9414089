//! The ports bound to a seed: executor, clock, network, disk, faults, choice script, trace.
//!
//! A [`Simulation`] is a world of hosts on one thread. Time jumps from event to event, the next
//! task is chosen by the seed, and everything that can go wrong is a [`choice`] that can be
//! recorded, replayed and overridden. Code runs in it unchanged: it sees the same
//! [`Context`](orloj_kernel::Context) as on a machine.
//!
//! ```
//! use orloj_sim::{Config, Simulation};
//! use std::time::Duration;
//!
//! let mut sim = Simulation::new(Config::seed(7));
//! let client = sim.idle_host("client");
//! let slept = sim.run(client, async move {
//!     let begun = client.now();
//!     client.sleep(Duration::from_secs(3600)).await;
//!     client.now() - begun
//! });
//! assert!(slept.unwrap() >= Duration::from_secs(3600));
//! ```
//!
//! Invariant: this crate knows nothing of the database that is tested with it.

pub mod choice;
mod clock;
mod control;
mod counts;
pub mod disk;
mod executor;
pub mod explore;
pub mod fault;
pub mod graph;
mod host;
mod net;
mod panics;
mod queue;
mod runtime;
mod scheduler;
mod simulation;
mod sites;
mod stop;
mod task;
pub mod testing;
mod trace;
mod trap;
mod verdict;
mod world;

pub use control::Control;
pub use counts::Counts;
pub use host::Crash;
pub use net::{Latency, LinkFault, NetFaults};
pub use orloj_sim_macros::test;
pub use runtime::Sim;
pub use scheduler::Scheduler;
pub use simulation::{Config, Simulation};
pub use sites::Coverage;
pub use stop::{Fork, Look, Stop};
pub use trace::{Detail, Line};
pub use trap::Traps;
pub use verdict::{Failure, Report};

//! Small systems built on the kernel alone: a bank, a lock service, a replicated counter.
//!
//! Each is one file of actors and one test file. The tests run it in seeded worlds where hosts lose
//! power, links are cut and clocks differ, state what it promises, and prove of themselves that
//! they find a defect planted in it. The programs in `src/bin` run the same actors on a machine.
//!
//! - [`bank`]: one actor over one journal; an acknowledged transfer survives a power cut.
//! - [`lock`]: leases and fencing tokens; of two who believe to hold the lock, one has effect.
//! - [`counter`]: three hosts, majorities; an acknowledged increment is never lost.
//!
//! What they share is as small: [`journal`], records that survive, and [`rpc`], one question and
//! one answer over the network.

pub mod bank;
pub mod counter;
pub mod journal;
pub mod lock;
pub mod rpc;

/// Pages of the book whose code is compiled and run with the documentation tests.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../../docs/src/from-madsim.md")]
    mod from_madsim {}
    #[doc = include_str!("../../docs/src/from-shuttle.md")]
    mod from_shuttle {}
    #[doc = include_str!("../../docs/src/from-turmoil.md")]
    mod from_turmoil {}
}

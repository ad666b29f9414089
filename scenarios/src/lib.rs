//! Hosts, faults, workload and laws, wired from TOML; and the program that runs seeds of them.
//!
//! A [`Scenario`] names who takes part, what goes wrong and which promise is tested. One seed of it
//! is one world of `orloj-sim` in which the real node of `orloj-db` serves simulated clients; what
//! they saw is held to the laws of `orloj-invariants`.

mod account;
pub mod allocations;
pub mod campaign;
pub mod case;
pub mod cli;
mod client;
mod commands;
pub mod compare;
pub mod costs;
mod engine;
pub mod leaks;
pub mod metamorphic;
mod nemesis;
mod node;
pub mod page;
mod record;
mod recorder;
pub mod scenario;
mod seed;
mod shapes;
pub mod shrink;
mod story;
mod verdict;
mod workload;

pub use account::{Account, Row};
pub use case::Case;
pub use record::Record;
pub use scenario::{Scenario, ScenarioError};
pub use seed::run;
pub use verdict::{Breach, Met, Outcome, Run, Setup, Tally, mutants};

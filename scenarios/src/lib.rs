//! Hosts, faults, workload and laws, wired from TOML; and the program that runs seeds of them.
//!
//! A [`Scenario`] names who takes part, what goes wrong and which promise is tested. One seed of it is
//! one world of `orloj-sim` in which the real node of `orloj-db` serves simulated clients; what they saw
//! is held to the laws of `orloj-invariants`.

pub mod cli;
pub mod leaks;
pub mod scenario;
mod verdict;

pub use scenario::{Scenario, ScenarioError};
pub use verdict::{Breach, Met, Outcome, Run, Setup, Tally, mutants};

/// Runs one seed of a scenario.
pub fn run(_: &Scenario, setup: Setup) -> Run {
    Run::did_not_start(setup.seed, "there is no node yet".to_owned())
}

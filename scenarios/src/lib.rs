//! Hosts, faults, workload and laws, wired from TOML; and the program that runs seeds of them.
//!
//! A [`Scenario`] names who takes part, what goes wrong and which promise is tested. One seed of it is
//! one world of `orloj-sim` in which the real node of `orloj-db` serves simulated clients; what they saw
//! is held to the laws of `orloj-invariants`.

pub mod scenario;

pub use scenario::{Scenario, ScenarioError};

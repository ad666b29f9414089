//! Checkers of histories that carry no witness: a black box was asked, and answered.
//!
//! The laws of this crate know the versions that a node says it gave. These checkers believe
//! nobody: they take plain lists of operations and look for an order that explains them. They know
//! no word of the database, read no clock, and count their budget in steps, so the same history
//! always gets the same verdict.

pub mod anomalies;
pub mod linearizability;
pub mod liveness;
pub mod models;
pub mod witnesses;

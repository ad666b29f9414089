//! Transactions against each other on a tree in memory.

mod anomalies;
mod history;
mod random;
mod script;

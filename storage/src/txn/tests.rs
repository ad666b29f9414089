//! Transactions against each other on a tree in memory.

mod history;

//! Transactions: what becomes checks and writes of one commit.
//!
//! A transaction of whatever kind gathers what it read and what it would write, and then commits
//! all of it by one call of the tree, which judges the checks and applies the writes under the
//! latches of the leaves concerned. [`Locks`](crate::locks::Locks) decide who waits for whom; they
//! never decide what is right.
//!
//! Everything here is synchronous but for the pause of a [`Retry`].

mod ranges;
mod retry;
pub mod single;

pub use retry::Retry;

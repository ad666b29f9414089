//! What is promised of causal commands, stated apart from how it is kept.
//!
//! A simulation records a [`History`]: what clients asked inside envelopes and what they were told,
//! what subscribers heard, and life by life what the node says happened. An [`Account`] puts the
//! node's word in order and says what became of each step; [`Model`] is the single-threaded system
//! that explains it step by step; [`judge`] holds all of it to the laws.
//!
//! Source: the specification of causal commands, properties P1 to P10.

mod account;
mod history;
mod laws;
mod model;
mod show;

#[cfg(test)]
mod testing;

pub use account::{Account, Fate, Item, Known, Place};
pub use history::{
    Dump, End, History, Inquiry, Life, Limits, Operation, Subscription, Told, Upkeep, UpkeepKind,
    What,
};
pub use laws::{COMMAND_LAWS, CommandLaw, judge};
pub use model::Model;
pub use show::{show_envelope, show_outcome, show_step};

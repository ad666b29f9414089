//! The ports bound to a seed: executor, clock, network, disk, faults, choice script, trace.

pub mod choice;
pub mod fault;

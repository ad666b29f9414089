//! One binary of integration tests: what needs two runtimes, a real machine or a real process.

mod ports;
mod process;
mod raft;
mod signals;
mod tool;
mod tree;

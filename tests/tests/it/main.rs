//! One binary of integration tests: what needs two runtimes, a real machine or a real process.

mod ports;
mod raft;
mod signals;

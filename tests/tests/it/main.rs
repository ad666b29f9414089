//! One binary of integration tests: what needs two runtimes, a real machine or a real process.

mod asked;
mod clients;
mod commands;
mod copies;
mod corpus;
mod full_disk;
mod migrate;
mod mounted;
mod native;
mod orlojd;
mod ports;
mod process;
mod raft;
mod redis;
mod repair;
mod retried;
mod rude_clients;
mod signals;
mod tool;
mod trace_page;
mod transactions;
mod transports;
mod tree;

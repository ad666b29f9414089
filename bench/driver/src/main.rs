//! Measures the simulator, the daemon and the storage engine beside their peers, and the disk
//! beneath.
//!
//! Every comparison interleaves its sides within one run, because the machine may be shared and a
//! number taken an hour ago compares with nothing. The unit is CPU time wherever CPU is the cost.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod command;
mod disk;
mod packages;
mod program;
mod progress;
mod report;
mod resp;
mod server;
mod sim;
mod storage;

/// Compares this project with its peers on this machine, in one interleaved run.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The simulator beside its peers, in CPU time an operation.
    Sim(sim::Options),
    /// The daemon beside redis-server, in server CPU and throughput.
    Resp(resp::Options),
    /// The storage engine beside embedded stores, in CPU time an operation, synced latency and
    /// throughput, time to reopen, and space.
    Storage(storage::Options),
    /// Commands in envelopes beside the plain RESP path: rate, server CPU, memory of sessions and
    /// time of history queries.
    Command(command::Options),
    /// The latency of making an append durable on this disk.
    Disk(disk::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().what {
        What::Sim(options) => sim::run(&options),
        What::Resp(options) => resp::run(&options),
        What::Storage(options) => storage::run(&options),
        What::Command(options) => command::run(&options),
        What::Disk(options) => disk::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! Every automation of the project, as subcommands of one small binary.
//!
//! It starts other programs (cargo, nextest, the simulator) and judges text; it holds no logic of
//! the database and depends on no crate of the workspace, so it compiles in seconds and can judge a
//! tree that does not compile.
//!
//! Exit status of every subcommand: 0 all is well; 1 something was found or failed; 2 the work did
//! not start.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a binary speaks to a person")]

mod bench;
mod fuzz;
mod gates;
mod lint;
mod process;
mod schemas;
mod sim;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Every automation of the project.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_version_flag = true, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

const EXIT_STATUS: &str = "Exit status: 0 all is well; 1 something failed; 2 it did not start.";

#[derive(Subcommand)]
enum Task {
    /// Run seeded simulations and judge them (`cargo xtask sim --help` lists the flags).
    #[command(disable_help_flag = true)]
    Sim {
        /// Passed to the simulation binary as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run every test: unit, integration, documentation.
    Test(test::Options),
    /// Measure against the peers (`cargo xtask bench --help` lists the suites).
    #[command(disable_help_flag = true)]
    Bench {
        /// Passed to the benchmark binary as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run coverage-guided fuzz targets of `fuzz/`.
    Fuzz(fuzz::Options),
    /// Check what neither the compiler nor clippy can: arrows, absences, sizes, words, links.
    Lint(lint::Options),
    /// Check that what is on disk stays readable: schemas against those of every format version.
    Schemas,
    /// Count what operations cost, and compare it exactly with `ci/costs.toml`.
    #[command(disable_help_flag = true)]
    Costs {
        /// Passed to the simulation binary as they are: --accept agrees to the figures as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the gates that every change passes, as `ci/gates.toml` lists them.
    Ci(gates::Options),
    /// Run the gates of a night, and those of a change before.
    Nightly(gates::Options),
    /// Run the gates of a release, and all others before.
    ReleaseGate(gates::Options),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Sim { args } => sim::run(args),
        Task::Test(options) => test::run(&options),
        Task::Bench { args } => bench::run(args),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Lint(options) => lint::run(&options),
        Task::Schemas => schemas::run(),
        Task::Costs { args } => sim::run([vec!["costs".to_owned()], args].concat()),
        Task::Ci(options) => gates::run("ci", &options),
        Task::Nightly(options) => gates::run("nightly", &options),
        Task::ReleaseGate(options) => gates::run("release-gate", &options),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}

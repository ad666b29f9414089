//! The `sim` program: seeds in, verdicts out.
//!
//! Exit status: 0 when every promise held, 1 when one was broken, 2 when the run did not start.

mod args;
mod bisect;
mod campaign;
mod campaigns;
mod cases;
mod checkout;
mod costs;
mod crew;
mod determinism;
mod diff;
mod fork;
mod gauntlet;
mod inspect;
mod listing;
mod machine;
mod metamorphic;
mod mutants;
mod pick;
mod places;
mod program;
mod replay;
mod report;
mod scoreboard;
mod shrink;
mod trace;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Task};

/// Every promise held.
const HELD: u8 = 0;
/// A promise was broken.
const BROKEN: u8 = 1;
/// The run did not start.
const DID_NOT_START: u8 = 2;

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let args = match Args::try_parse_from(machine::arguments()) {
        Ok(args) => args,
        Err(error) => {
            let status = if error.use_stderr() { DID_NOT_START } else { HELD };
            // Nobody can be told that the standard streams are closed.
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    let status = match &args.task {
        None => campaign::run(&args.run),
        Some(Task::CheckDeterminism(task)) => determinism::run(&args.run, task),
        Some(Task::Mutants(task)) => mutants::run(&args.run, task),
        Some(Task::Cases(task)) => cases::run(args.run.json, task),
        Some(Task::Costs(task)) => costs::run(args.run.json, task),
        Some(Task::Trace(task)) => trace::run(&args.run, task),
        Some(Task::Diff(task)) => diff::run(&args.run, task),
        Some(Task::Fork(task)) => fork::run(&args.run, task),
        Some(Task::Inspect(task)) => inspect::run(&args.run, task),
        Some(Task::Bisect(task)) => bisect::run(&args.run, task),
        Some(Task::Shrink(task)) => shrink::run(&args.run, task),
        Some(Task::Replay(task)) => replay::run(&args.run, task),
        Some(Task::Campaign(task)) => campaigns::run(&args.run, task),
        Some(Task::Gauntlet(task)) => gauntlet::run(&args.run, task),
        Some(Task::Metamorphic(task)) => metamorphic::run(&args.run, task),
        Some(Task::List) => listing::run(&args.run),
    };
    match status {
        Ok(status) => ExitCode::from(status),
        Err(why) => {
            machine::complain(&why);
            ExitCode::from(DID_NOT_START)
        }
    }
}

//! The simulator beside its peers: one program each, run in turn, row by row.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::program;
use crate::progress::Progress;
use crate::report::{Comparison, Printer, significant};

/// Which rows to run, on whom, how often.
#[derive(Args)]
pub(crate) struct Options {
    /// Smaller sizes and two repetitions: under three minutes once everything is built.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line: bench, ours and peer in CPU ns an operation, peer_name, ratio.
    #[arg(long)]
    json: bool,
    /// Only this row; may be repeated.
    #[arg(long = "row", value_name = "ROW")]
    rows: Vec<String>,
    /// Only this peer beside ours; may be repeated.
    #[arg(long = "peer", value_name = "PEER")]
    peers: Vec<String>,
    /// How often each row is run; the best counts.
    #[arg(long)]
    repetitions: Option<usize>,
}

const ROWS: &[&str] = &["echo", "mesh", "timer", "yield", "spawn", "cold", "idle"];

/// The column everyone else is compared with.
const OURS: &str = "orloj";

/// Every program, ours first.
const PROGRAMS: &[&str] =
    &[OURS, "bare", "bach", "commonware", "madsim", "moonpool", "tokio", "turmoil"];

struct Program {
    name: &'static str,
    path: PathBuf,
    /// Best CPU time of each row in ns an operation; `None` when it has no such row.
    best: Vec<Option<f64>>,
}

/// Builds the programs, runs each row on each of them in turn, and prints the comparison.
///
/// # Errors
///
/// A program that does not build, a row that fails or prints something else than its cost, and a
/// name that is not a row or a peer.
pub(crate) fn run(options: &Options) -> Result<()> {
    let rows = program::select(&options.rows, ROWS, "row")?;
    let mut names = program::select(&options.peers, PROGRAMS, "peer")?;
    if !names.contains(&OURS) {
        names.insert(0, OURS);
    }
    let progress = Progress::new();
    let mut programs = Vec::new();
    for name in names {
        progress.step(&format!("building {name}"));
        programs.push(Program { name, path: build(name)?, best: vec![None; rows.len()] });
    }
    let repetitions = options.repetitions.unwrap_or(if options.quick { 2 } else { 5 });
    for repetition in 1..=repetitions {
        progress.step(&format!("repetition {repetition} of {repetitions}"));
        for (index, row) in rows.iter().enumerate() {
            for program in &mut programs {
                progress.tick(&format!("{repetition}/{repetitions} {row} {}", program.name));
                let Some(cost) = measure(&program.path, row, options.quick)? else {
                    continue;
                };
                let best = &mut program.best[index];
                *best = Some(best.map_or(cost, |best| best.min(cost)));
            }
        }
    }
    drop(progress);
    let (ours, peers) = programs.split_first().expect("our own program is always there");
    let mut comparisons = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        for peer in peers {
            if let (Some(ours), Some(cost)) = (ours.best[index], peer.best[index]) {
                comparisons.push(Comparison::cost(row, ours, cost, peer.name, "ns"));
            }
        }
    }
    if options.json {
        let printer = Printer::new(true);
        comparisons.iter().for_each(|comparison| printer.print(comparison));
    } else {
        print_table(&rows, &programs);
    }
    Ok(())
}

/// Builds one program and says where it is.
fn build(name: &str) -> Result<PathBuf> {
    let package = format!("orloj-bench-{name}");
    if name == "madsim" {
        // A cfg for the whole graph, so a directory of its own: it would rebuild every other peer.
        return program::build(&package, "target/madsim", &[("RUSTFLAGS", "--cfg madsim")]);
    }
    program::build(&package, "target", &[])
}

/// Runs one row once; `None` when the program has no such row.
fn measure(program: &Path, row: &str, quick: bool) -> Result<Option<f64>> {
    let mut command = Command::new(program);
    command.arg(row);
    if quick {
        command.arg("--quick");
    }
    let output = command.output().with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{} {row} failed: {}\n{error}", program.display(), output.status);
    }
    let text = String::from_utf8(output.stdout).context("the output is not text")?;
    // Some peers print banners of their own.
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some(row) {
            let cost = words.next().context("a row without its cost")?;
            return Ok(Some(cost.parse().with_context(|| format!("{cost} is not a cost"))?));
        }
    }
    Ok(None)
}

fn print_table(rows: &[&str], programs: &[Program]) {
    println!("CPU ns an operation; in brackets how many times ours");
    print!("{:<8}", "");
    for program in programs {
        print!("{:>20}", program.name);
    }
    println!();
    for (index, row) in rows.iter().enumerate() {
        print!("{row:<8}");
        let ours = programs[0].best[index];
        for program in programs {
            let cell = match (program.best[index], ours) {
                (None, _) => "-".to_owned(),
                (Some(cost), Some(ours)) if program.name != OURS => {
                    format!("{} [{}]", significant(cost), (cost / ours * 100.0).round() / 100.0)
                }
                (Some(cost), _) => significant(cost).to_string(),
            };
            print!("{cell:>20}");
        }
        println!();
    }
}

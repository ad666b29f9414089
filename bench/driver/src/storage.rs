//! The storage engine beside embedded stores: one program each, loaded once, whose rows take turns.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::progress::Progress;
use crate::report::{Comparison, Printer, significant};
use crate::{packages, program};

mod device;
mod engine;
mod priority;

use device::Device;
use engine::Engine;
use priority::undisturbed;

/// Which rows to run, on whom, how often, and where.
#[derive(Args)]
pub(crate) struct Options {
    /// Smaller databases, fewer operations, two repetitions: under four minutes once all is built.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line: bench, ours, peer, peer_name, ratio. Ours and ratio are null where
    /// there is nothing of ours.
    #[arg(long)]
    json: bool,
    /// Only rows whose names begin like this; may be repeated.
    #[arg(long = "row", value_name = "ROW")]
    rows: Vec<String>,
    /// Only this peer beside ours; may be repeated.
    #[arg(long = "peer", value_name = "PEER")]
    peers: Vec<String>,
    /// How often each row is run; the best counts. Loads and space are run once with --quick,
    /// growth and reopening always.
    #[arg(long)]
    repetitions: Option<usize>,
    /// Directory for the databases; it decides which disk they are on.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/storage"))]
    dir: PathBuf,
}

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Each repetition runs it on every engine before the next row.
    Repeated,
    /// The same, but a quick run has only the first repetition of it.
    Heavy,
    /// Run once, engine after engine, because its databases are large.
    Alone,
    /// [`Turn::Alone`], on a database whose process was killed while it was open.
    AfterKill,
}

struct Row {
    name: &'static str,
    unit: &'static str,
    /// Whether a larger figure is a better one.
    more: bool,
    turn: Turn,
}

const fn cost(name: &'static str, unit: &'static str, turn: Turn) -> Row {
    Row { name, unit, more: false, turn }
}

const fn rate(name: &'static str, unit: &'static str, turn: Turn) -> Row {
    Row { name, unit, more: true, turn }
}

/// In the order they are run: loads first, and what takes a database apart last.
const ROWS: &[Row] = &[
    cost("load-random", "us", Turn::Heavy),
    cost("load-sorted", "us", Turn::Heavy),
    cost("get-cached", "us", Turn::Repeated),
    cost("get-snapshot-cached", "us", Turn::Repeated),
    cost("scan-100", "us", Turn::Repeated),
    cost("put-update", "us", Turn::Repeated),
    cost("put-insert", "us", Turn::Repeated),
    cost("delete-buffered", "us", Turn::Repeated),
    cost("ycsb_a-buffered", "us", Turn::Repeated),
    cost("ycsb_b-buffered", "us", Turn::Repeated),
    rate("threads2-get", "x", Turn::Repeated),
    rate("threads2-put", "x", Turn::Repeated),
    cost("get-memory", "us", Turn::Repeated),
    cost("put-memory", "us", Turn::Repeated),
    rate("threads2-get-memory", "x", Turn::Repeated),
    rate("threads2-put-memory", "x", Turn::Repeated),
    cost("strict1-p50", "us", Turn::Repeated),
    rate("strict16-rate", "op/s", Turn::Repeated),
    cost("space-churned", "x", Turn::Heavy),
    cost("space-compacted", "x", Turn::Heavy),
    cost("growth-get", "x", Turn::Alone),
    cost("growth-put", "x", Turn::Alone),
    cost("reopen-kill", "s", Turn::AfterKill),
];

/// The column everyone else is compared with.
const OURS: &str = "orloj";

/// Every program. `btreemap` is the standard library's map behind a lock: the floor in memory.
const PROGRAMS: &[&str] = &[OURS, "btreemap", "fjall", "lmdb", "redb", "rocksdb", "sqlite"];

struct Program {
    name: &'static str,
    path: PathBuf,
    /// The best figure of each row so far; `None` when it has no such row.
    best: Vec<Option<f64>>,
}

impl Program {
    fn start(&self, options: &Options) -> Result<Engine> {
        Engine::start(self.name, &self.path, &options.dir, options.quick)
    }

    fn record(&mut self, index: usize, row: &Row, figure: Option<f64>) {
        let best = &mut self.best[index];
        *best = match (*best, figure) {
            (Some(best), Some(figure)) if row.more => Some(best.max(figure)),
            (Some(best), Some(figure)) => Some(best.min(figure)),
            (best, figure) => best.or(figure),
        };
    }
}

/// Builds the programs, runs each row on each of them in turn, and prints the comparison with the
/// figures of the device beside it. Without a program of ours the peers run all the same.
///
/// # Errors
///
/// A program that does not build, a row that fails, a name that is not a row or a peer.
pub(crate) fn run(options: &Options) -> Result<()> {
    let rows = wanted_rows(options)?;
    let progress = Progress::new();
    let mut programs = build(options, &rows, &progress)?;
    let mut device = Device::new();
    let taking_turns = |row: &&Row| matches!(row.turn, Turn::Repeated | Turn::Heavy);
    if rows.iter().any(taking_turns) {
        take_turns(options, &rows, &mut programs, &mut device, &progress)?;
    }
    for program in &mut programs {
        run_alone(options, &rows, program, &progress)?;
    }
    drop(progress);
    if options.json {
        print_comparisons(&rows, &programs, &device);
    } else {
        print_table(&rows, &programs);
    }
    device.report(options.json);
    Ok(())
}

fn wanted_rows(options: &Options) -> Result<Vec<&'static Row>> {
    for start in &options.rows {
        if !ROWS.iter().any(|row| row.name.starts_with(start)) {
            let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
            bail!("no row begins with {start}; there are {}", names.join(", "));
        }
    }
    let wanted = |row: &&Row| {
        options.rows.is_empty() || options.rows.iter().any(|start| row.name.starts_with(start))
    };
    Ok(ROWS.iter().filter(wanted).collect())
}

fn build(options: &Options, rows: &[&Row], progress: &Progress) -> Result<Vec<Program>> {
    let mut names = program::select(&options.peers, PROGRAMS, "peer")?;
    if program::root().join("storage").join(OURS).is_dir() {
        if !names.contains(&OURS) {
            names.insert(0, OURS);
        }
    } else {
        names.retain(|name| *name != OURS);
        eprintln!("there is no bench/storage/{OURS}: the peers run without us");
    }
    let mut programs = Vec::new();
    for name in names {
        progress.step(&format!("building {name}"));
        let mut environment = Vec::new();
        if name == "rocksdb" {
            // Its bindings are generated from its headers.
            packages::require(&["c++", "clang"], &["g++", "clang", "libclang-dev"])?;
            if cfg!(target_arch = "x86_64") {
                // Without these its checksums are computed without the instruction for them.
                environment.push(("CXXFLAGS", "-msse4.2 -mpclmul"));
            }
        }
        let package = format!("orloj-bench-storage-{name}");
        let path = program::build(&package, "target", &environment)?;
        programs.push(Program { name, path, best: vec![None; rows.len()] });
    }
    Ok(programs)
}

/// All engines stand ready, and every row visits one after the other.
fn take_turns(
    options: &Options,
    rows: &[&Row],
    programs: &mut [Program],
    device: &mut Device,
    progress: &Progress,
) -> Result<()> {
    let mut engines =
        programs.iter().map(|program| program.start(options)).collect::<Result<Vec<_>>>()?;
    let repetitions = options.repetitions.unwrap_or(if options.quick { 2 } else { 3 });
    for repetition in 1..=repetitions {
        progress.step(&format!("repetition {repetition} of {repetitions}"));
        for (index, row) in rows.iter().enumerate() {
            let skipped = match row.turn {
                Turn::Repeated => false,
                Turn::Heavy => options.quick && repetition > 1,
                Turn::Alone | Turn::AfterKill => true,
            };
            if skipped {
                continue;
            }
            if row.name == "strict1-p50" {
                let time = Duration::from_millis(if options.quick { 200 } else { 2000 });
                let dir = options.dir.join("device");
                undisturbed(std::process::id(), || device.measure(&dir, time))?;
            }
            for (program, engine) in programs.iter_mut().zip(&mut engines) {
                progress.tick(&format!("{repetition}/{repetitions} {} {}", row.name, program.name));
                let figure = if row.name.starts_with("strict") {
                    undisturbed(engine.process(), || engine.run(row.name))?
                } else {
                    engine.run(row.name)?
                };
                program.record(index, row, figure);
            }
        }
    }
    Ok(())
}

/// The rows that one engine runs while no other has anything loaded.
fn run_alone(
    options: &Options,
    rows: &[&Row],
    program: &mut Program,
    progress: &Progress,
) -> Result<()> {
    for turn in [Turn::Alone, Turn::AfterKill] {
        if !rows.iter().any(|row| row.turn == turn) {
            continue;
        }
        let mut engine = program.start(options)?;
        if turn == Turn::AfterKill {
            progress.step(&format!("filling {}", program.name));
            if engine.run("reopen-fill")?.is_none() {
                continue;
            }
            engine.restart(&program.path, options.quick)?;
        }
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| row.turn == turn) {
            progress.step(&format!("{} {}", row.name, program.name));
            program.record(index, row, engine.run(row.name)?);
        }
    }
    Ok(())
}

fn print_comparisons(rows: &[&Row], programs: &[Program], device: &Device) {
    let ours = programs.iter().find(|program| program.name == OURS);
    let printer = Printer::new(true);
    for (index, row) in rows.iter().enumerate() {
        let ours = ours.and_then(|program| program.best[index]);
        let peers = programs.iter().filter(|program| program.name != OURS);
        let figures = peers.filter_map(|peer| Some((peer.name, peer.best[index]?)));
        let device = device.figure(row.name).map(|figure| ("device", figure));
        for (name, figure) in figures.chain(device) {
            let compare = if row.more { Comparison::rate } else { Comparison::cost };
            printer.print(&compare(row.name, ours, figure, name, row.unit));
        }
    }
}

fn print_table(rows: &[&Row], programs: &[Program]) {
    println!("CPU us an operation, or the unit given; in brackets how many times better ours is");
    print!("{:<20} {:<5}", "", "");
    for program in programs {
        print!("{:>18}", program.name);
    }
    println!();
    let ours = programs.iter().find(|program| program.name == OURS);
    for (index, row) in rows.iter().enumerate() {
        print!("{:<20} {:<5}", row.name, row.unit);
        let ours = ours.and_then(|program| program.best[index]);
        for program in programs {
            let cell = match (program.best[index], ours) {
                (None, _) => "-".to_owned(),
                (Some(figure), Some(ours)) if program.name != OURS => {
                    let ratio = if row.more { ours / figure } else { figure / ours };
                    format!("{} [{}]", significant(figure), (ratio * 100.0).round() / 100.0)
                }
                (Some(figure), _) => significant(figure).to_string(),
            };
            print!("{cell:>18}");
        }
        println!();
    }
}

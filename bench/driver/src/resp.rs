//! The daemon beside redis-server, under redis-benchmark: server CPU an operation and throughput.
//!
//! The load generator is one thread and costs about as much as a server, so on a small machine the
//! throughput of a pipelined run is mostly its own. Server CPU is what tells the servers apart.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::packages;
use crate::progress::Progress;
use crate::report::{Comparison, Printer};
use crate::server::{self, Durability, Server};

/// Connections of the load generator.
const CLIENTS: &str = "50";
/// Keys of the rows that spread over many.
const KEYS: &str = "100000";

/// How much to run, and against what.
#[derive(Args)]
pub(crate) struct Options {
    /// Fewer operations and four repetitions.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line: bench, ours, peer, peer_name, ratio.
    #[arg(long)]
    json: bool,
    /// How often each row is run on each side.
    #[arg(long)]
    repetitions: Option<usize>,
    /// Only rows whose name contains this, such as `set-p16` or `strict`.
    #[arg(long)]
    only: Option<String>,
    /// The daemon to run instead of building this repository's.
    #[arg(long, value_name = "PATH")]
    orlojd: Option<PathBuf>,
    /// Put redis-server on both sides: how far the ratios stray from 1 is the error of this
    /// harness.
    #[arg(long)]
    null: bool,
}

/// One load: what redis-benchmark is told.
struct Load {
    durability: Durability,
    test: &'static str,
    pipeline: u32,
    /// Over many keys, or one.
    spread: bool,
}

impl Load {
    fn name(&self) -> String {
        let keys = if self.spread { "-keys100k" } else { "" };
        format!("{}-p{}-{}{keys}", self.test, self.pipeline, self.durability.name())
    }

    /// Operations of one run: a third of a second or more of server CPU when quick, and three times
    /// that otherwise.
    fn operations(&self, quick: bool) -> u64 {
        // A read never waits for the disk where nothing is written.
        let slow = self.durability == Durability::Strict && self.test == "set";
        let quick_count = match (slow, self.pipeline) {
            (true, 1) => 25_000,
            (true, _) => 100_000,
            (false, 1) => 50_000,
            (false, 16) => 300_000,
            (false, _) => 600_000,
        };
        if quick { quick_count } else { quick_count * 3 }
    }
}

/// What each run of a load on one server showed.
#[derive(Default)]
struct Runs {
    cpu_us: Vec<f64>,
    per_second: Vec<f64>,
}

/// Runs every load on both servers in turn and prints the comparison.
///
/// # Errors
///
/// A server or redis-benchmark that is missing, does not start, or does not last.
pub(crate) fn run(options: &Options) -> Result<()> {
    let progress = Progress::new();
    progress.step("looking for redis-server");
    packages::require(&["redis-server", "redis-benchmark"], &["redis-server", "redis-tools"])?;
    let daemon = match (&options.orlojd, options.null) {
        (_, true) => None,
        (Some(path), _) => Some(path.clone()),
        (None, _) => {
            progress.step("building orlojd");
            Some(server::build_orlojd()?)
        }
    };
    let repetitions = options.repetitions.unwrap_or(if options.quick { 4 } else { 8 });
    let printer = Printer::new(options.json);
    for durability in [Durability::InMemory, Durability::Buffered, Durability::Strict] {
        let mut loads = loads(durability);
        if let Some(only) = &options.only {
            loads.retain(|load| load.name().contains(only.as_str()));
        }
        if !loads.is_empty() {
            progress.step(&format!("running {}", durability.name()));
            compare(&loads, daemon.as_deref(), options, repetitions, &progress, &printer)?;
        }
    }
    Ok(())
}

fn loads(durability: Durability) -> Vec<Load> {
    let mut loads = Vec::new();
    for test in ["set", "get"] {
        for pipeline in [1, 16, 64] {
            for spread in [true, false] {
                loads.push(Load { durability, test, pipeline, spread });
            }
        }
    }
    loads
}

/// Runs loads of one durability; every load alternates between the servers.
fn compare(
    loads: &[Load],
    daemon: Option<&Path>,
    options: &Options,
    repetitions: usize,
    progress: &Progress,
    printer: &Printer,
) -> Result<()> {
    let durability = loads[0].durability;
    // Both lie beside each other, so they write to the same file system.
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/resp");
    let redis = Server::start_redis(durability, dir.join("redis"))?;
    let ours = match daemon {
        Some(program) => Server::start_orlojd(program, durability, dir.join("orlojd"))?,
        None => Server::start_redis(durability, dir.join("redis-too"))?,
    };
    for server in [&redis, &ours] {
        // Every key exists before it is read, and every buffer has grown.
        for spread in [true, false] {
            let load = Load { durability, test: "set", pipeline: 16, spread };
            benchmark(server, &load, 200_000)?;
        }
    }
    for load in loads {
        let (mut redis_runs, mut our_runs) = (Runs::default(), Runs::default());
        for repetition in 1..=repetitions {
            progress.tick(&format!("{repetition}/{repetitions} {}", load.name()));
            let operations = load.operations(options.quick);
            // Whoever comes second finds the machine as the first has left it.
            let mut turns = [(&redis, &mut redis_runs), (&ours, &mut our_runs)];
            if repetition % 2 == 0 {
                turns.reverse();
            }
            for (server, runs) in turns {
                measure(server, load, operations, runs)?;
            }
        }
        let name = load.name();
        let (ours, redis) = (least(&our_runs.cpu_us), least(&redis_runs.cpu_us));
        progress.clear();
        printer.print(&Comparison::cost(&format!("cpu-{name}"), ours, redis, "redis", "us/op"));
        let (ours, redis) = (most(&our_runs.per_second), most(&redis_runs.per_second));
        printer.print(&Comparison::rate(&format!("tput-{name}"), ours, redis, "redis", "op/s"));
    }
    redis.stop()?;
    ours.stop()
}

fn measure(server: &Server, load: &Load, operations: u64, runs: &mut Runs) -> Result<()> {
    let before = server.cpu()?;
    let per_second = benchmark(server, load, operations)?;
    let cpu = server.cpu()? - before;
    runs.cpu_us.push(cpu.as_secs_f64() * 1e6 / operations as f64);
    runs.per_second.push(per_second);
    Ok(())
}

/// Puts `load` on `server` and returns the operations a second that redis-benchmark reports.
fn benchmark(server: &Server, load: &Load, operations: u64) -> Result<f64> {
    let mut command = Command::new("redis-benchmark");
    command.args(["-h", "127.0.0.1", "-p", &server.port().to_string(), "--csv"]);
    command.args(["-c", CLIENTS, "-t", load.test, "-n", &operations.to_string()]);
    command.args(["-P", &load.pipeline.to_string()]);
    if load.spread {
        command.args(["-r", KEYS]);
    }
    let output = command.output().context("cannot run redis-benchmark")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("redis-benchmark failed on {}: {text}\n{error}", load.name());
    }
    // The last line is "SET","151515.16",... under a line of headings.
    let line = text.lines().rfind(|line| line.starts_with('"'));
    let figure = line.and_then(|line| line.split(',').nth(1)).unwrap_or_default();
    figure
        .trim_matches('"')
        .parse()
        .with_context(|| format!("redis-benchmark said something else on {}: {text}", load.name()))
}

/// The cost of the least disturbed run.
fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The yield of the least disturbed run.
fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

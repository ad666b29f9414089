//! Causal commands beside the plain RESP path of the same daemon: what envelope, lane, outcome and
//! history cost; and what many sessions and a long history cost.
//!
//! One load generator drives both paths: fifty connections with one request each in flight. Half of
//! the figures are of the daemon's CPU clock, which is what tells the paths apart on a machine
//! where the generator shares the cores.

mod load;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;

use crate::progress::Progress;
use crate::report::{Comparison, Printer};
use crate::server::{self, Durability, Server};
use load::{Ask, Load, Native};

/// Connections of the load.
const CLIENTS: usize = 50;
/// Sessions that are open at once, and the memory they may take.
const SESSIONS: u64 = 100_000;
const SESSIONS_MIB: f64 = 1024.0;
/// How long a page of a hundred may take, and a round trip.
const PAGE_MS: f64 = 5.0;
const ROUND_TRIP_US: f64 = 100.0;

/// How much to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Fewer operations, and a history of a million rows instead of ten.
    #[arg(long)]
    quick: bool,
    /// One JSON object a line: bench, ours, peer, peer_name, ratio.
    #[arg(long)]
    json: bool,
    /// How often each row is run on each side.
    #[arg(long)]
    repetitions: Option<usize>,
    /// Only rows whose name contains this, such as `strict` or `history`.
    #[arg(long)]
    only: Option<String>,
    /// The daemon to run instead of building this repository's.
    #[arg(long, value_name = "PATH")]
    orlojd: Option<PathBuf>,
}

impl Options {
    fn wants(&self, row: &str) -> bool {
        self.only.as_ref().is_none_or(|only| row.contains(only.as_str()))
    }
}

/// Runs every row and prints the comparison.
///
/// # Errors
///
/// The daemon does not build, start, answer or last.
pub(crate) fn run(options: &Options) -> Result<()> {
    let progress = Progress::new();
    let daemon = match &options.orlojd {
        Some(path) => path.clone(),
        None => {
            progress.step("building orlojd");
            server::build_orlojd()?
        }
    };
    let printer = Printer::new(options.json);
    for durability in [Durability::Strict, Durability::Buffered, Durability::InMemory] {
        paths(options, &daemon, durability, &progress, &printer)?;
    }
    scale(options, &daemon, &progress, &printer)
}

/// The name of a durability in the names of rows.
fn short(durability: Durability) -> &'static str {
    match durability {
        Durability::Strict => "strict",
        Durability::Buffered => "buffered",
        Durability::InMemory => "memory",
    }
}

/// Both paths, in turns.
fn paths(
    options: &Options,
    daemon: &Path,
    durability: Durability,
    progress: &Progress,
    printer: &Printer,
) -> Result<()> {
    let asks: Vec<Ask> = [Ask::Set, Ask::Get]
        .into_iter()
        .filter(|ask| options.wants(&format!("{}-{}", short(durability), ask.name())))
        .collect();
    let wants_trip = durability == Durability::InMemory && options.wants("round-trip");
    if asks.is_empty() && !wants_trip {
        return Ok(());
    }
    progress.step(&format!("running {}", durability.name()));
    let server = Server::start_for_commands(daemon, durability, place("command"))?;
    let (mut plain, mut native) = (Load::plain(&server, CLIENTS)?, Load::native(&server, CLIENTS)?);
    let operations = match (durability, options.quick) {
        (Durability::Strict, true) => 50_000,
        (_, true) => 150_000,
        (Durability::Strict, false) => 200_000,
        (_, false) => 600_000,
    };
    plain.run(Ask::Set, operations)?;
    native.run(Ask::Set, operations)?;
    let repetitions = options.repetitions.unwrap_or(if options.quick { 3 } else { 6 });
    for ask in asks {
        let (mut plain_runs, mut native_runs) = (Vec::new(), Vec::new());
        for repetition in 1..=repetitions {
            progress.tick(&format!("{repetition}/{repetitions} {}", ask.name()));
            let mut turns = [(&mut plain, &mut plain_runs), (&mut native, &mut native_runs)];
            if repetition % 2 == 0 {
                turns.reverse();
            }
            for (load, runs) in turns {
                let (cpu, begun) = (server.cpu()?, Instant::now());
                load.run(ask, operations)?;
                let took = begun.elapsed().as_secs_f64();
                let cpu = (server.cpu()? - cpu).as_secs_f64() * 1e6 / operations as f64;
                runs.push((cpu, operations as f64 / took));
            }
        }
        progress.clear();
        let row = format!("{}-{}", short(durability), ask.name());
        let best = |runs: &[(f64, f64)]| {
            runs.iter()
                .fold((f64::INFINITY, 0_f64), |(cpu, rate), run| (cpu.min(run.0), rate.max(run.1)))
        };
        let (ours, peer) = (best(&native_runs), best(&plain_runs));
        let comparison = Comparison::rate(&row, ours.1, peer.1, "plain", "op/s");
        printer.print(&comparison);
        let row = format!("{row}-cpu");
        printer.print(&Comparison::cost(&row, ours.0, peer.0, "plain", "us/op"));
    }
    if wants_trip {
        let (mut plain, mut native) = (Load::plain(&server, 1)?, Load::native(&server, 1)?);
        let trips = if options.quick { 10_000 } else { 50_000 };
        let ours = native.round_trip(trips)?;
        let peer = plain.round_trip(trips)?;
        printer.print(&Comparison::cost("round-trip-p50", ours, peer, "plain", "us"));
        printer.print(&Comparison::cost("round-trip-p50", ours, ROUND_TRIP_US, "goal", "us"));
    }
    drop((plain, native));
    server.stop()
}

/// Many sessions, and a long history.
fn scale(options: &Options, daemon: &Path, progress: &Progress, printer: &Printer) -> Result<()> {
    if !options.wants("sessions-rss") && !options.wants("history-page") {
        return Ok(());
    }
    let server = Server::start_for_commands(daemon, Durability::Buffered, place("scale"))?;
    let mut native = Native::connect(&server)?;
    if options.wants("sessions-rss") {
        progress.step("opening 100,000 sessions");
        let before = server.resident_mib()?;
        native.create_sessions(SESSIONS)?;
        native.use_sessions(SESSIONS)?;
        let grown = (server.resident_mib()? - before).max(0.0);
        let row = Comparison::cost("sessions-rss", grown, SESSIONS_MIB, "goal", "MiB");
        printer.print(&row);
    }
    if options.wants("history-page") {
        let rows: u64 = if options.quick { 1_000_000 } else { 10_000_000 };
        progress.step("writing a history");
        native.fill(rows, |done| progress.tick(&format!("{done} of {rows} commands")))?;
        progress.clear();
        let mut times = native.pages(200, SESSIONS.min(1000))?;
        ensure!(!times.is_empty(), "no page was asked for");
        times.sort_by(f64::total_cmp);
        let worst = times[times.len() * 99 / 100];
        printer.print(&Comparison::cost("history-page-p99", worst, PAGE_MS, "goal", "ms"));
    }
    drop(native);
    server.stop()
}

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(name)
}

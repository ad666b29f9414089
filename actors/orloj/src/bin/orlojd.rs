//! The daemon: one node on this machine, until it is told to stop.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use orloj::settings::{Age, ConfigError, LogFormat, Partial, Settings};
use orloj_db::{AppendFailure, Durability, Embedded, Node, NodeConfig, StartError};
use orloj_host::Options;
use orloj_kernel::{Context, Shutdown};
use orloj_net::{
    Commands,
    envelope::{Finding, Question},
};
use tracing_subscriber::EnvFilter;

/// Actors pass what they allocate to each other all day, which glibc's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves one Orloj database over RESP, the native protocol and JSON.
#[derive(Debug, Parser)]
#[command(
    name = "orlojd",
    version,
    after_help = "\
Examples:
  orlojd --data ./data                                  strict, at 127.0.0.1:6379
  orlojd --data /var/lib/orloj --resp 0.0.0.0:6379 --durability buffered
  orlojd --ws 127.0.0.1:7070                            JSON, too: by WebSocket or a line each
  orlojd --stdio < requests.jsonl > answers.jsonl       answers the lines, and ends with them
  orlojd --config /etc/orloj/node.toml                  keys as the flags, with _ for -

A readiness line goes to standard output when clients can connect; log lines go to standard error.
With --stdio, standard output has the answers alone, and the readiness line is a log line.
SIGTERM or SIGINT stops accepting, answers what was received, and ends; a second one ends at once.

Exit status: 0 stopped when told to; 1 the node could not go on; 2 a flag or the configuration is
wrong; 3 it could not start."
)]
struct Arguments {
    /// Directory of the data; made if absent [default: orloj-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where RESP clients connect, HOST:PORT; port 0 takes any free one [default: 127.0.0.1:6379]
    #[arg(long, value_name = "ADDR")]
    resp: Option<String>,
    /// Where clients of the native protocol connect, HOST:PORT, or off [default: 127.0.0.1:7380]
    #[arg(long, value_name = "ADDR")]
    native: Option<String>,
    /// Where clients connect that speak JSON, by WebSocket or one object a line, HOST:PORT
    /// [default: nowhere]
    #[arg(long, value_name = "ADDR")]
    ws: Option<String>,
    /// Answer requests in JSON on standard input, one a line, and stop when it ends
    #[arg(long)]
    stdio: bool,
    /// When writes are answered: strict (durable), buffered (100 ms or 1,000 records at risk) or
    /// in_memory (nothing is written) [default: strict]
    #[arg(long, value_name = "MODE")]
    durability: Option<Durability>,
    /// Connections served at once [default: 1000]
    #[arg(long, value_name = "N")]
    max_clients: Option<u32>,
    /// Commands in envelopes that one session may send in a second; 0 is no limit [default: 100]
    #[arg(long, value_name = "N")]
    session_rate: Option<u64>,
    /// Commands in envelopes that all may send in a second; 0 is no limit [default: 1000]
    #[arg(long, value_name = "N")]
    global_rate: Option<u64>,
    /// Commands in envelopes that may be in flight [default: 10000]
    #[arg(long, value_name = "N")]
    in_flight: Option<usize>,
    /// What becomes of commands in envelopes while the disk takes nothing: fail_closed (refused) or
    /// best_effort (reads that rest on nothing are answered) [default: fail_closed]
    #[arg(long, value_name = "POLICY")]
    append_failure: Option<AppendFailure>,
    /// Memory for what was used lately, in MiB: half for rows, half for pages and values; 8 at
    /// least [default: 128]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(8..))]
    cache_mib: Option<u32>,
    /// Drop the history of commands that ended longer ago, as 90s, 15m, 12h or 7d [default: 7d]
    #[arg(long, value_name = "TIME")]
    history_age: Option<Age>,
    /// Drop the oldest history beyond so many MiB [default: 1024]
    #[arg(long, value_name = "MIB")]
    history_mib: Option<u32>,
    /// Keep so many outcomes whatever their age and size; 2000 at least [default: 2000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2000..))]
    history_outcomes: Option<u64>,
    /// Configuration file in TOML; flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How log lines look: text or json [default: text]
    #[arg(long, value_name = "FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// Which log lines: error, warn, info, debug, or directives as info,orloj=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

/// Instead of an address: nobody listens.
const OFF: &str = "off";
/// A flag or the configuration file is wrong; clap says so too.
const MISCONFIGURED: u8 = 2;
/// It could not start.
const NOT_STARTED: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let has_stdio = arguments.stdio;
    let settings = match settings(arguments) {
        Ok(settings) => settings,
        Err(e) => return refuse(&e.to_string(), MISCONFIGURED),
    };
    // A name that is changed on the way would be another directory.
    if settings.data.to_str().is_none() {
        let what = format!("--data {:?}: the name is not UTF-8; choose one that is", settings.data);
        return refuse(&what, MISCONFIGURED);
    }
    if let Err(what) = log(&settings) {
        return refuse(&what, MISCONFIGURED);
    }
    // Paths are the user's own, so they are meant from where the user stands.
    let serve = move |cx, shutdown| serve(settings, has_stdio, cx, shutdown);
    match orloj_host::run(Options::new("."), serve) {
        Ok(status) => status,
        Err(e) => refuse(&e.to_string(), NOT_STARTED),
    }
}

fn settings(arguments: Arguments) -> Result<Settings, ConfigError> {
    let file = match &arguments.config {
        Some(path) => read(path)?,
        None => Partial::default(),
    };
    let flags = Partial {
        data: arguments.data,
        resp: arguments.resp,
        native: arguments.native,
        ws: arguments.ws,
        durability: arguments.durability,
        max_clients: arguments.max_clients,
        session_rate: arguments.session_rate,
        global_rate: arguments.global_rate,
        in_flight: arguments.in_flight,
        append_failure: arguments.append_failure,
        cache_mib: arguments.cache_mib,
        history_age: arguments.history_age,
        history_mib: arguments.history_mib,
        history_outcomes: arguments.history_outcomes,
        redaction: None,
        log_format: arguments.log_format,
        log: arguments.log,
    };
    Ok(flags.or(file).complete())
}

#[expect(clippy::disallowed_methods, reason = "the configuration is read before there is a host")]
fn read(path: &Path) -> Result<Partial, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })?;
    Partial::parse(path, &text)
}

fn log(settings: &Settings) -> Result<(), String> {
    let filter = EnvFilter::try_new(&settings.log).map_err(|e| {
        format!(
            "--log {}: {e}; give a level as info, or directives as info,orloj=debug",
            settings.log
        )
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}

async fn serve(settings: Settings, has_stdio: bool, cx: Context, shutdown: Shutdown) -> ExitCode {
    let data = settings.data.to_string_lossy().into_owned();
    let mut config = NodeConfig::new(data.clone(), settings.resp);
    config.native = Some(settings.native).filter(|native| native != OFF);
    config.ws = settings.ws;
    config.durability = settings.durability;
    config.max_clients = settings.max_clients;
    config.commands.session_rate = settings.session_rate;
    config.commands.global_rate = settings.global_rate;
    config.commands.in_flight = settings.in_flight;
    config.commands.append_failure = settings.append_failure;
    config.history = settings.history;
    config.redaction.classes = settings.redaction;
    config.process_id = process_id();
    let half = u64::from(settings.cache_mib) << 19;
    config.storage.cache_bytes = half;
    config.rows_bytes = usize::try_from(half).unwrap_or(usize::MAX);
    let node = match Node::start(config, cx).await {
        Ok(node) => node,
        Err(e) => return not_started(&e),
    };
    let ready = announce(&node, &data, settings.durability);
    cx.spawn("recovery", announce_commands(cx, node.commands()));
    if has_stdio {
        tracing::info!("{ready}");
        let conversation = node.attach(orloj_host::stdio());
        let shutdown = shutdown.clone();
        cx.spawn("stdio", async move {
            conversation.await;
            shutdown.begin();
        });
    } else {
        // Whoever started the daemon may not care to read it; that is no reason to end.
        let _ = writeln!(std::io::stdout(), "{ready}");
    }
    match node.run(&shutdown).await {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(e) => {
            tracing::error!(child = e.child, "the node cannot go on: {}", e.stop);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "INFO shows it, for whoever looks for the process")]
fn process_id() -> u32 {
    std::process::id()
}

/// Says what recovery found; the line that says where clients connect.
fn announce(node: &Node, data: &str, durability: Durability) -> String {
    let summary = node.summary();
    let native = node.native_addr().map_or_else(|| OFF.to_owned(), |native| native.to_string());
    let journal = &summary.journal;
    let cut = journal.cut.as_ref().map_or(0, |cut| cut.bytes);
    tracing::info!(
        turn = summary.turn,
        keys = summary.keys,
        checkpoint = summary.generation,
        segments = journal.segments,
        bytes = journal.bytes,
        records = journal.records,
        rewritten = journal.rewritten,
        cut_bytes = cut,
        closed_in_order = journal.closed,
        created = journal.created,
        "recovered"
    );
    if let Some(cut) = &journal.cut {
        tracing::warn!(
            file = cut.file,
            offset = cut.offset,
            bytes = cut.bytes,
            "cut a write that power or a crash had left unfinished; it was never acknowledged"
        );
    }
    let (resp, records) = (node.addr(), journal.records);
    let ws = node.ws().map_or(String::new(), |ws| format!(" ws={ws}"));
    format!(
        "orlojd ready resp={resp} native={native}{ws} data={data} durability={durability} \
         recovered={records} cut={cut}"
    )
}

/// Says what became of commands that were in flight, as soon as that is decided. How many: their
/// ids are their clients' words, and `orloj recovery` tells them to who may ask.
async fn announce_commands(cx: Context, commands: Embedded) {
    loop {
        match commands.ask(Question::Health).await {
            Ok(Finding::Health(health)) if health.is_ready => break,
            Ok(_) => cx.sleep(Duration::from_millis(10)).await,
            Err(_) => return,
        }
    }
    if let Ok(Finding::Recovery(summary)) = commands.ask(Question::RecoverySummary).await {
        tracing::info!(
            outcomes = summary.outcomes,
            unsupported = summary.unsupported,
            rerun = summary.rerun.len(),
            failed = summary.failed.len(),
            "recovered commands"
        );
    }
}

fn not_started(e: &StartError) -> ExitCode {
    refuse(&e.to_string(), NOT_STARTED)
}

#[expect(
    clippy::print_stderr,
    reason = "there may be no log yet, and one line is all there is to say"
)]
fn refuse(what: &str, status: u8) -> ExitCode {
    eprintln!("orlojd: {what}");
    ExitCode::from(status)
}

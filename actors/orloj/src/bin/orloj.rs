//! The tool for whoever looks after a database: what is in a directory, and whether it is whole.

#[path = "orloj/compact.rs"]
mod compact;
#[path = "orloj/repair.rs"]
mod repair;

use std::{future::poll_fn, io::Write, path::PathBuf, pin::pin, process::ExitCode, task::Poll};

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use orloj_host::Options;
use orloj_kernel::{Context, Shutdown};
use orloj_storage::{
    Error, Retention,
    manifest::{self, Manifest},
    verify::{Finding, Offline, Progress, Report, Stage, Stats},
};
use serde_json::{Value, json};

/// Looks at Orloj databases that no process has open, repairs and compacts them.
#[derive(Debug, Parser)]
#[command(
    name = "orloj",
    version,
    after_help = "\
Examples:
  orloj verify ./data                 walk every page, value and record; say what is wrong and where
  orloj verify ./data --json          the same as one JSON object, for scripts
  orloj stats ./data                  keyspaces, and how much room everything takes
  orloj dump-manifest ./data          which database it is, in which format
  orloj repair ./data --dry-run       what a repair would lose, and what it would move aside
  orloj compact ./data                give back what nobody needs; the database must not be open

Results go to standard output, errors and progress to standard error.

Exit status: 0 nothing is wrong; 1 verify found something, or a repair lost something; 2 it could
not be done."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Walk everything that is stored, and name the file, place and keys of whatever is wrong
    Verify(Target),
    /// Make a damaged database open again, and say what is lost
    Repair(repair::Repair),
    /// Give back the space that a database does not need
    Compact(compact::Compact),
    /// Show which database it is and what was fixed when it was made
    DumpManifest(Target),
    /// Show keyspaces, and how much room pages, values and the journal take
    Stats(Target),
}

#[derive(Debug, Args)]
struct Target {
    /// Directory of the database
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Something is wrong with the database.
const FINDINGS: u8 = 1;
/// It could not be looked at; clap says so too.
const NOT_RUN: u8 = 2;

/// What is printed: lines for people, or an object.
struct Answer {
    text: String,
    json: Value,
    status: u8,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Paths are the user's own, so they are meant from where the user stands.
    let ran = orloj_host::run(Options::new("."), |cx, shutdown| async move {
        let target = arguments.command.target();
        let dir = target.dir.to_string_lossy();
        let answer = match unless_told(&shutdown, answer(cx, &arguments.command, &dir)).await {
            None => return refuse("interrupted"),
            Some(Err(e)) => return refuse(&explain(&e)),
            Some(Ok(answer)) => answer,
        };
        let text = if target.json { format!("{:#}\n", answer.json) } else { answer.text };
        // Whoever asked may not care to read on; the status says what matters.
        let _ = std::io::stdout().write_all(text.as_bytes());
        ExitCode::from(answer.status)
    });
    ran.unwrap_or_else(|e| refuse(&e.to_string()))
}

impl Command {
    fn target(&self) -> &Target {
        match self {
            Command::Verify(target) | Command::DumpManifest(target) | Command::Stats(target) => {
                target
            }
            Command::Repair(verb) => &verb.target,
            Command::Compact(verb) => &verb.target,
        }
    }
}

/// What `work` gives; `None` if a signal comes first. What was changed by then is as a crash leaves
/// it, which is whole.
async fn unless_told<T>(shutdown: &Shutdown, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut told) = (pin!(work), pin!(shutdown.wait()));
    poll_fn(|cx| match told.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => work.as_mut().poll(cx).map(Some),
    })
    .await
}

#[expect(clippy::print_stderr, reason = "one line is all there is to say")]
fn refuse(what: &str) -> ExitCode {
    eprintln!("orloj: {what}");
    ExitCode::from(NOT_RUN)
}

/// The cause, and what to do about it, in one line.
fn explain(error: &Error) -> String {
    let remedy = match error {
        Error::Locked { .. } => "; stop that process first",
        Error::NoDatabase { .. } => "; give the directory of a database",
        Error::Disk(_) => "; give a directory that exists and that this user may read and lock",
        _ => "",
    };
    format!("{error}{remedy}")
}

async fn answer(cx: Context, command: &Command, dir: &str) -> Result<Answer, Error> {
    match command {
        Command::Verify(_) => {
            let offline = Offline::open(cx, dir).await?;
            let bar = bar();
            let report = offline.verify(&mut |progress| show(&bar, progress)).await;
            bar.finish_and_clear();
            Ok(verified(&report?))
        }
        Command::Repair(verb) => repair::run(cx, dir, verb).await,
        Command::Compact(verb) => compact::run(cx, dir, verb).await,
        // The file is replaced as a whole, so it can be read while the database is in use.
        Command::DumpManifest(_) => {
            cx.list(dir).await?;
            match manifest::read(cx, dir).await? {
                Some(manifest) => Ok(dumped(&manifest)),
                None => Err(Error::NoDatabase { dir: dir.to_owned() }),
            }
        }
        Command::Stats(_) => {
            let offline = Offline::open(cx, dir).await?;
            Ok(counted(offline.manifest(), &offline.stats().await?))
        }
    }
}

/// A bar on standard error, if that is a terminal.
fn bar() -> ProgressBar {
    let template = "{msg:9} {bar:40} {binary_bytes}/{binary_total_bytes} {eta}";
    let style = ProgressStyle::with_template(template).expect("the template is right");
    ProgressBar::new(0).with_style(style)
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_message(match progress.stage {
        Stage::Pages => "pages",
        Stage::Values => "values",
        Stage::Journal => "journal",
    });
    bar.set_length(progress.total);
    bar.set_position(progress.done);
}

fn verified(report: &Report) -> Answer {
    let totals = report.totals;
    let mut text = String::new();
    for finding in &report.findings {
        text += &format!("{}\n", line(report, finding));
    }
    text += &format!(
        "{}: {} findings; generation {} at version {}: {} pages ({} bytes), {} entries, {} values \
         ({} bytes, {} dead), {} journal records ({} bytes)\n",
        if report.is_sound() { "sound" } else { "NOT SOUND" },
        report.findings.len(),
        report.generation,
        report.lsn,
        totals.pages,
        totals.page_bytes,
        totals.entries,
        totals.values,
        totals.value_bytes,
        totals.dead_bytes,
        totals.records,
        totals.journal_bytes,
    );
    let findings: Vec<Value> = report.findings.iter().map(|f| object(report, f)).collect();
    let json = json!({
        "sound": report.is_sound(),
        "generation": report.generation,
        "version": report.lsn.0,
        "findings": findings,
        "totals": {
            "pages": totals.pages,
            "page_bytes": totals.page_bytes,
            "entries": totals.entries,
            "tombstones": totals.tombstones,
            "values": totals.values,
            "value_bytes": totals.value_bytes,
            "dead_value_bytes": totals.dead_bytes,
            "journal_records": totals.records,
            "journal_operations": totals.operations,
            "journal_bytes": totals.journal_bytes,
            "journal_cut_bytes": totals.cut_bytes,
        },
    });
    Answer { text, json, status: if report.is_sound() { 0 } else { FINDINGS } }
}

fn line(report: &Report, finding: &Finding) -> String {
    let Finding { grade, file, offset, keys, what } = finding;
    let mut line = format!("{}: {file}: byte {offset}: {what}", grade.name());
    if let Some((id, from, to)) = keys {
        let name = report.keyspaces.get(id).map_or("?", String::as_str);
        let to = to.as_ref().map_or("the end".to_owned(), |to| format!("\"{}\"", escaped(to)));
        line += &format!("; keyspace {name:?} ({id}), from \"{}\" to {to}", escaped(from));
    }
    line
}

fn object(report: &Report, finding: &Finding) -> Value {
    let Finding { grade, file, offset, keys, what } = finding;
    let keys = keys.as_ref().map(|(id, from, to)| {
        json!({
            "keyspace": id.0,
            "name": report.keyspaces.get(id),
            "from": escaped(from),
            "to": to.as_deref().map(escaped),
        })
    });
    let (grade, what) = (grade.name(), what.to_string());
    json!({ "grade": grade, "file": file, "offset": offset, "what": what, "keys": keys })
}

/// Keys are any bytes; those that are no printable ASCII are shown as `\x00`.
fn escaped(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

fn dumped(manifest: &Manifest) -> Answer {
    let (major, _) = orloj_storage::superblock::FORMAT;
    let format = format!("{major}.{}", manifest.minor);
    let hex = |hash: &[u8; 32]| hash.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let schemas = &manifest.schemas;
    let json = json!({
        "database": manifest.database.to_string(),
        "format": format,
        "generation": manifest.generation,
        "created_at_unix_ms": manifest.created_at,
        "page_bytes": manifest.page_bytes,
        "inline_bytes": manifest.inline_bytes,
        "manifest_schema": hex(&schemas.manifest),
        "wal_schema": hex(&schemas.wal),
        "disk_schema": hex(&schemas.disk),
        "wire_schema": schemas.wire.as_ref().map(hex),
    });
    Answer { text: table(&json), json, status: 0 }
}

fn counted(manifest: &Manifest, stats: &Stats) -> Answer {
    let block = stats.superblock;
    let (bytes, dead) =
        stats.values.iter().fold((0, 0), |(all, dead), s| (all + s.bytes, dead + s.dead));
    let mut json = json!({
        "database": manifest.database.to_string(),
        "generation": block.map_or(0, |block| block.generation),
        "version": block.map_or(0, |block| block.lsn.0),
        "page_file_bytes": stats.page_file_bytes,
        "page_bytes_in_use": stats.page_bytes,
        "value_segments": stats.values.len(),
        "value_bytes": bytes,
        "value_bytes_dead": dead,
        "journal_segments": stats.journal_segments,
        "journal_bytes": stats.journal_bytes,
    });
    let mut text = table(&json);
    for keyspace in &stats.keyspaces {
        let (id, keep, earliest) = (keyspace.id, kept(keyspace.keep), keyspace.earliest);
        text += &format!(
            "keyspace {:?} ({id}): keeps {keep}, readable from version {earliest}\n",
            keyspace.name
        );
    }
    let keyspaces = stats.keyspaces.iter().map(|k| {
        let (keep, earliest) = (kept(k.keep), k.earliest.0);
        json!({ "id": k.id.0, "name": k.name, "keeps": keep, "earliest_version": earliest })
    });
    json["keyspaces"] = keyspaces.collect();
    Answer { text, json, status: 0 }
}

fn kept(keep: Retention) -> String {
    match keep {
        Retention::All => "all versions".to_owned(),
        Retention::Last(count) => format!("the newest {count}"),
        Retention::For(age) => format!("those of the last {age:?}"),
        Retention::Either(count, age) => {
            format!("the newest {count} and those of the last {age:?}")
        }
    }
}

/// One line for each field of an object.
fn table(object: &Value) -> String {
    let fields = object.as_object().into_iter().flatten();
    let lines = fields.map(|(name, value)| match value {
        Value::String(text) => format!("{name:20} {text}\n"),
        Value::Null => format!("{name:20} none\n"),
        value => format!("{name:20} {value}\n"),
    });
    lines.collect()
}

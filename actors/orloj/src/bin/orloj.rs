//! The tool for whoever looks after a database: what is in a directory, whether it is whole, and
//! copies of it; and what a daemon that runs has to say.

use std::{future::poll_fn, io::Write, path::PathBuf, pin::pin, process::ExitCode, task::Poll};

use clap::{Args, Parser, Subcommand};
use orloj::tool::{
    self, Answer, Failure, NOT_RUN, backup, bar, checkpoint, compact, export, finding, hash,
    history, import, keys, migrate, repair, replay, restore, send, sessions, show, table,
};
use orloj_host::Options;
use orloj_kernel::{Context, Shutdown};
use orloj_storage::{
    Error, Retention,
    manifest::{self, Manifest},
    verify::{Offline, Report, Stats},
};
use serde_json::{Value, json};

/// A replay allocates as much as the daemon did.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Looks after Orloj databases that no process has open, and asks daemons that run.
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
  orloj compact ./data                give back what nobody needs
  orloj backup ./data ./copies        copy it; the next time only what was written since
  orloj restore ./copies ./new --time 1767225600000 --dry-run
                                      what would be reached; without --dry-run it is made
  orloj export ./data data.export     the newest values in one portable file
  orloj scan ./data --prefix user     keys and values
  orloj replay ./data                 carry out the commands of the journal again, and compare
  orloj export-history ./data incident.orlojhist
                                      the history without values, for `orloj replay`
  orloj migrate ./old ./data          bring over a directory of release 0.0
  orloj send set key=k value=v --session s
                                      have a running daemon carry out a command
  orloj history --session s           what became of a session's commands
  orloj tail                          what happens to commands, as it happens

`verify`, `stats`, `dump-manifest`, `replay`, `export-history`, `restore --dry-run` and
`repair --dry-run` change nothing, and
`migrate` nothing of what it reads. The others open the database as a node does, which recovers it
if it was not closed in order. `send`, `sessions`, `history`, `tail` and `recovery` ask a daemon
that runs.

Results go to standard output, errors and progress to standard error.

Exit status: 0 done, nothing is wrong; 1 verify found something, a replay differed, a repair lost
something, there is no such key, or a daemon refused; 2 it could not be done."
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
    /// Copy it to a directory or an object store, or add to a copy what was written since
    Backup(backup::Backup),
    /// Make a database of a copy, as of any version or time that it reaches to
    Restore(restore::Restore),
    /// Write the newest values of all keys to one portable file
    Export(export::Export),
    /// Make a database of an exported file
    Import(import::Import),
    /// Make a database of a directory of release 0.0, from before the storage engine
    Migrate(migrate::Migrate),
    /// Write a checkpoint
    Checkpoint(checkpoint::Checkpoint),
    /// Hash what it holds: the same for a restored and an imported one
    Hash(hash::Hash),
    /// Carry out the commands of a journal again, and say where something else comes of it
    Replay(replay::Replay),
    /// Write the history of commands to one file, without values
    ExportHistory(replay::ExportHistory),
    /// Print the value of a key
    Get(keys::Get),
    /// Give a key a value
    Set(keys::Set),
    /// Delete a key
    Del(keys::Del),
    /// Print keys and values in order
    Scan(keys::Scan),
    /// Have a running daemon carry out a command
    Send(send::Send),
    /// List the sessions of a running daemon
    Sessions(sessions::Sessions),
    /// List the commands that a running daemon has carried out, newest first
    History(history::History),
    /// Print what happens to the commands of a running daemon, as it happens
    Tail(history::Tail),
    /// Show what a running daemon's last recovery found and did
    Recovery(sessions::Recovery),
}

impl Command {
    /// Whether one JSON object is asked for.
    fn is_json(&self) -> bool {
        match self {
            Command::Verify(target) | Command::DumpManifest(target) | Command::Stats(target) => {
                target.json
            }
            Command::Repair(of) => of.json,
            Command::Compact(of) => of.json,
            Command::Backup(of) => of.json,
            Command::Restore(of) => of.json,
            Command::Export(of) => of.json,
            Command::Import(of) => of.json,
            Command::Migrate(of) => of.json,
            Command::Checkpoint(of) => of.json,
            Command::Hash(of) => of.json,
            Command::Replay(of) => of.json,
            Command::ExportHistory(of) => of.json,
            Command::Get(keys::Get { of, .. })
            | Command::Set(keys::Set { of, .. })
            | Command::Del(keys::Del { of, .. }) => of.json,
            Command::Send(of) => of.to.json && !of.is_stream(),
            Command::Sessions(of) => of.to.json,
            Command::History(of) => of.to.json,
            Command::Recovery(of) => of.to.json,
            // They print their own as they come.
            Command::Scan(_) | Command::Tail(_) => false,
        }
    }
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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Paths are the user's own, so they are meant from where the user stands.
    let ran = orloj_host::run(Options::new("."), |cx, shutdown| async move {
        let answer = match unless_told(&shutdown, answer(cx, &arguments.command)).await {
            // It would go on for ever.
            None if matches!(arguments.command, Command::Tail(_)) => return ExitCode::SUCCESS,
            None => return refuse("interrupted", NOT_RUN),
            Some(Err(Failure::Refused(error))) if arguments.command.is_json() => {
                let status = tool::FOUND_WRONG;
                Answer { text: Vec::new(), json: json!({ "error": error }), status }
            }
            Some(Err(e)) => return refuse(&format!("{e}{}", e.remedy()), e.status()),
            Some(Ok(answer)) => answer,
        };
        let text = match arguments.command.is_json() {
            true => format!("{:#}\n", answer.json).into_bytes(),
            false => answer.text,
        };
        // Whoever asked may not care to read on; the status says what matters.
        let _ = std::io::stdout().write_all(&text);
        ExitCode::from(answer.status)
    });
    ran.unwrap_or_else(|e| refuse(&e.to_string(), NOT_RUN))
}

/// What `work` gives; `None` if a signal comes first. Whatever is changed survives a crash, so
/// nothing has to be undone.
async fn unless_told<T>(shutdown: &Shutdown, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut told) = (pin!(work), pin!(shutdown.wait()));
    poll_fn(|cx| match told.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => work.as_mut().poll(cx).map(Some),
    })
    .await
}

#[expect(clippy::print_stderr, reason = "one line is all there is to say")]
fn refuse(what: &str, status: u8) -> ExitCode {
    eprintln!("orloj: {what}");
    ExitCode::from(status)
}

async fn answer(cx: Context, command: &Command) -> Result<Answer, Failure> {
    match command {
        Command::Verify(target) => {
            let offline = Offline::open(cx, &target.dir.to_string_lossy()).await?;
            let bar = bar();
            let report = offline.verify(&mut |progress| show(&bar, progress)).await;
            bar.finish_and_clear();
            Ok(verified(&report?))
        }
        Command::Repair(of) => of.run(cx).await,
        Command::Compact(of) => of.run(cx).await,
        // The file is replaced as a whole, so it can be read while the database is in use.
        Command::DumpManifest(target) => {
            let dir = target.dir.to_string_lossy();
            cx.list(&dir).await?;
            match manifest::read(cx, &dir).await? {
                Some(manifest) => Ok(dumped(&manifest)),
                None => Err(Error::NoDatabase { dir: dir.into_owned() }.into()),
            }
        }
        Command::Stats(target) => {
            let offline = Offline::open(cx, &target.dir.to_string_lossy()).await?;
            Ok(counted(offline.manifest(), &offline.stats().await?))
        }
        Command::Backup(of) => of.run(cx).await,
        Command::Restore(of) => of.run(cx).await,
        Command::Export(of) => of.run(cx).await,
        Command::Import(of) => of.run(cx).await,
        Command::Migrate(of) => of.run(cx).await,
        Command::Checkpoint(of) => of.run(cx).await,
        Command::Hash(of) => of.run(cx).await,
        Command::Replay(of) => of.run(cx).await,
        Command::ExportHistory(of) => of.run(cx).await,
        Command::Get(of) => of.run(cx).await,
        Command::Set(of) => of.run(cx).await,
        Command::Del(of) => of.run(cx).await,
        Command::Scan(of) => of.run(cx, &mut std::io::stdout()).await,
        Command::Send(of) if of.is_stream() => {
            of.stream(cx, orloj_host::stdio(), &mut std::io::stdout()).await
        }
        Command::Send(of) => of.run(cx).await,
        Command::Sessions(of) => of.run(cx).await,
        Command::History(of) => of.run(cx).await,
        Command::Tail(of) => of.run(cx, &mut std::io::stdout()).await,
        Command::Recovery(of) => of.run(cx).await,
    }
}

fn verified(report: &Report) -> Answer {
    let totals = report.totals;
    let mut text = String::new();
    for finding in &report.findings {
        text += &format!("{}\n", finding::line(report, finding));
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
    let findings: Vec<Value> = report.findings.iter().map(|f| finding::object(report, f)).collect();
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
    let status = if report.is_sound() { 0 } else { tool::FOUND_WRONG };
    Answer { text: text.into(), json, status }
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
    Answer::table(json)
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
    Answer { text: text.into(), json, status: 0 }
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

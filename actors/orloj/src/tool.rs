//! The verbs of the tool that open a database or make one, or ask a daemon that runs, a file each:
//! what they take, what they do, and what they answer.

pub mod backup;
pub mod checkpoint;
pub mod columns;
pub mod compact;
pub mod export;
pub mod finding;
pub mod hash;
pub mod history;
pub mod import;
pub mod keys;
pub mod migrate;
pub mod remote;
pub mod repair;
pub mod replay;
pub mod restore;
pub mod send;
pub mod sessions;

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use orloj_db::{BundleError, MigrateError, ReplayError};
use orloj_kernel::Context;
use orloj_storage::{
    Database, Durability, Error, JournalError, Lsn, Options,
    backup::BackupError,
    database::Keyspace,
    export::ExportError,
    manifest,
    verify::{Progress, Stage},
};
use serde_json::Value;

/// What is printed: bytes for people, or an object; and the status that the tool ends with.
#[derive(Debug)]
pub struct Answer {
    /// For people; mostly lines.
    pub text: Vec<u8>,
    /// For scripts.
    pub json: Value,
    /// 0 if nothing is wrong.
    pub status: u8,
}

impl Answer {
    /// One line for each field of `json`.
    pub fn table(json: Value) -> Answer {
        Answer { text: table(&json).into_bytes(), json, status: 0 }
    }
}

/// Something was asked for and is not there, or was found and should not be.
pub const FOUND_WRONG: u8 = 1;

/// It could not be done; clap says so too.
pub const NOT_RUN: u8 = 2;

/// Why a verb did nothing, or not all.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The database.
    #[error(transparent)]
    Engine(#[from] Error),
    /// A backup.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// An export.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A migration.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// A daemon could not be asked.
    #[error("{0}")]
    Remote(String),
    /// A daemon did not do what it was asked: its error.
    #[error("{}", refusal(.0))]
    Refused(Value),
    /// A replay, or an exported history.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A file that is no exported history.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// What was given makes no sense, and what would.
    #[error("{0}")]
    Usage(String),
}

impl From<orloj_kernel::DiskError> for Failure {
    fn from(e: orloj_kernel::DiskError) -> Failure {
        Failure::Engine(e.into())
    }
}

impl Failure {
    /// What the tool ends with.
    pub fn status(&self) -> u8 {
        match self {
            Failure::Refused(_) => FOUND_WRONG,
            _ => NOT_RUN,
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Failure::Engine(error)
            | Failure::Backup(BackupError::Engine(error))
            | Failure::Replay(ReplayError::Engine(error)) => of(error),
            Failure::Bundle(BundleError::Newer { .. }) => "; replay it with that release",
            Failure::Bundle(_) => "; give a whole file of `orloj export-history`",
            Failure::Export(ExportError::Engine(error)) => of(error),
            Failure::Migrate(MigrateError::Engine(error)) => of(error),
            Failure::Migrate(error) => of_migration(error),
            Failure::Backup(BackupError::None) => {
                "; give the target of a backup that was completed"
            }
            Failure::Backup(BackupError::Damaged { .. }) => {
                "; restore to a version in an older backup of it, or from another target"
            }
            Failure::Backup(BackupError::Newer { .. }) => "; restore it with that release",
            Failure::Backup(BackupError::Foreign { .. }) => "; give each database its own target",
            Failure::Backup(BackupError::OutOfReach { .. }) => {
                "; --dry-run without a point says what the newest backup reaches to"
            }
            Failure::Export(ExportError::Exists { .. }) => "; give another name or remove it",
            Failure::Export(ExportError::File { .. }) => "; give a whole export of this release",
            Failure::Remote(_) => "; give --connect the --native of a daemon that runs",
            Failure::Backup(_)
            | Failure::Export(_)
            | Failure::Refused(_)
            | Failure::Replay(_)
            | Failure::Usage(_) => "",
        }
    }
}

fn of(error: &Error) -> &'static str {
    match error {
        Error::Locked { .. } => "; stop that process first",
        Error::NotEmpty { .. } => "; give an empty directory",
        Error::NoDatabase { .. } => "; give the directory of a database",
        Error::Disk(_) => {
            "; give what exists and this user may read; a directory that this user may lock"
        }
        Error::NoKeyspace { .. } => {
            "; `orloj stats` names those there are, `set --create` makes one"
        }
        Error::KeyspaceExists { .. } => "; import into a directory that holds no database",
        Error::HistoryTrimmed { .. } => "; ask for a version that is still kept, or restore it",
        Error::Corrupt(_) => "; `orloj verify` lists all damage",
        _ => "",
    }
}

fn of_migration(error: &MigrateError) -> &'static str {
    match error {
        MigrateError::Journal { cause: JournalError::Newer { .. }, .. } => {
            "; start it with the release that wrote it"
        }
        MigrateError::Journal { cause: JournalError::Foreign { .. }, .. } => {
            "; move that file away, or bring OLD back from a copy"
        }
        MigrateError::Journal { .. } => {
            "; it was acknowledged, so nothing was made: bring OLD back from a copy"
        }
        MigrateError::NoJournal { .. } => "; give the data directory of a node of that release",
        MigrateError::NotOlder { .. } => "; start orlojd with it",
        MigrateError::Inside { .. } => "; give a directory outside of it, which stays as it is",
        MigrateError::KeyLength { .. } => "; delete it with release 0.0 and try again",
        MigrateError::Engine(error) => of(error),
    }
}

/// The path as the disk port takes it.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn options(dir: &Path) -> Options {
    Options::new(text(dir), Durability::Strict)
}

/// Opens a database that is there: none is made by asking for it.
async fn open(cx: Context, dir: &Path) -> Result<Database, Failure> {
    let path = text(dir);
    cx.list(&path).await?;
    if manifest::read(cx, &path).await?.is_none() {
        return Err(Error::NoDatabase { dir: path }.into());
    }
    Ok(Database::open(cx, options(dir)).await?.0)
}

/// The keyspace of that name, or the only one.
fn keyspace(db: &Database, name: Option<&str>) -> Result<Keyspace, Failure> {
    if let Some(name) = name {
        return Ok(db.keyspace(name)?);
    }
    match &db.keyspaces()?[..] {
        [only] => Ok(only.clone()),
        all => {
            let names: Vec<&str> = all.iter().map(Keyspace::name).collect();
            let said = format!("there are {} keyspaces {names:?}; name one: --keyspace", all.len());
            Err(Failure::Usage(said))
        }
    }
}

/// A snapshot at a version, or of now.
fn snapshot(db: &Database, at: Option<u64>) -> Result<orloj_storage::Snapshot, Failure> {
    Ok(match at {
        Some(at) => db.snapshot_at(Lsn(at))?,
        None => db.snapshot()?,
    })
}

/// A daemon's error in one line: code, sentence, and the details.
fn refusal(error: &Value) -> String {
    let word = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    let details = error["details"].as_object().into_iter().flatten();
    let details: Vec<String> = details
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    let details = match details.is_empty() {
        true => String::new(),
        false => format!(" ({})", details.join(", ")),
    };
    format!("{}: {}{details}", word("code"), word("message")).escape_debug().to_string()
}

/// Keys and values are any bytes; those that are no printable ASCII are shown as `\x00`.
pub fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// What [`escaped`] showed: `\\`, `\'`, `\"`, `\n`, `\r`, `\t` and `\x00` to `\xff` are one byte.
///
/// # Errors
/// Something else stands behind a backslash.
fn unescaped(text: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let (byte, taken) = match rest {
            [b'n', ..] => (b'\n', 1),
            [b'r', ..] => (b'\r', 1),
            [b't', ..] => (b'\t', 1),
            [byte @ (b'\\' | b'\'' | b'"'), ..] => (*byte, 1),
            [b'x', digits @ ..] if digits.len() >= 2 && hex(&digits[..2]).is_some() => {
                (hex(&digits[..2]).expect("it is a number"), 3)
            }
            _ => {
                let said =
                    format!("{text:?}: behind a backslash stands \\, n, r, t or x and two digits");
                return Err(Failure::Usage(said));
            }
        };
        bytes.push(byte);
        rest = &rest[taken..];
    }
    Ok(bytes)
}

/// One line for each field of an object.
pub fn table(object: &Value) -> String {
    let fields = object.as_object().into_iter().flatten();
    let lines = fields.map(|(name, value)| match value {
        Value::String(text) => format!("{name:20} {text}\n"),
        Value::Null => format!("{name:20} none\n"),
        value => format!("{name:20} {value}\n"),
    });
    lines.collect()
}

/// A bar on a terminal, and nothing elsewhere.
pub fn bar() -> ProgressBar {
    let template = "{msg:8} {bar:40} {binary_bytes}/{binary_total_bytes} {eta}";
    let style = ProgressStyle::with_template(template).expect("the template is right");
    ProgressBar::new(0).with_style(style)
}

/// Moves a bar.
pub fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_message(match progress.stage {
        Stage::Pages => "pages",
        Stage::Values => "values",
        Stage::Journal => "journal",
    });
    bar.set_length(progress.total);
    bar.set_position(progress.done);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_bytes_can_be_given_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescaped(&escaped(&all)).expect("it makes sense"), all);
        assert_eq!(unescaped("Grüße").expect("it makes sense"), "Grüße".as_bytes());
        for senseless in ["\\", "a\\q", "\\x1", "\\xgg"] {
            assert!(unescaped(senseless).is_err(), "{senseless}");
        }
    }
}

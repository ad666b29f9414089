//! What can go wrong with a backup, and who must act.

use orloj_kernel::DiskError;

use super::{Moment, Point, TargetError};
use crate::{
    Error, JournalError, Lsn, Verdict, journal::DatabaseId, manifest::ManifestError,
    page::PageFault,
};

/// How an object of a backup is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It is not there.
    #[error("it is missing")]
    Missing,
    /// It lost its end, or grew.
    #[error("it has {found} bytes instead of {wanted}")]
    Length {
        /// Bytes it has.
        found: u64,
        /// Bytes it must have.
        wanted: u64,
    },
    /// Some bit of it flipped.
    #[error("its checksum fails")]
    Sum,
    /// It is intact, and not what it must be.
    #[error("it makes no sense")]
    Senseless,
    /// A page in it.
    #[error("a page in it: {0}")]
    Page(#[from] PageFault),
    /// It is intact, and does not fit the others.
    #[error("it does not fit the rest of the backup")]
    Misfit,
    /// The journal in it says that a keyspace was loaded, from pages that no backup has.
    #[error("version {version} loaded a keyspace, whose pages are not in the backup")]
    Load {
        /// The version of that record.
        version: Lsn,
    },
    /// The manifest of the database, a copy of which it has.
    #[error("the database's manifest in it: {0}")]
    Manifest(#[from] ManifestError),
}

/// Why a backup was not taken or not restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The database, or the one to be made.
    #[error(transparent)]
    Engine(#[from] Error),
    /// Where the backup lies.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The database has no files; it can be exported.
    #[error("a database in memory has no files to copy")]
    InMemory,
    /// There is no complete backup.
    #[error("there is no backup (no complete inventory)")]
    None,
    /// Part of the backup is damaged.
    #[error("the backup is damaged: {object}: {what}")]
    Damaged {
        /// The object.
        object: String,
        /// How.
        what: Flaw,
    },
    /// A later release took it.
    #[error("{object}: backup format {major}, this release reads {}", super::inventory::FORMAT.0)]
    Newer {
        /// The object.
        object: String,
        /// Its format's major version.
        major: u16,
    },
    /// Backups of another database lie there.
    #[error("the target holds backups of database {found}, not of {wanted}")]
    Foreign {
        /// The database they are of.
        found: DatabaseId,
        /// The one to be copied.
        wanted: DatabaseId,
    },
    /// The backup does not reach there.
    #[error("{asked} is not within the backup: it reaches from {from} to {to}")]
    OutOfReach {
        /// What was asked for.
        asked: Point,
        /// The first version and time of the newest backup.
        from: Moment,
        /// Its last.
        to: Moment,
    },
}

impl BackupError {
    /// Decides who must act. Total on purpose: a new variant does not compile until it is judged.
    pub fn verdict(&self) -> Verdict {
        match self {
            BackupError::Engine(error) => error.verdict(),
            BackupError::Target(_) => Verdict::Retry,
            BackupError::Damaged { .. } => Verdict::Repair,
            BackupError::InMemory
            | BackupError::None
            | BackupError::Newer { .. }
            | BackupError::Foreign { .. }
            | BackupError::OutOfReach { .. } => Verdict::Reject,
        }
    }

    pub(super) fn damaged(object: &str, what: impl Into<Flaw>) -> BackupError {
        BackupError::Damaged { object: object.to_owned(), what: what.into() }
    }
}

impl From<DiskError> for BackupError {
    fn from(e: DiskError) -> BackupError {
        BackupError::Engine(e.into())
    }
}

impl From<JournalError> for BackupError {
    fn from(e: JournalError) -> BackupError {
        BackupError::Engine(e.into())
    }
}

/// A version, as a moment without its time.
impl From<Lsn> for Point {
    fn from(at: Lsn) -> Point {
        Point::Version(at)
    }
}

//! What can go wrong with a database, and who must act.

use orloj_kernel::{DiskError, DiskErrorKind};

use crate::{
    KeyspaceId, Lsn,
    journal::JournalError,
    manifest::ManifestError,
    options::OptionsError,
    page::PageFault,
    record::{KEY_MAX, Senseless, VALUE_MAX},
    superblock::SuperblockError,
    sweep::INDEX_HEAD,
    vlog::RecordFault,
};

/// Who must act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody broke a promise: answer the caller and go on.
    Reject,
    /// The caller may try the same again and succeed.
    Retry,
    /// An operator: something stored is damaged. Everything else can still be served.
    Repair,
    /// An operator: the promise cannot be kept from here. Stop before anything is built on it.
    Halt,
}

/// How stored bytes are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A page.
    #[error(transparent)]
    Page(#[from] PageFault),
    /// A record of the value log.
    #[error(transparent)]
    Value(#[from] RecordFault),
    /// The head of a segment of the value log.
    #[error("neither copy of the segment's head is intact")]
    ValueSegment,
    /// A file.
    #[error("it is missing")]
    Missing,
}

/// Keys that cannot be served: keyspace, the first key, and the first behind them if there is one.
pub type Range = (KeyspaceId, Vec<u8>, Option<Vec<u8>>);

/// Where stored bytes are damaged, and what that costs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: byte {offset}: {what}")]
pub struct Corrupt {
    /// The file, as it was opened.
    pub file: String,
    /// The first byte that cannot be believed.
    pub offset: u64,
    /// How.
    pub what: Fault,
    /// The keys that cannot be served. `None` where everything is concerned.
    pub keys: Option<Range>,
}

/// Why something was not done.
///
/// Unless its verdict is to halt or it is [`Error::InDoubt`], nothing happened and the database can
/// be used as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A setting is out of its bounds.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Another process has the directory open.
    #[error("{dir}: in use by another process")]
    Locked {
        /// The directory.
        dir: String,
    },
    /// The directory holds something else.
    #[error("{dir}: no database and not empty (it holds {found:?})")]
    NotOurs {
        /// The directory.
        dir: String,
        /// Something in it.
        found: String,
    },
    /// What was to make a database in the directory ended before it was whole.
    #[error("{dir}: an unfinished database")]
    Unfinished {
        /// The directory.
        dir: String,
    },
    /// A database is made in an empty directory only.
    #[error("{dir}: not empty (it holds {found:?})")]
    NotEmpty {
        /// The directory.
        dir: String,
        /// Something in it.
        found: String,
    },
    /// The directory holds no database that could be looked at.
    #[error("{dir}: no database (it has no {})", crate::manifest::MANIFEST)]
    NoDatabase {
        /// The directory.
        dir: String,
    },
    /// The manifest cannot be used.
    #[error("{dir}: {cause}")]
    Manifest {
        /// The directory.
        dir: String,
        /// Why.
        cause: ManifestError,
    },
    /// The superblocks cannot be used.
    #[error("{dir}: {cause}")]
    Superblock {
        /// The directory.
        dir: String,
        /// Why.
        cause: SuperblockError,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Stored bytes are damaged; keys elsewhere can be served.
    #[error(transparent)]
    Corrupt(Box<Corrupt>),
    /// The disk is full or may not be written. Reads go on; writes do once there is room.
    #[error("read-only: {cause}")]
    ReadOnly {
        /// What the disk said.
        cause: DiskError,
    },
    /// The disk took no write, and not even its traces could be wiped. Nobody sees it any more, and
    /// it is gone for good as soon as anything is written again; a crash before that may bring it
    /// back.
    #[error("read-only, and what was refused may come back after a crash: {cause}")]
    InDoubt {
        /// What the disk said.
        cause: DiskError,
    },
    /// It was closed.
    #[error("the database is closed")]
    Closed,
    /// That version has not been written yet, or is not durable yet.
    #[error("version {asked} is still to come: the newest is {newest}")]
    StillToCome {
        /// The version asked for.
        asked: Lsn,
        /// The newest that can be read.
        newest: Lsn,
    },
    /// There is no such keyspace.
    #[error("no keyspace {name:?}")]
    NoKeyspace {
        /// The name asked for.
        name: String,
    },
    /// There is one of that name already.
    #[error("keyspace {name:?} exists already")]
    KeyspaceExists {
        /// The name.
        name: String,
    },
    /// A keyspace has or had that number; numbers are never given twice.
    #[error("keyspace number {number} has been given before")]
    KeyspaceNumber {
        /// The number.
        number: KeyspaceId,
    },
    /// No keyspace can be called that.
    #[error("{name:?} cannot name a keyspace: 1 to 255 bytes, no control characters")]
    KeyspaceName {
        /// The name.
        name: String,
    },
    /// A record that came from elsewhere cannot be done.
    #[error(transparent)]
    Record(#[from] Senseless),
    /// A key is empty or too long.
    #[error("a key of {len} bytes: 1 to {KEY_MAX} are allowed")]
    KeyLength {
        /// Its length.
        len: usize,
    },
    /// A value is too long.
    #[error("a value of {len} bytes: {VALUE_MAX} are allowed")]
    ValueLength {
        /// Its length.
        len: usize,
    },
    /// A key is too long to have a deadline.
    #[error("a key of {len} bytes with a deadline: {} are allowed", KEY_MAX - INDEX_HEAD)]
    DeadlineKeyLength {
        /// Its length.
        len: usize,
    },
    /// What is loaded does not ascend.
    #[error("key {:?} is not behind the one before it", String::from_utf8_lossy(key))]
    LoadOrder {
        /// The key.
        key: Vec<u8>,
    },
    /// The transaction has committed or failed.
    #[error("the transaction is over")]
    Over,
    /// The version asked for is no longer kept.
    #[error("version {asked} is no longer kept: the earliest is {earliest_kept}")]
    HistoryTrimmed {
        /// The version asked for.
        asked: Lsn,
        /// The earliest that can be read.
        earliest_kept: Lsn,
    },
    /// The snapshot showed writes that the disk then refused.
    #[error("the snapshot at version {at} rests on writes that were taken back")]
    RolledBack {
        /// Its version.
        at: Lsn,
    },
    /// Something a transaction rests on was changed by another.
    #[error("conflict in keyspace {keyspace} at key {:?}", String::from_utf8_lossy(key))]
    Conflict {
        /// Where.
        keyspace: KeyspaceId,
        /// The key, or the first changed one of a range.
        key: Vec<u8>,
    },
    /// Waiting for a lock would have waited for itself.
    #[error("deadlock at key {:?}", String::from_utf8_lossy(key))]
    Deadlock {
        /// The key of the lock.
        key: Vec<u8>,
    },
    /// The lock is held as shared, which never becomes more. Lock for update from the start.
    #[error("the lock on key {:?} is shared and cannot become more", String::from_utf8_lossy(key))]
    Upgrade {
        /// The key of the lock.
        key: Vec<u8>,
    },
    /// A lock was not had in time.
    #[error("no lock in time on key {:?}", String::from_utf8_lossy(key))]
    LockTimeout {
        /// The key of the lock.
        key: Vec<u8>,
    },
}

impl Error {
    /// Decides who must act. Total on purpose: a new variant does not compile until it is judged.
    pub fn verdict(&self) -> Verdict {
        match self {
            Error::Options(_)
            | Error::Locked { .. }
            | Error::NotOurs { .. }
            | Error::Unfinished { .. }
            | Error::NotEmpty { .. }
            | Error::NoDatabase { .. }
            | Error::Closed
            | Error::StillToCome { .. }
            | Error::NoKeyspace { .. }
            | Error::KeyspaceExists { .. }
            | Error::KeyspaceNumber { .. }
            | Error::KeyspaceName { .. }
            | Error::Record(_)
            | Error::KeyLength { .. }
            | Error::ValueLength { .. }
            | Error::DeadlineKeyLength { .. }
            | Error::LoadOrder { .. }
            | Error::Over
            | Error::Upgrade { .. }
            | Error::HistoryTrimmed { .. } => Verdict::Reject,
            Error::ReadOnly { .. }
            | Error::InDoubt { .. }
            | Error::RolledBack { .. }
            | Error::Conflict { .. }
            | Error::Deadlock { .. }
            | Error::LockTimeout { .. } => Verdict::Retry,
            Error::Corrupt(_) => Verdict::Repair,
            Error::Manifest { .. } | Error::Superblock { .. } => Verdict::Halt,
            // A disk that was full when the journal was opened may have room again.
            Error::Disk(cause) | Error::Journal(JournalError::Disk(cause)) => match cause.kind {
                DiskErrorKind::Dead => Verdict::Halt,
                _ if cause.op == "sync" => Verdict::Halt,
                _ => Verdict::Retry,
            },
            Error::Journal(cause) => cause.verdict(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_sync_halts_and_a_failed_read_does_not() {
        let error = |op, kind| Error::from(DiskError::new(op, "data.pages", kind));
        assert_eq!(error("sync", DiskErrorKind::Io(5)).verdict(), Verdict::Halt);
        assert_eq!(error("write", DiskErrorKind::Dead).verdict(), Verdict::Halt);
        assert_eq!(error("read", DiskErrorKind::Io(5)).verdict(), Verdict::Retry);
        let journal = |op, kind| JournalError::Disk(DiskError::new(op, "wal-000001.new", kind));
        let (full, sync) =
            (journal("write", DiskErrorKind::Full), journal("sync", DiskErrorKind::Io(5)));
        assert_eq!(Error::from(full).verdict(), Verdict::Retry);
        assert_eq!(Error::from(sync).verdict(), Verdict::Halt);
    }

    #[test]
    fn damage_is_told_with_its_place() {
        let corrupt = Corrupt {
            file: "db/data.pages".into(),
            offset: 8192,
            what: Fault::Page(PageFault::Stale),
            keys: None,
        };
        let error = Error::Corrupt(Box::new(corrupt));
        let said = "db/data.pages: byte 8192: it is an older page, or another one";
        assert_eq!((error.to_string().as_str(), error.verdict()), (said, Verdict::Repair));
    }
}

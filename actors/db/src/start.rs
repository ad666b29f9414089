//! Opening a data directory, and every reason why a node does not start.

use std::io;

use orloj_kernel::{Context, DiskError, DiskErrorKind};
use orloj_storage::{
    Database, Error, JournalError,
    manifest::{MANIFEST, ManifestError},
    recover::WAL,
    superblock::SuperblockError,
};

use crate::{Durability, NodeConfig, Summary, commands::Tables, store};

/// Why a node does not start. `Display` is one line: the cause, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process listens there.
    #[error("{addr}: the port is in use; stop its other user, or choose another with --{flag}")]
    PortInUse {
        /// The address asked for.
        addr: String,
        /// What it was asked with.
        flag: &'static str,
    },
    /// It is no address of this machine, or may not be used.
    #[error("{addr}: cannot listen there: {cause}; give --{flag} an address of this machine")]
    Address {
        /// The address asked for.
        addr: String,
        /// What it was asked with.
        flag: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// Another process has the directory open.
    #[error(
        "{data}: in use by another process; stop that one, or choose another directory with --data"
    )]
    Locked {
        /// The data directory.
        data: String,
    },
    /// The directory cannot be used.
    #[error("{0}; give --data a directory that this user may read and write")]
    Directory(DiskError),
    /// The directory belongs to something else.
    #[error(
        "{data}: no database and not empty (it holds {found:?}); give --data an empty or a new \
         directory"
    )]
    NotOurs {
        /// The data directory.
        data: String,
        /// Something in it.
        found: String,
    },
    /// There is a database, and the node would neither read nor write it.
    #[error(
        "{data}: holds a database, which durability in_memory neither reads nor writes; choose \
         another directory with --data, or --durability strict or buffered"
    )]
    Ignored {
        /// The data directory.
        data: String,
    },
    /// What was to make a database there ended before it was whole.
    #[error(
        "{data}: an unfinished database; run again what was making it (`orloj migrate`, `restore` \
         or `import`)"
    )]
    Unfinished {
        /// The data directory.
        data: String,
    },
    /// A release from before the storage engine wrote it.
    #[error(
        "{data}: a journal of release 0.0, from before the storage engine; give --data a new \
         directory and bring it there with `orloj migrate {data} NEW`"
    )]
    Older {
        /// The data directory.
        data: String,
    },
    /// A later release wrote it.
    #[error("{data}: {cause}; start it with the release that wrote it, or a later one")]
    Newer {
        /// The data directory.
        data: String,
        /// Which file, which format.
        cause: Error,
    },
    /// Files of several databases are mixed.
    #[error("{data}: {cause}; move that file away, or restore the directory from a backup")]
    Foreign {
        /// The data directory.
        data: String,
        /// Which file, and what gives it away.
        cause: Error,
    },
    /// History that was acknowledged is damaged.
    #[error(
        "{data}: acknowledged history is damaged: {cause}; restore the directory from a backup, or \
         see with `orloj repair --dry-run {data}` what can be kept"
    )]
    Damaged {
        /// The data directory.
        data: String,
        /// Where, and how.
        cause: Error,
    },
    /// A setting is out of its bounds.
    #[error("{0}")]
    Settings(Error),
    /// There is no room to start in.
    #[error("{0}; make room on that disk")]
    Full(DiskError),
    /// The disk failed.
    #[error("{0}; look at the disk")]
    Disk(DiskError),
    /// It ended while it started.
    #[error("{0}")]
    Ended(String),
}

impl StartError {
    fn of_disk(e: DiskError) -> StartError {
        match e.kind {
            DiskErrorKind::Full => StartError::Full(e),
            DiskErrorKind::Denied
            | DiskErrorKind::ReadOnly
            | DiskErrorKind::BadPath
            | DiskErrorKind::NotFound
            | DiskErrorKind::AlreadyExists => StartError::Directory(e),
            DiskErrorKind::Locked | DiskErrorKind::Dead | DiskErrorKind::Io(_) => {
                StartError::Disk(e)
            }
        }
    }

    pub(crate) fn of_engine(data: &str, cause: Error) -> StartError {
        let data = data.to_owned();
        match cause {
            Error::Disk(e) | Error::Journal(JournalError::Disk(e)) => StartError::of_disk(e),
            Error::ReadOnly { cause } | Error::InDoubt { cause } => StartError::of_disk(cause),
            Error::Locked { .. } => StartError::Locked { data },
            Error::Unfinished { .. } => StartError::Unfinished { data },
            Error::NotOurs { found, .. } if found == WAL => StartError::Older { data },
            Error::NotOurs { found, .. } => StartError::NotOurs { data, found },
            Error::Options(_) => StartError::Settings(cause),
            Error::Journal(JournalError::Newer { .. })
            | Error::Superblock { cause: SuperblockError::Newer { .. }, .. }
            | Error::Manifest {
                cause:
                    ManifestError::Newer { .. }
                    | ManifestError::Unknown { .. }
                    | ManifestError::Schema { .. },
                ..
            } => StartError::Newer { data, cause },
            Error::Journal(JournalError::Foreign { .. }) => StartError::Foreign { data, cause },
            cause => StartError::Damaged { data, cause },
        }
    }

    pub(crate) fn of_listen(flag: &'static str, addr: &str, cause: io::Error) -> StartError {
        let addr = addr.to_owned();
        match cause.kind() {
            io::ErrorKind::AddrInUse => StartError::PortInUse { addr, flag },
            _ => StartError::Address { addr, flag, cause },
        }
    }
}

/// Opens the database of a node, or makes it.
pub(crate) async fn open(
    cx: &Context,
    config: &NodeConfig,
) -> Result<(Tables, Summary), StartError> {
    let data = config.data.as_str();
    let failed = |e| StartError::of_engine(data, e);
    if config.durability == Durability::InMemory {
        leave_alone(cx, config).await?;
        let db = Database::in_memory(*cx, config.engine()).map_err(failed)?;
        let tables = Tables::open(cx, &db).await.map_err(failed)?;
        return Ok((tables, Summary::default()));
    }
    let (db, report) = Database::open(*cx, config.engine()).await.map_err(failed)?;
    // So that the store finds what it needs, whatever the disk does from then on.
    let counts = store::prepare(&db).await.map_err(failed)?;
    let tables = Tables::open(cx, &db).await.map_err(failed)?;
    let (turn, keys, journal) = (db.applied(), counts.keys, report.journal);
    Ok((tables, Summary { turn, keys, generation: report.generation, journal }))
}

/// Refuses a directory that holds a database which would not be read.
async fn leave_alone(cx: &Context, config: &NodeConfig) -> Result<(), StartError> {
    match cx.list(&config.data).await {
        Ok(entries) if entries.iter().any(|e| e.name == MANIFEST || e.name == WAL) => {
            Err(StartError::Ignored { data: config.data.clone() })
        }
        _ => Ok(()),
    }
}

//! Opening a data directory, and every reason why a node does not start.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use orloj_kernel::{Context, DiskError, DiskErrorKind, RawLock, mutant};
use orloj_storage::{
    JournalError, Lsn,
    journal::{JournalConfig, Log},
};

use crate::{NodeConfig, Summary, slot::Slot, state::State};

/// Why a node does not start. `Display` is one line: the cause, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process listens there.
    #[error("{addr}: the port is in use; stop its other user, or choose another with --resp")]
    PortInUse {
        /// The address asked for.
        addr: String,
    },
    /// It is no address of this machine, or may not be used.
    #[error("{addr}: cannot listen there: {cause}; give --resp an address of this machine")]
    Address {
        /// The address asked for.
        addr: String,
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
    /// A later release wrote the journal.
    #[error("{data}: {cause}; start it with the release that wrote it, or a later one")]
    Newer {
        /// The data directory.
        data: String,
        /// Which segment, which format.
        cause: JournalError,
    },
    /// Files of several databases are mixed.
    #[error("{data}: {cause}; move that file away, or restore the directory from a backup")]
    Foreign {
        /// The data directory.
        data: String,
        /// Which segment, and what gives it away.
        cause: JournalError,
    },
    /// History that was acknowledged is damaged.
    #[error(
        "{data}: acknowledged history is damaged: {cause}; restore the directory from a backup"
    )]
    Damaged {
        /// The data directory.
        data: String,
        /// Where, and how.
        cause: JournalError,
    },
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

    fn of_journal(data: &str, cause: JournalError) -> StartError {
        let data = data.to_owned();
        match cause {
            JournalError::Disk(e) => StartError::of_disk(e),
            JournalError::Newer { .. } => StartError::Newer { data, cause },
            JournalError::Foreign { .. } => StartError::Foreign { data, cause },
            JournalError::Damaged { .. } | JournalError::Missing { .. } => {
                StartError::Damaged { data, cause }
            }
        }
    }

    pub(crate) fn of_listen(addr: &str, cause: io::Error) -> StartError {
        let addr = addr.to_owned();
        match cause.kind() {
            io::ErrorKind::AddrInUse => StartError::PortInUse { addr },
            _ => StartError::Address { addr, cause },
        }
    }
}

/// How the journal is opened at the start of each of its lives.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    config: Arc<NodeConfig>,
    /// The journal that the node's own start has opened already.
    opened: Slot<(Log, u64)>,
    /// Where the store that a journal describes is left for the sequencer.
    recovered: Slot<Recovered>,
    /// How often the journal was opened.
    openings: Arc<AtomicU64>,
    /// Which opening's store the sequencer has taken over.
    taken: Arc<AtomicU64>,
}

/// The store as a journal describes it.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) state: State,
    pub(crate) version: Lsn,
    /// Which opening of the journal it belongs to.
    pub(crate) opening: u64,
}

impl Opening {
    pub(crate) fn new(config: Arc<NodeConfig>) -> Opening {
        Opening {
            config,
            opened: Slot::new(None),
            recovered: Slot::new(None),
            openings: Arc::default(),
            taken: Arc::default(),
        }
    }

    /// The store, for the sequencer, once the journal has been read.
    pub(crate) fn take_over(&self) -> Option<Recovered> {
        let recovered = self.recovered.take()?;
        self.taken.store(recovered.opening, Ordering::Relaxed);
        Some(recovered)
    }

    /// Whether the store of the last opening was taken over already.
    pub(crate) fn is_spent(&self) -> bool {
        self.taken.load(Ordering::Relaxed) == self.openings.load(Ordering::Relaxed)
    }

    /// Recovers, and keeps the journal for the first [`Opening::log`].
    pub(crate) async fn open(&self, cx: &Context) -> Result<Summary, StartError> {
        let (log, opening, summary) = self.recover(cx).await?;
        self.opened.put((log, opening));
        Ok(summary)
    }

    /// The journal, recovered already or now, and which opening of it this is.
    pub(crate) async fn log(&self, cx: &Context) -> Result<(Log, u64), StartError> {
        match self.opened.take() {
            Some(opened) => Ok(opened),
            None => self.recover(cx).await.map(|(log, opening, _)| (log, opening)),
        }
    }

    async fn recover(&self, cx: &Context) -> Result<(Log, u64, Summary), StartError> {
        let config = JournalConfig {
            first_bytes: self.config.first_segment_bytes,
            segment_bytes: self.config.segment_bytes,
            ..JournalConfig::new(self.config.wal())
        };
        let mut state = State::new(cx.entropy());
        let mut replay = |_: Lsn, record: &[u8]| state.replay(record);
        let opened = Log::open(*cx, config, &mut replay).await;
        let (log, journal) = opened.map_err(|e| StartError::of_journal(&self.config.data, e))?;
        let clock = state.clock();
        while state.sweep(clock, usize::MAX) {}
        let version = journal.last;
        let summary = Summary { version, keys: state.len() as u64, journal };
        if let Some(observer) = &self.config.observer {
            observer.recovered(&summary);
        }
        let opening = self.openings.fetch_add(1, Ordering::Relaxed) + 1;
        self.recovered.put(Recovered { state, version, opening });
        Ok((log, opening, summary))
    }
}

/// Makes the data directory if there is none, takes its lock, and makes sure that it is a
/// database's.
pub(crate) async fn enter(
    cx: &Context,
    config: &NodeConfig,
) -> Result<Box<dyn RawLock>, StartError> {
    let data = config.data.as_str();
    cx.create_dir(data).await.map_err(StartError::of_disk)?;
    let entries = cx.list(data).await.map_err(StartError::of_disk)?;
    let is_database = entries.iter().any(|e| e.name == "wal" && e.is_dir);
    let foreign =
        entries.iter().find(|e| !matches!(e.name.as_str(), "wal" | "LOCK" | "lost+found"));
    if let (false, Some(entry)) = (is_database, foreign) {
        return Err(StartError::NotOurs { data: data.to_owned(), found: entry.name.clone() });
    }
    let lock = cx.lock(&format!("{data}/LOCK")).await.map_err(|e| match e.kind {
        DiskErrorKind::Locked => StartError::Locked { data: data.to_owned() },
        _ => StartError::of_disk(e),
    })?;
    cx.create_dir(&config.wal()).await.map_err(StartError::of_disk)?;
    // That a name is there does not say that it is durable: whoever made it may have died since.
    if !mutant!(cx, "journal.lost_dir_sync") {
        cx.sync_dir(data).await.map_err(StartError::of_disk)?;
        let above = data.rsplit_once('/').map_or("", |(above, _)| above);
        match cx.sync_dir(if data.starts_with('/') && above.is_empty() { "/" } else { above }).await
        {
            // A directory that is not ours to open was there before us.
            Err(e) if e.kind != DiskErrorKind::Denied => return Err(StartError::of_disk(e)),
            _ => {}
        }
    }
    Ok(lock)
}

/// Refuses a directory that holds a database which would not be read.
pub(crate) async fn leave_alone(cx: &Context, config: &NodeConfig) -> Result<(), StartError> {
    match cx.list(&config.wal()).await {
        Ok(entries) if !entries.is_empty() => {
            Err(StartError::Ignored { data: config.data.clone() })
        }
        _ => Ok(()),
    }
}

//! What was observed of one run of a database, by those who used it.

use crate::{Durability, Ending, Moment};

/// A version: the place of a transaction in the order of all.
pub type Version = u64;
/// Names a keyspace; never given twice.
pub type KeyspaceId = u32;
/// Names a write by the order in which they were asked for, from 0.
pub type WriteId = usize;

/// Everything that was observed.
#[derive(Clone, Debug)]
pub struct History {
    /// What the database promises.
    pub mode: Durability,
    /// The stretches of its history, in order. The first is an opening.
    pub spans: Vec<Span>,
    /// What was asked to be written, by [`WriteId`].
    pub writes: Vec<Write>,
    /// What was shown, in the order in which it was complete.
    pub reads: Vec<Read>,
    /// Which keyspaces there were at each opening.
    pub listings: Vec<Listing>,
    /// Values that no write has written, and where.
    pub wrong: Vec<(Moment, String)>,
    /// Snapshots that were held and could not be read.
    pub lost_snapshots: Vec<(Moment, String)>,
    /// The size of the cache, each time somebody looked.
    pub caches: Vec<CacheUse>,
    /// What failed when nothing was wrong any more.
    pub failures: Vec<Failure>,
    /// The whole content, read after the run had ended, a recovery between every two.
    pub dumps: Vec<Dump>,
}

/// A stretch of history in which nothing was taken back: a life, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// How it began.
    pub begin: Begin,
    /// When.
    pub at: Moment,
    /// Of all that was before, versions up to this one are still history. Those behind it are
    /// given again.
    pub base: Version,
}

/// How a stretch of history began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// The database was opened.
    Opened {
        /// How its life before had ended.
        after: Ending,
        /// When.
        died: Moment,
    },
    /// A disk that took no write had it take back what was not durable.
    TakenBack,
}

/// One thing that a write does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key has [the value](super::value) that its write gives it.
    Put {
        /// Where.
        keyspace: KeyspaceId,
        /// The key.
        key: Vec<u8>,
        /// From then on (Unix ms) it is gone.
        deadline: Option<u64>,
    },
    /// The key is gone.
    Delete {
        /// Where.
        keyspace: KeyspaceId,
        /// The key.
        key: Vec<u8>,
    },
    /// All keys are gone.
    Clear(KeyspaceId),
    /// All keys are gone, and so is the keyspace.
    Drop(KeyspaceId),
}

/// A transaction that writes, as its caller saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// What it does.
    pub changes: Vec<Change>,
    /// When it was asked for.
    pub invoked: Moment,
    /// In which stretch.
    pub span: usize,
    /// A version that was known to be there before it was asked for.
    pub after: Version,
    /// What it rests on: this must have been so until it got its version.
    pub rests_on: Vec<Look>,
    /// No key that it writes may have got another version since.
    pub since: Option<Version>,
    /// What its caller was told.
    pub told: Told,
}

/// What the caller of a write was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing, or that nobody knows.
    Nothing,
    /// That it never happened.
    Refused,
    /// The same, by a mode that shows writes before the journal has them: somebody may have been
    /// shown it, and nobody is any more.
    TakenBack {
        /// The stretch in which that was said. It had been taken back before.
        span: usize,
    },
    /// That it happened.
    Version {
        /// When.
        at: Moment,
        /// In which stretch.
        span: usize,
        /// Its version.
        version: Version,
        /// Whether it was said to survive whatever comes, beyond what the mode promises.
        durable: bool,
    },
}

/// All keys of a range that somebody was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Where.
    pub keyspace: KeyspaceId,
    /// The first key that was looked at,
    pub from: Vec<u8>,
    /// and the first behind; `None` is the end of all keys.
    pub to: Option<Vec<u8>>,
    /// What was there, in order of keys.
    pub found: Vec<Found>,
    /// The database's time before and after, Unix ms.
    pub now: (u64, u64),
    /// The latest time that any life of the database may have had by then.
    pub latest: u64,
}

impl Look {
    /// The range that holds one key.
    pub fn at_key(
        keyspace: KeyspaceId,
        key: &[u8],
        found: Option<(Version, WriteId)>,
        now: (u64, u64),
        latest: u64,
    ) -> Look {
        let found = found.map(|(version, write)| Found { key: key.to_vec(), version, write });
        let to = Some([key, &[0]].concat());
        let found = found.into_iter().collect();
        Look { keyspace, from: key.to_vec(), to, found, now, latest }
    }
}

/// A key that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The key.
    pub key: Vec<u8>,
    /// The version that wrote it.
    pub version: Version,
    /// The write whose value it had.
    pub write: WriteId,
}

/// Something that was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What.
    pub look: Look,
    /// The versions of which it may show any: two for who asked for the latest.
    pub at: (Version, Version),
    /// In which stretch; `None` if another began meanwhile.
    pub span: Option<usize>,
    /// When it was complete.
    pub done: Moment,
}

/// The keyspaces at an opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// When.
    pub at: Moment,
    /// Those there were.
    pub there: Vec<KeyspaceId>,
    /// Those that must be there.
    pub expected: Vec<KeyspaceId>,
}

/// The size of the cache at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheUse {
    /// When.
    pub at: Moment,
    /// Bytes held.
    pub bytes: u64,
    /// Bytes that it may hold: its budget, and what those who use it at the moment may pin.
    pub allowed: u64,
}

/// Something that failed, or never ended, when nothing was wrong any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub at: Moment,
    /// What.
    pub what: String,
}

/// The whole content at one moment: per keyspace, keys with versions and writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// When.
    pub at: Moment,
    /// What there was, in order.
    pub content: Vec<(KeyspaceId, Found)>,
    /// The latest time (Unix ms) that the database may have had: what ends by then may be gone.
    pub latest: u64,
}

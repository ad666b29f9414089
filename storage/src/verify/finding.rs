//! What a walk says.

use std::collections::BTreeMap;

use orloj_kernel::DiskErrorKind;

use crate::{KeyspaceId, Lsn, Range, error::Fault, journal::Damage, superblock::SuperblockError};

/// What a finding costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Something that was stored cannot be read, or the database cannot be relied upon.
    Damage,
    /// Everything can be read. What was to make up for other damage is damaged itself.
    Reserve,
    /// Everything can be read. Room is taken by what nobody needs.
    Waste,
}

impl Grade {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Grade::Damage => "damage",
            Grade::Reserve => "reserve",
            Grade::Waste => "waste",
        }
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it costs.
    pub grade: Grade,
    /// The file.
    pub file: String,
    /// The first byte concerned.
    pub offset: u64,
    /// The keys concerned; `None` where that is not known, or none are.
    pub keys: Option<Range>,
    /// What is wrong.
    pub what: Defect,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// Stored bytes are damaged.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The device does not give them.
    #[error("it cannot be read: {0}")]
    Unreadable(DiskErrorKind),
    /// One of two copies differs from what it must be; the other serves.
    #[error("one of its two copies is damaged; the other serves")]
    Copy,
    /// A superblock.
    #[error(transparent)]
    Superblock(#[from] SuperblockError),
    /// A file of another database, or under another name.
    #[error("it belongs to another database, or has another one's name")]
    Foreign,
    /// A reference leads out of the file.
    #[error("the reference to it leads behind the last page")]
    Beyond,
    /// Pages overlap.
    #[error("another page of the same generation lies there too")]
    Shared,
    /// A node is of another kind or level than its parent says.
    #[error("it is a node of level {found}, and its parent has one of level {expected} there")]
    Level {
        /// What it is.
        found: u8,
        /// What it must be.
        expected: u8,
    },
    /// A node belongs to another keyspace.
    #[error("it belongs to keyspace {0}")]
    Keyspace(KeyspaceId),
    /// A node's fences are not its parent's.
    #[error("its keys are not from and to where its parent says")]
    Fences,
    /// It is newer than what refers to it.
    #[error("it has version {found} and its checkpoint was made at {checkpoint}")]
    Version {
        /// Its version.
        found: Lsn,
        /// The newest it may have.
        checkpoint: Lsn,
    },
    /// It was written by a later generation than the one that refers to it.
    #[error("generation {0} wrote it, which is later than the one that refers to it")]
    Generation(u64),
    /// A leaf's counts differ from its contents.
    #[error("its counts are not those of its entries")]
    Count,
    /// Units that pages lie in are free for others.
    #[error("{0} units from there on are in use, and marked as free")]
    Unmarked(u64),
    /// Units are marked as used, and are not.
    #[error("{0} units from there on are marked as in use, and nothing refers to them")]
    Leaked(u64),
    /// A reference to a value that is not there.
    #[error("version {0} of the key has its value there, and there is another or none")]
    Dangling(Lsn),
    /// A whole value segment cannot be used.
    #[error("{fault}: {values} values are lost")]
    Segment {
        /// Why.
        fault: Fault,
        /// How many values were in it.
        values: u64,
    },
    /// Values without a reference, which nobody knows of.
    #[error("{bytes} bytes of values have no reference, and only {dead} are known to be dead")]
    Unreferenced {
        /// Bytes of records to which no page refers.
        bytes: u64,
        /// How many of them the catalogue counts.
        dead: u64,
    },
    /// A value segment that no generation lists.
    #[error("no generation refers to it")]
    Unlisted,
    /// A record of the journal, or all from it on.
    #[error("record {lsn}: {damage}")]
    Record {
        /// The first that is lost.
        lsn: Lsn,
        /// How.
        damage: Damage,
    },
    /// A segment of the journal is gone.
    #[error("it is missing: records from {0} on were in it")]
    NoRecords(Lsn),
    /// A segment of the journal cannot be used.
    #[error("{0}")]
    Journal(String),
    /// The journal ends before the newest generation does.
    #[error("the journal ends at record {last}, and the checkpoint at {checkpoint} had it synced")]
    Ends {
        /// Its last record.
        last: Lsn,
        /// The version of the newest generation.
        checkpoint: Lsn,
    },
}

/// What was walked. Of pages and entries, those of the newest generation are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Pages of all kinds.
    pub pages: u64,
    /// Their bytes.
    pub page_bytes: u64,
    /// Versions of keys, tombstones among them.
    pub entries: u64,
    /// How many of those are tombstones.
    pub tombstones: u64,
    /// Records of the value log to which a page of either generation refers.
    pub values: u64,
    /// Their bytes, with keys and heads.
    pub value_bytes: u64,
    /// Bytes of records of the value log to which none does.
    pub dead_bytes: u64,
    /// Records of the journal that a recovery may need.
    pub records: u64,
    /// Operations in them.
    pub operations: u64,
    /// Bytes of the segments that hold them.
    pub journal_bytes: u64,
    /// Bytes at the journal's end that a power cut left unfinished, which is no damage.
    pub cut_bytes: u64,
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which they were found; one for each place.
    pub findings: Vec<Finding>,
    /// What was walked.
    pub totals: Totals,
    /// The newest generation; 0 before the first checkpoint.
    pub generation: u64,
    /// Its version.
    pub lsn: Lsn,
    /// The names of all keyspaces, for those who read findings.
    pub keyspaces: BTreeMap<KeyspaceId, String>,
}

impl Report {
    /// Whether there is no finding.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

//! What can go wrong with a journal, and who must act.

use orloj_kernel::DiskError;

use super::Lsn;
use crate::Verdict;

/// How a journal's bytes are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Neither copy of a segment's head is intact.
    #[error("both copies of the segment's head fail their checksums")]
    Header,
    /// The file lost its end.
    #[error("the file has {len} bytes of at least {wanted}")]
    Short {
        /// Its length.
        len: u64,
        /// What it was made with, or what its successor says.
        wanted: u64,
    },
    /// A frame's head was written completely and a bit of it flipped since.
    #[error("a bit of a frame's head flipped")]
    Head,
    /// A frame was written completely and a bit of its records flipped since.
    #[error("a bit of a frame's records flipped")]
    Body,
    /// Sectors are missing that were synced: a later frame says so.
    #[error("sectors are missing although everything up to record {durable} had been synced")]
    Lost {
        /// The position that was synced.
        durable: Lsn,
    },
    /// A frame is intact and in the wrong place of the order, or of a kind that this release does
    /// not write.
    #[error("the frame there is not the next one")]
    Order,
    /// A record is intact and its reader cannot make sense of it.
    #[error("a record means nothing to this release")]
    Record,
}

/// Why a journal cannot be opened, or can no longer be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A later release wrote it.
    #[error("{file}: journal format {major}, this release reads {}", super::FORMAT.0)]
    Newer {
        /// The segment.
        file: String,
        /// Its format's major version.
        major: u16,
    },
    /// A segment belongs elsewhere: to another database, or under another name.
    #[error("{file}: {what}")]
    Foreign {
        /// The segment.
        file: String,
        /// What gives it away.
        what: String,
    },
    /// History that had been acknowledged is damaged.
    #[error("{file}: byte {offset}, record {lsn}: {damage}")]
    Damaged {
        /// The segment.
        file: String,
        /// The first byte that cannot be read as history.
        offset: u64,
        /// The position of the first record that is lost.
        lsn: Lsn,
        /// How.
        damage: Damage,
    },
    /// A segment is gone.
    #[error("segment {file} is missing: records from {lsn} on were in it")]
    Missing {
        /// The segment's name.
        file: String,
        /// The first record that was in it.
        lsn: Lsn,
    },
}

impl JournalError {
    /// Decides who must act. Total on purpose: a new variant does not compile until it is judged.
    pub fn verdict(&self) -> Verdict {
        match self {
            JournalError::Disk(_)
            | JournalError::Newer { .. }
            | JournalError::Foreign { .. }
            | JournalError::Damaged { .. }
            | JournalError::Missing { .. } => Verdict::Halt,
        }
    }
}

/// Why records were not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The disk took no write: it is full, most likely. Nothing was promised and the journal is as
    /// it was; [`Log::make_room`](super::Log::make_room) asks whether it can go on.
    #[error("{cause}")]
    Refused {
        /// What the disk said.
        cause: DiskError,
        /// Whether it is certain that no recovery will ever find the records. If not, their fate is
        /// unknown.
        definite: bool,
    },
    /// A sync failed: what is on the disk is unknown from here on.
    #[error("{0}")]
    Fatal(DiskError),
}

impl AppendError {
    /// Decides who must act.
    pub fn verdict(&self) -> Verdict {
        match self {
            AppendError::Refused { .. } => Verdict::Reject,
            AppendError::Fatal(_) => Verdict::Halt,
        }
    }
}

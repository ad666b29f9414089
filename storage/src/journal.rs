//! The journal: segments of frames of records, append-only, checksummed, in one order.
//!
//! A *record* is one whole transaction and has a position, its [`Lsn`]. A *frame* is what one write
//! carries: records in a row under one checksum, so a frame counts as a whole or not at all. A
//! *segment* is one file. `docs/src/format.md` has the layout byte by byte.
//!
//! Three properties carry recovery:
//! - **Every sector is written once** after its segment was filled with zeros and synced. What a
//!   power cut left of a frame is therefore recognisable, sector by sector, and is told apart from
//!   damage to a sector that had been written completely.
//! - **Every frame says what was durable when it was written.** Damage at or before such a position
//!   is damage to acknowledged data, and the journal refuses to open.
//! - **Every opening starts a new segment**, whose header says where the one before it ends. What
//!   was cut off can never be read again, and what cannot be proven synced is written anew.

mod error;
mod frame;
mod history;
mod log;
mod prewrite;
mod recover;
mod salvage;
mod scan;
mod segment;

pub use error::{AppendError, Damage, JournalError};
pub use frame::{FrameHead, Kind, Records, SECTOR};
pub use history::History;
pub use log::{JournalConfig, Log};
pub(crate) use recover::follow;
pub use recover::{Cut, Origin, Recovery, inspect};
pub(crate) use salvage::{Salvage, salvage};
pub use scan::{End, Scan, Tail};
pub(crate) use segment::number_of;
pub use segment::{DatabaseId, FIRST_FRAME, FORMAT, HeaderError, SegmentHeader};

use std::fmt;

/// The position of a record: 1 for the first, then without gaps. 0 is before the first.
///
/// It is also the version of the state that the record produces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The position `count` records further on.
    pub fn plus(self, count: u64) -> Lsn {
        Lsn(self.0 + count)
    }

    /// The position right after this one.
    pub fn next(self) -> Lsn {
        self.plus(1)
    }

    /// The position right before this one; 0 stays 0.
    pub fn previous(self) -> Lsn {
        Lsn(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
#[cfg(test)]
mod tests;

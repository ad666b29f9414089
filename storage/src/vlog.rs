//! The value log: values too long for a leaf, in segments that only grow.
//!
//! Nothing here is the truth about anything. Values reach the log when the page that refers to them
//! is written, and count once a superblock does; until then the journal has them, whole. So what a
//! power cut leaves behind the end that a superblock names is cut off unread.

mod append;
mod format;
mod gc;
mod read;
mod segments;

pub use append::{Appender, LogEnd};
pub(crate) use format::{FIRST_RECORD, number_of};
pub use format::{RECORD_HEAD, Record, RecordFault, SegmentHead, decode, encode, record_size};
pub use gc::{Collected, collect, collect_above};
pub use read::{Scan, ValueLog};
pub use segments::{SegmentUse, Segments};

/// The directory of its segments.
pub const VLOG: &str = "vlog";

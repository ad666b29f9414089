//! Objects on their way to a target, and the journal in them.

use crc32c::crc32c;

use super::{BackupError, Flaw, Object, Part, Target, TargetError};
use crate::{
    Lsn,
    journal::Records,
    record::{Op, ops},
};

/// Puts an object and says what it is.
pub(super) async fn put(
    target: &dyn Target,
    name: String,
    part: Part,
    bytes: Vec<u8>,
) -> Result<Object, TargetError> {
    let object = Object { name, bytes: bytes.len() as u64, sum: crc32c(&bytes), part };
    target.put(&object.name, bytes).await?;
    Ok(object)
}

/// The records of an object that were `first..=last`.
pub(super) fn records(
    object: &Object,
    first: Lsn,
    last: Lsn,
    bytes: Vec<u8>,
) -> Result<Records, BackupError> {
    let damaged = || BackupError::damaged(&object.name, Flaw::Senseless);
    let records = Records::decode(bytes).ok_or_else(damaged)?;
    let makes_sense = records.iter().all(|record| ops(record).all(|op| op.is_ok()));
    let count = u64::from(records.count());
    match makes_sense && count == last.0 - first.0 + 1 {
        true => Ok(records),
        false => Err(damaged()),
    }
}

/// Whether a record refers to pages, which no backup has but those of its base.
pub(super) fn has_load(record: &[u8]) -> bool {
    ops(record).any(|op| matches!(op, Ok(Op::Load { .. })))
}

/// The latest time that a record tells.
pub(super) fn time_of(record: &[u8]) -> Option<u64> {
    let times = ops(record).filter_map(|op| match op {
        Ok(Op::Clock(time)) => Some(time),
        _ => None,
    });
    times.max()
}

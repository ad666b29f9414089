//! Law: a snapshot that is held can be read.
//!
//! Whatever retention says, whatever is pruned, collected, cleared or dropped: who holds a snapshot
//! reads what it shows until he lets go. Only a disk that took no write may take it away, where it
//! showed what was not durable.
//!
//! Broken, a long read fails half-way, or a backup has holes.

use super::{Broken, Case, EngineLaw};

pub(super) const LAW: EngineLaw = EngineLaw {
    name: "engine-snapshot-holds",
    promise: "A snapshot can be read for as long as it is held.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    match case.history.lost_snapshots.first() {
        Some((when, what)) => Err(Broken::new(*when, what.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::*;

    #[test]
    fn a_snapshot_that_is_gone_is_found() {
        let mut h = strict();
        h.history.lost_snapshots.push((crate::Moment(4), "version 3 is no longer kept".into()));
        h.breaks("engine-snapshot-holds", "version 3 is no longer kept");
    }
}

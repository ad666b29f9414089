//! Law: what was acknowledged survives, to the degree that the mode promises.
//!
//! Strict: every acknowledged write is history after every later crash. Buffered: it may be taken
//! back by a disk that takes no write, and by a power cut if it is younger than the declared
//! window; whatever is done to whole keyspaces and whoever waited for durability is as in strict
//! mode. In memory: every life begins empty.
//!
//! That what is history can be read is `engine-model-equal`'s matter.
//!
//! Broken, a user loses what the database said it had.

use super::{Broken, Case, EngineLaw};
use crate::{
    Durability, Ending, Moment,
    engine::{Begin, Span, Told},
};

pub(super) const LAW: EngineLaw = EngineLaw {
    name: "engine-acked-is-durable",
    promise: "What was acknowledged survives every crash, as far as its mode promises.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    let history = case.history;
    for (id, write) in history.writes.iter().enumerate() {
        let Told::Version { at, span, version, durable } = write.told else { continue };
        let later = history.spans.get(span + 1..).unwrap_or_default();
        let Some(lost) = later.iter().find(|span| span.base < version) else { continue };
        if may_lose(history.mode, lost, at, durable) {
            continue;
        }
        let Span { at: when, base, .. } = lost;
        let what = format!(
            "write {id} was acknowledged at {at} with version {version}. At {when} the database \
             came back with version {base}"
        );
        return Err(Broken::new(*when, what));
    }
    keyspaces(case)
}

fn keyspaces(case: &Case<'_>) -> Result<(), Broken> {
    for listing in &case.history.listings {
        if let Some(lost) = listing.expected.iter().find(|id| !listing.there.contains(id)) {
            let what = format!("keyspace {lost} had been made, and is gone");
            return Err(Broken::new(listing.at, what));
        }
    }
    Ok(())
}

/// Whether a stretch of history that begins without a write may do so.
fn may_lose(mode: Durability, lost: &Span, told: Moment, durable: bool) -> bool {
    match (mode, lost.begin) {
        (Durability::InMemory, Begin::Opened { .. }) => true,
        (Durability::Buffered { .. }, Begin::TakenBack) => !durable,
        (Durability::Buffered { window }, Begin::Opened { after, died }) => {
            !durable && after != Ending::Stopped && died.since(told) <= window
        }
        (Durability::Strict | Durability::InMemory, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::*;

    const LAW: &str = "engine-acked-is-durable";

    #[test]
    fn a_lost_acknowledged_write_is_found() {
        let mut h = strict();
        h.put("k").at(1);
        h.put("k").at(2);
        h.crash(1);
        h.breaks(LAW, "write 1 was acknowledged");
    }

    #[test]
    fn what_nobody_was_told_of_may_be_lost_or_kept() {
        for kept in [0, 1] {
            let mut h = strict();
            h.put("k").unknown();
            h.crash(kept);
            h.holds();
        }
    }

    #[test]
    fn a_buffered_write_may_be_lost_within_its_window() {
        let story = |age_ms| {
            let mut h = buffered(100);
            h.put("k").at(1);
            h.wait_ms(age_ms);
            h.crash(0);
            h
        };
        story(90).holds();
        story(110).breaks(LAW, "came back with version 0");
    }

    #[test]
    fn a_keyspace_that_is_gone_is_found() {
        let mut h = strict();
        h.lists(&[16], &[16]);
        h.holds();
        h.lists(&[], &[16]);
        h.breaks(LAW, "keyspace 16");
    }
}

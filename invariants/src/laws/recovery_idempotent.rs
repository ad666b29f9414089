//! Law: recovering the same disk again gives the same state.
//!
//! Source: Mohan et al., "ARIES", TODS 1992, section 1.1: redo must be repeatable, since a crash
//! can strike during recovery.
//!
//! Broken, every restart moves the data a little further from the truth.

use super::{Broken, Law};
use crate::{Dump, Durability, Entry, Timeline, show::show_entry, show_bytes};

pub(super) const LAW: Law = Law {
    name: "recovery-idempotent",
    promise: "Recovering the same disk again gives the same state.",
    check,
};

fn check(timeline: &Timeline<'_>) -> Result<(), Broken> {
    let dumps = &timeline.history.dumps;
    for pair in dumps.windows(2) {
        let [before, after] = pair else { continue };
        if timeline.history.durability == Durability::InMemory {
            if let Some(entry) = after.entries.first() {
                let evidence = format!("a store without a disk recovered {}", show_entry(entry));
                return Err(Broken::new(after.seen, evidence).keys([&entry.key]));
            }
            continue;
        }
        same(before, after)?;
    }
    Ok(())
}

fn same(before: &Dump, after: &Dump) -> Result<(), Broken> {
    // What expired while the store was read again may have been met or not.
    let alive = |entry: &&Entry| entry.deadline.is_none_or(|deadline| deadline > after.at);
    let expected: Vec<&Entry> = before.entries.iter().filter(alive).collect();
    let lost = expected.iter().find(|entry| !after.entries.contains(entry)).copied();
    let other = after.entries.iter().filter(alive).find(|entry| !expected.contains(entry));
    let Some(key) = lost.or(other).map(|entry| &entry.key) else { return Ok(()) };
    let at = |dump: &Dump| {
        let entry = dump.entries.iter().find(|entry| entry.key == *key);
        entry.map_or("absent".to_owned(), show_entry)
    };
    let evidence = format!(
        "{} is {} after {} recoveries of the final disk, and {} after {}",
        show_bytes(key),
        at(before),
        before.recoveries,
        at(after),
        after.recoveries
    );
    Err(Broken::new(after.seen, evidence).keys([key]))
}

#[cfg(test)]
mod tests {
    use super::LAW;
    use crate::testing::*;

    #[test]
    fn equal_recoveries_hold() {
        let mut h = strict();
        h.dump(0, &[("a", "1"), ("b", "2")]);
        h.dump(1, &[("a", "1"), ("b", "2")]);
        h.dump(2, &[("a", "1"), ("b", "2")]);
        h.holds(&LAW);
    }

    #[test]
    fn a_drifting_recovery_is_found() {
        let mut h = strict();
        h.dump(0, &[("n", "1")]);
        h.dump(1, &[("n", "1")]);
        h.dump(2, &[("n", "2")]);
        h.breaks(&LAW, "n is 1 after 1 recoveries of the final disk, and 2 after 2");
    }

    #[test]
    fn a_key_that_expires_between_two_reads_may_go_and_may_not_come() {
        let mut h = strict();
        h.dump(0, &[("k", "1")]).expiring("k", 10);
        h.wait_ms(20);
        h.dump(1, &[("k", "1")]).expiring("k", -10);
        h.dump(2, &[]);
        h.holds(&LAW);
        h.dump(3, &[("k", "1")]);
        h.breaks(&LAW, "k is absent after 2");
    }

    #[test]
    fn a_store_in_memory_must_be_empty_again() {
        let mut h = in_memory();
        h.dump(0, &[("k", "1")]);
        h.dump(1, &[]);
        h.holds(&LAW);
        h.dump(2, &[("k", "1")]);
        h.breaks(&LAW, "a store without a disk recovered 1");
    }
}

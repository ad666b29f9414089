//! Law: a serializable transaction happened at one point: all that it read was so until it got its
//! version.
//!
//! What it rests on, single keys and whole ranges, present or absent, is compared with the map just
//! before its version. Of snapshot isolation less is asked: that nothing it writes got another
//! version since its snapshot.
//!
//! Source: Adya, "Weak Consistency" (1999): no anti-dependency into the past; with the order of
//! versions known, that is a comparison and no search for cycles.
//!
//! Broken, two users sell the last seat.

use super::{Broken, Case, EngineLaw};
use crate::engine::{Change, Told, Version, Write};

pub(super) const LAW: EngineLaw = EngineLaw {
    name: "engine-serializable",
    promise: "All that a transaction rests on was so when it got its version.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    let both = case.history.writes.iter().zip(&case.knowledge.known);
    for (id, (write, known)) in both.enumerate() {
        let Some(known) = known else { continue };
        let when = match write.told {
            Told::Version { at, .. } => at,
            Told::Nothing | Told::Refused | Told::TakenBack { .. } => write.invoked,
        };
        let before = known.version - 1;
        for look in &write.rests_on {
            if let Err((key, why)) = case.compare(look, before, known.span) {
                let what = format!("write {id} of version {} rests on another: {why}", before + 1);
                return Err(Broken::new(when, what).key(key));
            }
        }
        if let Some(since) = write.since {
            undisturbed(case, write, (since, before), known.span)
                .map_err(|what| Broken::new(when, format!("write {id}: {what}")))?;
        }
    }
    Ok(())
}

/// Whether nobody else has written what it writes.
fn undisturbed(
    case: &Case<'_>,
    write: &Write,
    meanwhile: (Version, Version),
    span: usize,
) -> Result<(), String> {
    for change in &write.changes {
        let (Change::Put { keyspace, key, .. } | Change::Delete { keyspace, key }) = change else {
            continue;
        };
        if let Some(other) = case.models[span].changes(*keyspace, key, meanwhile).first() {
            let (since, key) = (meanwhile.0, crate::show_bytes(key));
            return Err(format!("version {other} changed key {key} since its snapshot {since}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::*;

    const LAW: &str = "engine-serializable";

    #[test]
    fn write_skew_and_phantoms_are_found() {
        let mut h = strict();
        let a = h.put("a").at(1);
        let b = h.put("b").at(2);
        let both = &[("a", 1, a), ("b", 2, b)];
        h.put("a").resting_on(("", "z"), both).at(3);
        h.holds();
        let mut skew = h.clone();
        skew.put("b").resting_on(("", "z"), both).at(4);
        skew.breaks(LAW, "write 3 of version 4 rests on another: key a");
        let mut phantom = h.clone();
        phantom.put("c").at(4);
        phantom.put("d").resting_on(("c", "d"), &[]).at(5);
        phantom.breaks(LAW, "key c");
    }

    #[test]
    fn what_only_a_transaction_was_shown_was_there() {
        let mut h = buffered(100);
        let a = h.put("k").unknown();
        h.put("j").resting_on(("k", "l"), &[("k", 1, a)]).at(2);
        h.crash(0);
        h.holds();
    }

    #[test]
    fn a_lost_update_under_snapshot_isolation_is_found() {
        let mut h = strict();
        h.put("a").at(1);
        h.put("a").since(1).at(2);
        h.holds();
        h.put("a").since(1).at(3);
        h.breaks(LAW, "version 2 changed key a since its snapshot 1");
    }
}

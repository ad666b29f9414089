//! Law: at the end no outcome is unknown. A request whose reply was lost either took effect, once,
//! in the history that survived, or did not, and the final state agrees with that.
//!
//! A lost reply is no error and no absence: it is resolved by what is seen later. The node's
//! account says whether the request was executed and whether that version survived; a full read in
//! the quiet phase, made through the front door, must show exactly the surviving history's state.
//!
//! Source: Bailis and Kingsbury, "The network is reliable", ACM Queue 2014 (a timeout is
//! indeterminate); openraft's oracle, where a failed write is `Unknown`, never absent.
//!
//! Broken, nobody can say after an outage what was done and what was not.

use super::{Broken, Law};
use crate::{Dump, End, Entry, Fate, Operation, Timeline, show_bytes, show_command};
use crate::{Request, show::show_entry};

pub(super) const LAW: Law = Law {
    name: "unknown-resolved",
    promise: "After the quiet phase every lost reply is known to have taken effect or not.",
    check,
};

fn check(timeline: &Timeline<'_>) -> Result<(), Broken> {
    let history = timeline.history;
    if history.halt.is_some() || history.quiet.is_none() {
        return Ok(()); // `progress` speaks of runs that never became calm.
    }
    if history.dumps.is_empty() {
        let lost = history.ops.iter().filter(|op| matches!(op.end, End::Lost { .. }));
        let lost: Vec<_> = lost.map(|op| op.id).collect();
        let Some(first) = lost.first() else { return Ok(()) };
        let evidence = format!("{} lost replies and no full read, first {first}", lost.len());
        let end = history.quiet.map(|quiet| quiet.began).unwrap_or_default();
        return Err(Broken::new(end, evidence).op(lost));
    }
    history.dumps.iter().try_for_each(|dump| agrees(timeline, dump))
}

/// A full read shows the surviving history's state. If not, the lost requests that touch the key
/// are the ones contradicted.
fn agrees(timeline: &Timeline<'_>, dump: &Dump) -> Result<(), Broken> {
    let lives = &timeline.history.lives;
    let Some(life) = lives.iter().rposition(|life| life.began <= dump.seen) else { return Ok(()) };
    let store = timeline.store_at(life, u64::MAX);
    let expected = store.entries(dump.at).map(|(key, value, deadline)| Entry {
        key: key.clone(),
        value: value.clone(),
        deadline,
    });
    let expected: Vec<Entry> = expected.collect();
    // What expired while the store was read may have been met or not.
    let lives_on = |entry: &&Entry| entry.deadline.is_none_or(|deadline| deadline > dump.at);
    let wrong = |a: &[Entry], b: &[Entry]| {
        a.iter().filter(lives_on).find(|entry| !b.contains(entry)).cloned()
    };
    let (found, missing) = (wrong(&dump.entries, &expected), wrong(&expected, &dump.entries));
    let Some(key) = found.as_ref().or(missing.as_ref()).map(|entry| entry.key.clone()) else {
        return Ok(());
    };
    let at = |entries: &[Entry]| {
        let entry = entries.iter().find(|entry| entry.key == key);
        entry.map_or("absent".to_owned(), show_entry)
    };
    let mut evidence = format!(
        "{} is {} in the final read, {} in the surviving history",
        show_bytes(&key),
        at(&dump.entries),
        at(&expected)
    );
    let mut broken = Broken::new(dump.seen, String::new()).keys([&key]);
    for op in &timeline.history.ops {
        if let (Request::Store(command), End::Lost { .. }) = (&op.request, &op.end)
            && command.is_write()
            && command.keys().any(|k| *k == key)
        {
            let (id, fate) = (op.id, fate(timeline, op));
            evidence += &format!("; {id} ({}) had no reply and {fate}", show_command(command));
            broken = broken.op([id]);
        }
    }
    Err(Broken { evidence, ..broken })
}

fn fate(timeline: &Timeline<'_>, op: &Operation) -> String {
    let Some(place) = timeline.places(op.id).first() else {
        return "was never executed".to_owned();
    };
    match timeline.fate(place.life, timeline.executed(*place).version) {
        Fate::Survives => "took effect".to_owned(),
        Fate::LostBy(life) => format!("was taken back by the recovery of life {life}"),
    }
}

#[cfg(test)]
mod tests {
    use super::LAW;
    use crate::{Loss, testing::*};

    #[test]
    fn a_lost_reply_may_have_taken_effect_or_not() {
        for took_effect in [true, false] {
            let mut h = strict();
            let op = h.op(0, set("k", "a"));
            if took_effect {
                op.runs(1, ok());
            }
            h.last_op().loses(Loss::TimedOut);
            h.quiet(100);
            h.dump(0, if took_effect { &[("k", "a")] } else { &[] });
            h.holds(&LAW);
        }
    }

    #[test]
    fn an_effect_the_account_denies_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).loses(Loss::Closed);
        h.quiet(100);
        h.dump(0, &[("k", "a")]);
        h.breaks(
            &LAW,
            "k is a in the final read, absent in the surviving history; client 0, request 0",
        );
    }

    #[test]
    fn an_effect_taken_back_and_still_there_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).runs(1, ok()).loses(Loss::Closed);
        h.crash().recovers(0);
        h.quiet(100);
        h.dump(0, &[("k", "a")]);
        h.breaks(&LAW, "was taken back by the recovery of life 1");
    }

    #[test]
    fn a_read_is_held_to_the_store_of_its_own_time() {
        let mut h = in_memory();
        h.op(0, set("k", "a")).runs(1, ok()).loses(Loss::Closed);
        h.quiet(100);
        h.dump(0, &[("k", "a")]);
        h.crash().recovers(0);
        h.dump(1, &[]);
        h.holds(&LAW);
        h.dump(2, &[("k", "a")]);
        h.breaks(&LAW, "absent in the surviving history");
    }

    #[test]
    fn a_key_may_expire_while_the_store_is_read() {
        let mut h = strict();
        h.quiet(100);
        h.dump(0, &[("k", "a")]).expiring("k", 0);
        h.holds(&LAW);
    }

    #[test]
    fn a_run_that_never_looks_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).loses(Loss::Closed);
        h.quiet(100);
        h.breaks(&LAW, "1 lost replies and no full read");
    }
}

//! Law: dependencies between transactions, and reads of one version, have no cycle.
//!
//! `engine-serializable` and `engine-model-equal` hold every read against the map of versions. This
//! law asks another way and so does not share their mistakes: of the versions it takes nothing but
//! the order of the writes of each key, and looks for the anomalies of Adya in what was read. A
//! read that finds nothing counts where the key was never removed and had no deadline.
//!
//! Source: Adya, "Weak Consistency" (1999); Kingsbury and Alvaro, "Elle", VLDB 2020.
//!
//! Broken, what transactions did cannot have happened one after another.

use std::collections::{BTreeMap, BTreeSet};

use super::{Broken, Case, EngineLaw};
use crate::{
    checkers::{
        anomalies::{Act, Beside, Fate, Level, Txn, anomalies},
        linearizability::Budget,
    },
    engine::{Change, Told, model::Known},
    show_bytes,
};

pub(super) const LAW: EngineLaw = EngineLaw {
    name: "engine-anomalies",
    promise: "What transactions read and wrote can have happened one after another.",
    check,
};

/// Steps for the circles of one history. A circle is found in any case; this is for its words.
const STEPS: u64 = 1_000_000;
/// Reads of more keys are left to the other laws.
const READ_MAX: usize = 16;

type Place<'h> = (u32, &'h [u8]);

fn check(case: &Case<'_>) -> Result<(), Broken> {
    let names = Names::new(case);
    let (txns, orders) = (names.transactions(case), names.orders(case));
    let found = anomalies(&txns, &orders, Beside::Nothing, &mut Budget(STEPS));
    let Some(anomaly) = found.forbidden_by(Level::Serializable) else { return Ok(()) };
    let ends = anomaly.txns.iter().map(|txn| txns[*txn].ended).max();
    Err(Broken::new(crate::Moment(ends.unwrap_or_default()), anomaly.words.clone()))
}

/// Keys by number, so that their order is that of their names.
struct Names<'h> {
    keys: BTreeMap<Place<'h>, String>,
}

impl<'h> Names<'h> {
    fn new(case: &Case<'h>) -> Names<'h> {
        let changes = case.history.writes.iter().flat_map(|write| &write.changes);
        let places: BTreeSet<Place<'h>> = changes.filter_map(place).collect();
        let name = |(number, place): (usize, Place<'h>)| {
            let (keyspace, key) = place;
            let key = show_bytes(key);
            (place, format!("{number:06} (key {key} of keyspace {keyspace})"))
        };
        Names { keys: places.into_iter().enumerate().map(name).collect() }
    }

    fn name(&self, place: Place<'_>) -> Option<String> {
        self.keys.get(&place).cloned()
    }

    /// Where a range of keys begins or ends among the names.
    fn bound(&self, keyspace: u32, key: Option<&[u8]>) -> String {
        let mut behind = match key {
            Some(key) => self.keys.range((keyspace, key)..),
            None => self.keys.range((keyspace + 1, &[][..])..),
        };
        behind.next().map_or(":".to_owned(), |(_, name)| name.clone())
    }

    /// The writes of each key that are history at the end, oldest first.
    fn orders(&self, case: &Case<'_>) -> BTreeMap<String, Vec<i64>> {
        let last = case.history.spans.len() - 1;
        let mut versions: BTreeMap<Place<'_>, BTreeMap<u64, i64>> = BTreeMap::new();
        for (id, known) in case.knowledge.known.iter().enumerate() {
            let Some(known) = known.filter(|known| case.knowledge.is_alive(*known, last)) else {
                continue;
            };
            for change in &case.history.writes[id].changes {
                if let Change::Put { keyspace, key, .. } = change {
                    let of_key = versions.entry((*keyspace, key)).or_default();
                    of_key.insert(known.version, id as i64);
                }
            }
        }
        let name = |place| self.name(place).expect("every written key has a name");
        let order = |versions: BTreeMap<u64, i64>| versions.into_values().collect();
        versions.into_iter().map(|(place, of_key)| (name(place), order(of_key))).collect()
    }

    /// What is history at the end, what was refused, and what may have removed keys.
    fn transactions(&self, case: &Case<'_>) -> Vec<Txn> {
        let history = case.history;
        let last = history.spans.len() - 1;
        let alive = |known: Known| case.knowledge.is_alive(known, last);
        let is_there =
            |id: usize| case.knowledge.known.get(id).copied().flatten().is_some_and(alive);
        let is_refused =
            |id: usize| history.writes.get(id).is_some_and(|write| write.told == Told::Refused);
        let mut txns = Vec::new();
        for (id, write) in history.writes.iter().enumerate() {
            if !is_there(id) && !is_refused(id) {
                continue;
            }
            let fate = if is_refused(id) { Fate::Aborted } else { Fate::Committed };
            let looks = write.rests_on.iter();
            let mut acts: Vec<Act> = looks
                .flat_map(|look| self.reads(look, |id| is_there(id) || is_refused(id)))
                .collect();
            acts.extend(write.changes.iter().filter_map(|change| {
                let name = self.name(place(change)?)?;
                Some(match change {
                    Change::Put { .. } => Act::Write(name, id as i64),
                    _ => Act::Delete(name),
                })
            }));
            let ended = match write.told {
                Told::Version { at, .. } => at.0,
                _ => write.invoked.0,
            };
            let (name, began) = (format!("write {id}"), write.invoked.0);
            txns.push(Txn { name, process: 0, began, ended, fate, acts });
        }
        for (number, read) in history.reads.iter().enumerate() {
            let (version, to) = read.at;
            let is_history = read.span.is_some_and(|span| alive(Known { version, span }));
            if version != to || !is_history || read.look.found.len() > READ_MAX {
                continue;
            }
            let acts = self.reads(&read.look, |id| is_there(id) || is_refused(id));
            let name = format!("read {number} of version {version}");
            let (began, ended) = (read.done.0, read.done.0);
            txns.push(Txn { name, process: 0, began, ended, fate: Fate::Committed, acts });
        }
        let (name, acts) = ("removals".to_owned(), self.removals(case));
        txns.push(Txn { name, process: 0, began: 0, ended: 0, fate: Fate::Unknown, acts });
        txns
    }

    fn reads(&self, look: &super::Look, counts: impl Fn(usize) -> bool) -> Vec<Act> {
        let found: Vec<(String, i64)> = look
            .found
            .iter()
            .filter(|found| counts(found.write))
            .filter_map(|f| Some((self.name((look.keyspace, &f.key))?, f.write as i64)))
            .collect();
        if found.len() < look.found.len() {
            // What is no history any more was there instead of nothing.
            return found.into_iter().map(|(key, write)| Act::Read(key, Some(write))).collect();
        }
        let from = self.bound(look.keyspace, Some(&look.from));
        let to = self.bound(look.keyspace, look.to.as_deref());
        vec![Act::Range(from, to, found)]
    }

    /// Keys of which absence says nothing: somebody may have removed them, or their time is over.
    fn removals(&self, case: &Case<'_>) -> Vec<Act> {
        let mut gone: BTreeSet<String> = BTreeSet::new();
        for write in case.history.writes.iter().filter(|write| write.told != Told::Refused) {
            for change in &write.changes {
                match change {
                    Change::Put { deadline: None, .. } => {}
                    Change::Put { .. } | Change::Delete { .. } => {
                        gone.extend(place(change).and_then(|place| self.name(place)));
                    }
                    Change::Clear(keyspace) | Change::Drop(keyspace) => {
                        let all = self.keys.range((*keyspace, &[][..])..(keyspace + 1, &[][..]));
                        gone.extend(all.filter_map(|(place, _)| self.name(*place)));
                    }
                }
            }
        }
        gone.into_iter().map(Act::Delete).collect()
    }
}

fn place(change: &Change) -> Option<Place<'_>> {
    match change {
        Change::Put { keyspace, key, .. } | Change::Delete { keyspace, key } => {
            Some((*keyspace, key))
        }
        Change::Clear(_) | Change::Drop(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::*;

    const LAW: &str = "engine-anomalies";

    #[test]
    fn transactions_one_after_another_hold() {
        let mut h = strict();
        let a = h.put("a").at(1);
        let b = h.put("b").resting_on(("a", "b"), &[("a", 1, a)]).at(2);
        h.shows(2, &[("a", 1, a), ("b", 2, b)]);
        let c = h.put("a").resting_on(("a", "c"), &[("a", 1, a), ("b", 2, b)]).at(3);
        h.delete("b").at(4);
        h.put("d").resting_on(("b", "c"), &[]).at(5);
        h.shows(4, &[("a", 3, c)]);
        h.holds();
    }

    #[test]
    fn write_skew_is_told_as_a_circle() {
        let mut h = strict();
        let (a, b) = (h.put("a").at(1), h.put("b").at(2));
        let both = &[("a", 1, a), ("b", 2, b)];
        h.put("a").resting_on(("", "c"), both).at(3);
        h.holds();
        h.put("b").resting_on(("", "c"), both).at(4);
        h.breaks(
            LAW,
            "G2-item: write 2 comes before write 3: write 2 read 000001 (key b of keyspace 16) as \
             1, without the 3 of write 3; write 3 comes before write 2:",
        );
    }

    #[test]
    fn a_phantom_and_a_lost_update_are_found() {
        let mut h = strict();
        h.put("a").resting_on(("a", "z"), &[]).at(1);
        h.put("b").resting_on(("a", "z"), &[]).at(2);
        h.breaks(LAW, "G2: write 0 comes before write 1: write 0 read a range without 000001");
        let mut h = strict();
        let a = h.put("a").at(1);
        h.put("a").resting_on(("a", "b"), &[("a", 1, a)]).at(2);
        h.put("a").resting_on(("a", "b"), &[("a", 1, a)]).at(3);
        h.breaks(LAW, "lost update: write 1 and write 2 both read 000000 (key a of keyspace 16)");
    }

    #[test]
    fn a_read_of_half_a_transaction_is_read_skew() {
        let mut h = strict();
        let both = h.put_all(&["a", "b"]).at(1);
        let more = h.put_all(&["a", "b"]).at(2);
        h.shows(2, &[("a", 1, both), ("b", 2, more)]);
        h.breaks(LAW, "G-single: ");
    }

    #[test]
    fn what_a_crash_took_back_is_no_history() {
        let mut h = buffered(100);
        let a = h.put("a").at(1);
        let lost = h.put("b").resting_on(("a", "b"), &[("a", 1, a)]).at(2);
        h.shows(2, &[("a", 1, a), ("b", 2, lost)]);
        h.crash(1);
        h.put("b").resting_on(("a", "c"), &[("a", 1, a)]).at(2);
        h.holds();
    }

    #[test]
    fn a_read_of_what_was_refused_is_g1a() {
        let mut h = strict();
        let a = h.put("a").refused();
        h.put("b").resting_on(("a", "b"), &[("a", 1, a)]).at(2);
        h.breaks(LAW, "G1a: write 1 read 0 of 000000 (key a of keyspace 16), written by write 0");
    }
}

//! Dependencies of transactions that write registers: a read shows one write. Which came first is
//! told, or follows from what a transaction read before it wrote.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Act, Anomaly, Beside, Fate, Kind, Txn,
    depend::Writers,
    graph::{Graph, Why},
};

/// What is known of one register.
#[derive(Default)]
struct Register {
    /// Values of others that a transaction read first, and whether it wrote the key then.
    read: BTreeMap<Option<i64>, Vec<(usize, bool)>>,
    /// A value, and those written right behind it.
    next: BTreeMap<Option<i64>, BTreeSet<i64>>,
    /// Somebody removed it, so absent is no version of its own.
    was_deleted: bool,
}

pub(super) fn depend<'t>(
    txns: &'t [Txn],
    writers: &Writers<'t>,
    orders: &BTreeMap<String, Vec<i64>>,
    graph: &mut Graph<'t>,
    found: &mut Vec<Anomaly>,
) {
    let mut registers: BTreeMap<&str, Register> = BTreeMap::new();
    let mut ranges: Vec<(usize, &Act)> = Vec::new();
    for (txn, it) in txns.iter().enumerate().filter(|(_, it)| it.fate != Fate::Aborted) {
        of_txn(txn, it, &mut registers, &mut ranges);
    }
    for (key, register) in &mut registers {
        let told = orders.get(*key);
        let is_first = |value: &Option<i64>| value.is_none();
        let before: BTreeSet<i64> = register
            .next
            .iter()
            .filter(|(value, _)| !is_first(value))
            .flat_map(|(_, next)| next.iter().copied())
            .collect();
        if let Some(told) = told {
            register.next.clear();
            let olds = std::iter::once(None).chain(told.iter().copied().map(Some));
            for (old, new) in olds.zip(told) {
                register.next.entry(old).or_default().insert(*new);
            }
        } else {
            // Whatever is known to come behind nothing comes behind absence.
            let first = writers.last_of(key).map(|(value, _)| value);
            let first = first.filter(|value| !before.contains(value));
            register.next.entry(None).or_default().extend(first);
        }
        if register.was_deleted {
            register.next.remove(&None);
            register.read.remove(&None);
        }
        if let Some(value) = circle(&register.next) {
            let words =
                format!("{}: {value} of {key} is behind itself", Kind::CyclicVersions.name());
            let (kind, beside) = (Kind::CyclicVersions, Beside::Nothing);
            found.push(Anomaly { kind, beside, txns: Vec::new(), words });
            continue;
        }
        of_key(txns, writers, (key, register), graph, found);
    }
    for (txn, range) in ranges {
        let Act::Range(from, to, seen) = range else { continue };
        let seen: BTreeSet<&str> = seen.iter().map(|(key, _)| key.as_str()).collect();
        for key in writers.keys(from, to) {
            let Some(register) = registers.get(key) else { continue };
            if register.was_deleted || seen.contains(key) {
                continue;
            }
            for first in register.next.get(&None).into_iter().flatten() {
                if let Some(writer) = happened(writers, key, *first) {
                    graph.add(txn, writer, Why::RwRange, (key, None, Some(*first)));
                }
            }
        }
    }
}

fn of_txn<'t>(
    txn: usize,
    it: &'t Txn,
    registers: &mut BTreeMap<&'t str, Register>,
    ranges: &mut Vec<(usize, &'t Act)>,
) {
    // Of each key: what it last read or wrote, and whether it wrote.
    let mut at: BTreeMap<&str, (Option<i64>, bool)> = BTreeMap::new();
    let mut firsts: BTreeMap<&str, Option<i64>> = BTreeMap::new();
    let mut read = |key: &'t str, value: Option<i64>, at: &mut BTreeMap<&'t str, _>| {
        if it.fate == Fate::Committed && !at.contains_key(key) {
            firsts.insert(key, value);
            at.insert(key, (value, false));
        }
    };
    for act in &it.acts {
        match act {
            Act::Read(key, value) => read(key, *value, &mut at),
            Act::Range(_, _, seen) => {
                seen.iter().for_each(|(key, value)| read(key, Some(*value), &mut at));
                if it.fate == Fate::Committed {
                    ranges.push((txn, act));
                }
            }
            Act::Write(key, value) => {
                let register = registers.entry(key).or_default();
                if let Some((before, _)) = at.insert(key, (Some(*value), true)) {
                    register.next.entry(before).or_default().insert(*value);
                }
            }
            Act::Delete(key) => {
                registers.entry(key).or_default().was_deleted = true;
                at.remove(key.as_str());
            }
            Act::Append(..) | Act::List(..) => {}
        }
    }
    for (key, value) in firsts {
        let wrote =
            it.acts.iter().any(|act| matches!(act, Act::Write(k, _) | Act::Delete(k) if k == key));
        registers.entry(key).or_default().read.entry(value).or_default().push((txn, wrote));
    }
}

fn of_key<'t>(
    txns: &[Txn],
    writers: &Writers<'t>,
    (key, register): (&'t str, &Register),
    graph: &mut Graph<'t>,
    found: &mut Vec<Anomaly>,
) {
    for (value, readers) in &register.read {
        for (reader, _) in readers {
            let Some(value) = value else { continue };
            writers.judge(txns, *reader, (key, *value), true, found);
            if let Some(writer) = happened(writers, key, *value) {
                graph.add(writer, *reader, Why::Wr, (key, None, Some(*value)));
            }
        }
    }
    for (old, next) in &register.next {
        for new in next {
            let Some(writer) = happened(writers, key, *new) else { continue };
            if let Some(before) = old.and_then(|old| happened(writers, key, old)) {
                graph.add(before, writer, Why::Ww, (key, *old, Some(*new)));
            }
            for (reader, _) in register.read.get(old).into_iter().flatten() {
                graph.add(*reader, writer, Why::Rw, (key, *old, Some(*new)));
            }
        }
    }
    lost_updates(txns, key, &register.read, found);
}

fn happened(writers: &Writers<'_>, key: &str, value: i64) -> Option<usize> {
    let writer = writers.of(key, value)?;
    writers.happened[writer.txn].then_some(writer.txn)
}

/// Two that read the same version and both wrote.
pub(super) fn lost_updates(
    txns: &[Txn],
    key: &str,
    read: &BTreeMap<Option<i64>, Vec<(usize, bool)>>,
    found: &mut Vec<Anomaly>,
) {
    for (value, readers) in read {
        let mut wrote: Vec<usize> =
            readers.iter().filter(|(_, wrote)| *wrote).map(|(txn, _)| *txn).collect();
        wrote.dedup();
        let [one, other, ..] = wrote[..] else { continue };
        let value = value.map_or("absent".to_owned(), |value| value.to_string());
        let kind = Kind::LostUpdate;
        let words = format!(
            "{}: {} and {} both read {key} as {value} and then wrote it",
            kind.name(),
            txns[one].name,
            txns[other].name
        );
        found.push(Anomaly { kind, beside: Beside::Nothing, txns: vec![one, other], words });
    }
}

/// A value from which one comes back to it.
fn circle(next: &BTreeMap<Option<i64>, BTreeSet<i64>>) -> Option<i64> {
    // What has nothing before it is taken away until nothing is left, or a circle.
    let mut before: BTreeMap<i64, usize> = BTreeMap::new();
    for new in next.values().flatten() {
        *before.entry(*new).or_default() += 1;
    }
    let olds = next.keys().copied();
    let mut free: Vec<Option<i64>> =
        olds.filter(|old| old.is_none_or(|old| !before.contains_key(&old))).collect();
    while let Some(old) = free.pop() {
        for new in next.get(&old).into_iter().flatten() {
            let left = before.entry(*new).or_default();
            *left -= 1;
            if *left == 0 {
                before.remove(new);
                free.push(Some(*new));
            }
        }
    }
    before.into_keys().next()
}

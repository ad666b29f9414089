//! Who wrote what.

use std::collections::BTreeMap;

use super::{Act, Anomaly, Beside, Fate, Kind, Txn};

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) txn: usize,
    /// Whether the transaction wrote the key no more.
    pub(super) is_last: bool,
}

/// The writers of all values, and which transactions happened.
pub(super) struct Writers<'t> {
    by_value: BTreeMap<&'t str, BTreeMap<i64, Option<Writer>>>,
    /// Whether each transaction happened, as far as anybody knows.
    pub(super) happened: Vec<bool>,
}

impl<'t> Writers<'t> {
    pub(super) fn new(txns: &'t [Txn]) -> Writers<'t> {
        let mut by_value: BTreeMap<&str, BTreeMap<i64, Option<Writer>>> = BTreeMap::new();
        for (txn, it) in txns.iter().enumerate() {
            let mut written: BTreeMap<&str, i64> = BTreeMap::new();
            for (key, value) in it.acts.iter().filter_map(writes) {
                let values = by_value.entry(key).or_default();
                if let Some(before) = written.insert(key, value)
                    && let Some(Some(writer)) = values.get_mut(&before)
                {
                    writer.is_last = false;
                }
                let writer = Some(Writer { txn, is_last: true });
                // Written twice, it tells nothing.
                values.entry(value).and_modify(|twice| *twice = None).or_insert(writer);
            }
            for key in it.acts.iter().filter_map(deletes) {
                let last = written.remove(key).and_then(|value| by_value[key][&value]);
                if let Some(Writer { txn, .. }) = last {
                    let values = by_value.get_mut(key).expect("it was written");
                    let of_txn = values.values_mut().flatten().filter(|w| w.txn == txn);
                    of_txn.for_each(|writer| writer.is_last = false);
                }
            }
        }
        let happened = txns.iter().map(|txn| txn.fate == Fate::Committed).collect();
        let mut writers = Writers { by_value, happened };
        for txn in txns.iter().filter(|txn| txn.fate == Fate::Committed) {
            for (key, value) in txn.acts.iter().flat_map(reads) {
                if let Some(writer) = writers.of(key, value)
                    && txns[writer.txn].fate == Fate::Unknown
                {
                    writers.happened[writer.txn] = true;
                }
            }
        }
        writers
    }

    /// Who wrote this value, if one transaction did, once.
    pub(super) fn of(&self, key: &str, value: i64) -> Option<Writer> {
        *self.by_value.get(key)?.get(&value)?
    }

    /// What happened was written to a key: values and transactions, the last of each.
    pub(super) fn last_of<'w>(&'w self, key: &str) -> impl Iterator<Item = (i64, usize)> + use<'w> {
        let values = self.by_value.get(key).into_iter().flatten();
        let writers = values.filter_map(|(value, writer)| writer.map(|writer| (*value, writer)));
        let last = writers.filter(|(_, writer)| writer.is_last && self.happened[writer.txn]);
        last.map(|(value, writer)| (value, writer.txn))
    }

    /// The keys of a range that were ever written a value.
    pub(super) fn keys(&self, from: &'t str, to: &'t str) -> impl Iterator<Item = &'t str> {
        let range = (from <= to).then(|| self.by_value.range(from..to));
        range.into_iter().flatten().map(|(key, _)| *key)
    }

    /// Judges a read of a value by another transaction: was it ever, and was it the last?
    pub(super) fn judge(
        &self,
        txns: &[Txn],
        reader: usize,
        (key, value): (&str, i64),
        is_newest: bool,
        found: &mut Vec<Anomaly>,
    ) {
        let Some(writer) = self.of(key, value).filter(|writer| writer.txn != reader) else {
            return;
        };
        let (by, it) = (&txns[writer.txn], &txns[reader]);
        let (kind, why) = match by.fate {
            Fate::Aborted => (Kind::G1a, "which was aborted"),
            _ if is_newest && !writer.is_last => (Kind::G1b, "which wrote it again"),
            _ => return,
        };
        let words = format!(
            "{}: {} read {value} of {key}, written by {}, {why}",
            kind.name(),
            it.name,
            by.name
        );
        let txns = vec![writer.txn, reader];
        let anomaly = Anomaly { kind, beside: Beside::Nothing, txns, words };
        if !found.contains(&anomaly) {
            found.push(anomaly);
        }
    }
}

/// The key and value that an act writes.
pub(super) fn writes(act: &Act) -> Option<(&str, i64)> {
    match act {
        Act::Append(key, value) | Act::Write(key, value) => Some((key, *value)),
        _ => None,
    }
}

fn deletes(act: &Act) -> Option<&str> {
    match act {
        Act::Delete(key) => Some(key),
        _ => None,
    }
}

/// The keys and values that an act read.
pub(super) fn reads(act: &Act) -> Vec<(&str, i64)> {
    match act {
        Act::List(key, values) => values.iter().map(|value| (key.as_str(), *value)).collect(),
        Act::Read(key, Some(value)) => vec![(key, *value)],
        Act::Range(_, _, found) => found.iter().map(|(key, v)| (key.as_str(), *v)).collect(),
        _ => Vec::new(),
    }
}

//! Dependencies of transactions that append to lists: a read shows all writes before it, in order.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Act, Anomaly, Beside, Fate, Kind, Txn,
    depend::Writers,
    graph::{Graph, Why},
};

/// What a transaction read of a list before it appended to it itself.
struct Seen<'t> {
    txn: usize,
    values: &'t [i64],
}

pub(super) fn depend<'t>(
    txns: &'t [Txn],
    writers: &Writers<'t>,
    graph: &mut Graph<'t>,
    found: &mut Vec<Anomaly>,
) {
    let mut reads: BTreeMap<&'t str, Vec<Seen<'_>>> = BTreeMap::new();
    for (txn, it) in txns.iter().enumerate().filter(|(_, it)| it.fate == Fate::Committed) {
        let mut own: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
        for act in &it.acts {
            match act {
                Act::Append(key, value) => {
                    own.entry(key).or_default().insert(*value);
                }
                Act::List(key, values) => {
                    // Its own stand at the end; `internal` speaks of those that do not.
                    let own = own.get(key.as_str());
                    let is_own = |value: &i64| own.is_some_and(|own| own.contains(value));
                    let others = values.iter().rposition(|value| !is_own(value));
                    let values = &values[..others.map_or(0, |at| at + 1)];
                    reads.entry(key).or_default().push(Seen { txn, values });
                }
                _ => {}
            }
        }
    }
    for (key, seen) in reads {
        of_key(txns, writers, (key, &seen), graph, found);
    }
}

fn of_key<'t>(
    txns: &[Txn],
    writers: &Writers<'t>,
    (key, seen): (&'t str, &[Seen<'_>]),
    graph: &mut Graph<'t>,
    found: &mut Vec<Anomaly>,
) {
    let Some(longest) = seen.iter().max_by_key(|seen| seen.values.len()) else { return };
    let order = longest.values;
    let mut tell = |kind: Kind, members: Vec<usize>, what: String| {
        let words = format!("{}: {what}", kind.name());
        found.push(Anomaly { kind, beside: Beside::Nothing, txns: members, words });
    };
    let mut once = BTreeSet::new();
    if let Some(twice) = order.iter().find(|value| !once.insert(**value)) {
        let what = format!("{} read {twice} twice in {key}", txns[longest.txn].name);
        tell(Kind::Duplicate, vec![longest.txn], what);
        return;
    }
    if let Some(other) = seen.iter().find(|seen| !order.starts_with(seen.values)) {
        let (one, two) = (&txns[longest.txn].name, &txns[other.txn].name);
        let what = format!("{one} read {key} as {order:?}, and {two} as {:?}", other.values);
        tell(Kind::IncompatibleOrder, vec![longest.txn, other.txn], what);
        return;
    }
    for Seen { txn, values } in seen {
        for (at, value) in values.iter().enumerate() {
            writers.judge(txns, *txn, (key, *value), at + 1 == values.len(), found);
        }
    }
    // The last append of each transaction stands for it.
    let writer = |value: i64| writers.of(key, value).map(|writer| writer.txn);
    let mut behind: Option<(usize, i64)> = None;
    for value in order {
        let Some(txn) = writer(*value) else { continue };
        if let Some((before, older)) = behind {
            graph.add(before, txn, Why::Ww, (key, Some(older), Some(*value)));
        }
        behind = Some((txn, *value));
    }
    // What nobody has read comes behind all that somebody has.
    let unread: Vec<(i64, usize)> =
        writers.last_of(key).filter(|(value, _)| !once.contains(value)).collect();
    for (value, txn) in &unread {
        if let Some((before, older)) = behind {
            graph.add(before, *txn, Why::Ww, (key, Some(older), Some(*value)));
        }
    }
    let mut from: BTreeMap<Option<i64>, Vec<(usize, bool)>> = BTreeMap::new();
    for Seen { txn, values } in seen {
        let newest = values.last().copied();
        let by = newest.and_then(writer);
        if let (Some(by), Some(value)) = (by, newest) {
            graph.add(by, *txn, Why::Wr, (key, None, Some(value)));
        }
        if let Some(next) = order.get(values.len()) {
            writer(*next).into_iter().for_each(|next_txn| {
                graph.add(*txn, next_txn, Why::Rw, (key, newest, Some(*next)));
            });
        } else {
            for (value, next) in &unread {
                graph.add(*txn, *next, Why::Rw, (key, newest, Some(*value)));
            }
        }
        let writes = txns[*txn].acts.iter().any(|a| matches!(a, Act::Append(k, _) if k == key));
        from.entry(newest).or_default().push((*txn, writes));
    }
    super::registers::lost_updates(txns, key, &from, found);
}

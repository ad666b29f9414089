//! What users of a database by itself mean to make.

use std::collections::{BTreeMap, BTreeSet};

use orloj_invariants::engine::{Change, History, KeyspaceId, Look, Told, value};

use super::{NEAR_MS, PAGE, Shapes, Sizes, Threshold, beginnings, shape};
use crate::{Met, scenario::EnginePlan};

/// Keys longer than this are long.
const LONG_KEY: usize = 200;
/// Values longer than this fill most of a page, or several.
const LONG_VALUE: usize = 2_000;

type Place<'h> = (KeyspaceId, &'h [u8]);

/// The shapes of one run.
pub(crate) fn of_engine(history: &History, plan: &EnginePlan) -> Vec<Met> {
    let mut keys: BTreeSet<&[u8]> = BTreeSet::new();
    let mut gone: BTreeSet<Place<'_>> = BTreeSet::new();
    let mut deadlines: BTreeMap<Place<'_>, Vec<u64>> = BTreeMap::new();
    let (mut threshold, mut changes) = (Threshold::default(), Sizes::default());
    let (mut long_values, mut made_again, mut cleared, mut dropped) = (0, 0, 0, 0);
    for (id, write) in history.writes.iter().enumerate() {
        changes.add(write.changes.len());
        for change in &write.changes {
            match change {
                Change::Put { keyspace, key, deadline } => {
                    let length = value(id, *keyspace, key).len();
                    threshold.add(length, plan.inline_bytes);
                    long_values += u64::from(length > LONG_VALUE);
                    keys.insert(key);
                    let place = (*keyspace, key.as_slice());
                    made_again += u64::from(gone.remove(&place));
                    deadlines.entry(place).or_default().extend(deadline);
                }
                Change::Delete { keyspace, key } => {
                    gone.insert((*keyspace, key));
                }
                Change::Clear(_) => cleared += 1,
                Change::Drop(_) => dropped += 1,
            }
        }
    }
    let (mut single, mut ranges) = (Sizes::default(), Sizes::default());
    let (mut before, mut after) = (0, 0);
    for read in &history.reads {
        let Look { keyspace, from, to, found, now, .. } = &read.look;
        if !is_single(from, to.as_deref()) {
            ranges.add(found.len());
            continue;
        }
        single.add(found.len());
        for deadline in deadlines.get(&(*keyspace, from.as_slice())).into_iter().flatten() {
            before += u64::from(now.1 < *deadline && deadline - now.1 <= NEAR_MS);
            after += u64::from(now.0 >= *deadline && now.0 - deadline <= NEAR_MS);
        }
    }
    let told = |is: fn(&Told) -> bool| history.writes.iter().filter(|w| is(&w.told)).count();
    let rows = |content: &[(KeyspaceId, orloj_invariants::engine::Found)]| {
        let sizes = content
            .iter()
            .map(|(space, found)| found.key.len() + value(found.write, *space, &found.key).len());
        sizes.sum::<usize>()
    };
    let pages = history.dumps.iter().filter(|dump| rows(&dump.content) > PAGE).count();
    let long_keys = keys.iter().filter(|key| key.len() > LONG_KEY).count();

    let mut shapes = Shapes::default();
    shape!(shapes, "engine: a key that is not there", single.0[0]);
    shape!(shapes, "engine: a key that is there", single.0[1]);
    shape!(shapes, "engine: a range of nothing", ranges.0[0]);
    shape!(shapes, "engine: a range of one", ranges.0[1]);
    shape!(shapes, "engine: a range of many", ranges.0[2]);
    shape!(shapes, "engine: a write of one key", changes.0[1]);
    shape!(shapes, "engine: a write of many keys", changes.0[2]);
    shape!(shapes, "engine: a write that was refused", told(|told| *told == Told::Refused));
    shape!(
        shapes,
        "engine: a write that was taken back",
        told(|told| matches!(told, Told::TakenBack { .. }))
    );
    shape!(shapes, "engine: a key that another begins with", beginnings(&keys));
    shape!(shapes, "engine: a long key", long_keys);
    shape!(shapes, "engine: a long value", long_values);
    shape!(shapes, "engine: a value one below what a page keeps", threshold.0[0]);
    shape!(shapes, "engine: the longest value that a page keeps", threshold.0[1]);
    shape!(shapes, "engine: a value one above what a page keeps", threshold.0[2]);
    shape!(shapes, "engine: a key deleted and made again", made_again);
    shape!(shapes, "engine: a key read just before its deadline", before);
    shape!(shapes, "engine: a key read just after its deadline", after);
    shape!(shapes, "engine: a keyspace that was emptied", cleared);
    shape!(shapes, "engine: a keyspace that was dropped", dropped);
    shape!(shapes, "engine: more than a page of rows", pages);
    shapes.0
}

/// Whether a range is that of one key: from it to the next there could be.
fn is_single(from: &[u8], to: Option<&[u8]>) -> bool {
    to.is_some_and(|to| to.len() == from.len() + 1 && to.starts_with(from) && to.ends_with(&[0]))
}

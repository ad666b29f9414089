//! The ways in which a case is made smaller, calmer and steadier.

use std::collections::BTreeSet;

use orloj_sim::Scheduler;
use toml::Value;

use super::{Trials, Until, minimise};
use crate::{
    case::{Anchor, Case, single},
    scenario::{Time, amount, time},
};

/// Candidates that are tried side by side.
const BATCH: usize = 8;
/// How many writes and syncs of the disk are tried as anchors.
const NEAR: u64 = 8;
/// How many candidates for a steadier case are tried of each kind.
const STEPS: usize = 6;

fn ids(case: &Case) -> Vec<u32> {
    let mut ids: Vec<u32> =
        case.clients.iter().flat_map(|client| client.steps.iter().map(|step| step.id)).collect();
    ids.sort_unstable();
    ids
}

/// Without what came after the failure, as far as halving finds where that was.
pub(super) fn cut_off(case: Case, trials: &dyn Trials) -> Case {
    let ids = ids(&case);
    let until = |end: usize| {
        let kept: BTreeSet<u32> = ids[..end].iter().copied().collect();
        case.keeping(|step| kept.contains(&step.id), |_| true)
    };
    let (mut low, mut high) = (0, ids.len());
    let mut best = case.clone();
    while low + 1 < high && !trials.is_over() {
        let middle = low.midpoint(high);
        let shorter = until(middle);
        if trials.first(std::slice::from_ref(&shorter), 1).is_some() {
            (high, best) = (middle, shorter);
        } else {
            low = middle;
        }
    }
    best
}

/// The last operations alone, if that is enough: a run that ended or stood still there did so for
/// what was under way.
pub(super) fn last(case: Case, trials: &dyn Trials) -> Case {
    let ids = ids(&case);
    let sizes = WINDOWS.iter().filter(|size| **size * 2 < ids.len());
    let candidates = sizes.flat_map(|size| neighbours(&case, &ids[ids.len() - size..])).collect();
    better(&case, candidates, &Until(trials, WINDOWS_UNTIL), 1)
}

/// A few neighbours of the operations, if that is enough: all clients' or one's, the last first.
pub(super) fn window(case: Case, trials: &dyn Trials) -> Case {
    let of_client =
        |client: &crate::case::Script| client.steps.iter().map(|step| step.id).collect();
    let mut sequences: Vec<Vec<u32>> = case.clients.iter().map(of_client).collect();
    if sequences.len() > 1 {
        sequences.push(ids(&case));
    }
    let total = ids(&case).len();
    for size in WINDOWS.iter().filter(|size| **size * 2 < total) {
        let mut candidates = Vec::new();
        for sequence in sequences.iter().rev() {
            for start in (0..sequence.len()).step_by((size / 2).max(1)).rev() {
                let end = (start + size).min(sequence.len());
                candidates.extend(neighbours(&case, &sequence[start..end]));
                if trials.is_over() {
                    return case;
                }
            }
        }
        let sooner = Until(trials, WINDOWS_UNTIL);
        if let Some(found) = sooner.first(&candidates, 1) {
            return candidates.swap_remove(found);
        }
    }
    case
}

/// Some operations, together as they were or one by one, with what struck meanwhile.
fn neighbours(case: &Case, ids: &[u32]) -> [Case; 2] {
    let kept: BTreeSet<u32> = ids.iter().copied().collect();
    let meanwhile = |number: usize| match case.strikes[number].after {
        Anchor::Sends(id) | Anchor::Hears(id) => kept.contains(&id),
        _ => false,
    };
    let whole = case.keeping(|step| kept.contains(&step.id), meanwhile);
    let mut parted = whole.clone();
    let steps = parted.clients.iter_mut().flat_map(|client| &mut client.steps);
    steps.for_each(|step| (step.with, step.keep) = (false, 0));
    [whole, parted]
}

/// How many neighbours are tried, and the share of the time that is left when no more are.
const WINDOWS: &[usize] = &[1, 4, 12, 32, 96, 256];
const WINDOWS_UNTIL: f64 = 0.7;

pub(super) fn fewer_strikes(case: Case, trials: &dyn Trials, need: usize) -> Case {
    let with = |kept: &[usize]| case.keeping(|_| true, |number| kept.contains(&number));
    let kept = minimise(
        (0..case.strikes.len()).collect(),
        BATCH,
        |parts| trials.first(&parts.iter().map(|part| with(part)).collect::<Vec<_>>(), need),
        || trials.is_over(),
    );
    with(&kept)
}

pub(super) fn fewer_clients(case: Case, trials: &dyn Trials, need: usize) -> Case {
    let with = |kept: &[usize]| {
        let ids: BTreeSet<u32> =
            kept.iter().flat_map(|c| case.clients[*c].steps.iter().map(|step| step.id)).collect();
        case.keeping(|step| ids.contains(&step.id), |_| true)
    };
    let kept = minimise(
        (0..case.clients.len()).collect(),
        BATCH,
        |parts| trials.first(&parts.iter().map(|part| with(part)).collect::<Vec<_>>(), need),
        || trials.is_over(),
    );
    with(&kept)
}

pub(super) fn fewer_steps(case: Case, trials: &dyn Trials, need: usize) -> Case {
    let with = |kept: &[u32]| case.keeping(|step| kept.binary_search(&step.id).is_ok(), |_| true);
    let kept = minimise(
        ids(&case),
        BATCH,
        |parts| trials.first(&parts.iter().map(|part| with(part)).collect::<Vec<_>>(), need),
        || trials.is_over(),
    );
    with(&kept)
}

/// Something of a case that can be calm.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Feature {
    /// A key of the world, in a table of it.
    Key(String, String),
    Buggify,
    Duration,
    Settle,
    Latency,
    Scheduler,
    Clock(String),
    Slow(usize),
    Resp3(usize),
    After(u32),
    With(u32),
    Together(u32),
    Keep(u32),
    Leave(u32),
    WalkAway(u32),
    Wait(usize),
}

/// A latency with nothing to draw.
const LATENCY: &str = "300us";
/// What makes a world what it is.
const ESSENTIAL: &[(&str, &str)] = &[
    ("node", "durability"),
    ("node", "window"),
    ("engine", "durability"),
    ("engine", "window"),
    ("engine", "ttl"),
    ("commands", "network"),
    ("commands", "key-life"),
    ("commands", "in-flight"),
    ("commands", "dependency-wait"),
    ("network", "latency"),
];

/// How soon everything must have completed, where that is not what is broken.
const SETTLE: &str = "1s";
/// Laws of which the time that is waited is a part.
const TIMED: &[&str] = &[
    "progress",
    "engine-progress",
    "exactly-one-reply",
    "unknown-resolved",
    "one-outcome",
    "out-of-time",
    "stalled",
];

/// What of a case can be calm: of the world and, if asked for, of each step.
fn features(case: &Case, of_steps: bool) -> Vec<Feature> {
    let mut features = Vec::new();
    for (name, table) in &case.world {
        for key in table.as_table().into_iter().flat_map(|table| table.keys()) {
            if !ESSENTIAL.contains(&(name, key)) {
                features.push(Feature::Key(name.clone(), key.clone()));
            }
        }
    }
    if case.world.get("buggify") != Some(&Value::Boolean(false)) {
        features.push(Feature::Buggify);
    }
    if case.world.get("duration").and_then(Value::as_str) != Some("0") {
        features.push(Feature::Duration);
    }
    if may_settle_sooner(case) {
        features.push(Feature::Settle);
    }
    if !case.world.contains_key("engine") && latency(case) != Some(LATENCY) {
        features.push(Feature::Latency);
    }
    if case.scheduler != Scheduler::Fifo {
        features.push(Feature::Scheduler);
    }
    features.extend(case.clocks.iter().map(|clock| Feature::Clock(clock.host.clone())));
    for (number, client) in case.clients.iter().enumerate() {
        features.extend(client.slow.then_some(Feature::Slow(number)));
        features.extend(client.resp3.then_some(Feature::Resp3(number)));
        for step in client.steps.iter().filter(|_| of_steps) {
            let id = step.id;
            features.extend((step.after > 0 && !step.with).then_some(Feature::After(id)));
            features.extend(step.with.then_some(Feature::With(id)));
            features.extend(step.together.then_some(Feature::Together(id)));
            features.extend((step.keep > 0).then_some(Feature::Keep(id)));
            features.extend(step.leave.then_some(Feature::Leave(id)));
            features.extend(step.walk_away.is_some().then_some(Feature::WalkAway(id)));
        }
    }
    let waits = case.strikes.iter().enumerate().filter(|(_, strike)| strike.wait > 0);
    features.extend(waits.map(|(number, _)| Feature::Wait(number)));
    features
}

/// Whether everything may have to complete sooner. Where a time is what is broken, less of it
/// breaks more; but what a defect breaks has to hold in the same time without it.
fn may_settle_sooner(case: &Case) -> bool {
    case.world.get("settle").and_then(Value::as_str) != Some(SETTLE)
        && (case.mutant.is_some() || !TIMED.contains(&case.law.as_str()))
}

/// With less time to complete everything: what gets nowhere does so at once.
pub(super) fn sooner(case: Case, trials: &dyn Trials) -> Case {
    if !may_settle_sooner(&case) {
        return case;
    }
    let mut sooner = case.clone();
    calm(&mut sooner, &Feature::Settle);
    better(&case, vec![sooner], trials, 1)
}

fn latency(case: &Case) -> Option<&str> {
    case.world.get("network")?.as_table()?.get("latency")?.as_str()
}

fn table<'c>(case: &'c mut Case, name: &str) -> Option<&'c mut toml::Table> {
    case.world
        .entry(name.to_owned())
        .or_insert_with(|| Value::Table(toml::Table::new()))
        .as_table_mut()
}

fn calm(case: &mut Case, feature: &Feature) {
    let step = |case: &mut Case, id: u32, how: &dyn Fn(&mut crate::case::Step)| {
        case.clients
            .iter_mut()
            .flat_map(|client| &mut client.steps)
            .filter(|step| step.id == id)
            .for_each(how);
    };
    match feature {
        Feature::Key(name, key) => {
            if let Some(table) = table(case, name) {
                table.remove(key);
                // Without its table a world would be of another kind.
                if table.is_empty() && !["engine", "commands"].contains(&name.as_str()) {
                    case.world.remove(name);
                }
            }
        }
        Feature::Buggify => {
            case.world.insert("buggify".to_owned(), false.into());
        }
        Feature::Duration => {
            case.world.insert("duration".to_owned(), "0".into());
        }
        Feature::Settle => {
            case.world.insert("settle".to_owned(), SETTLE.into());
        }
        Feature::Latency => {
            if let Some(table) = table(case, "network") {
                table.insert("latency".to_owned(), LATENCY.into());
            }
        }
        Feature::Scheduler => case.scheduler = Scheduler::Fifo,
        Feature::Clock(host) => case.clocks.retain(|clock| clock.host != *host),
        Feature::Slow(client) => case.clients[*client].slow = false,
        Feature::Resp3(client) => case.clients[*client].resp3 = false,
        Feature::After(id) => step(case, *id, &|step| step.after = 0),
        Feature::With(id) => step(case, *id, &|step| step.with = false),
        Feature::Together(id) => step(case, *id, &|step| step.together = false),
        Feature::Keep(id) => step(case, *id, &|step| step.keep = 0),
        Feature::Leave(id) => step(case, *id, &|step| step.leave = false),
        Feature::WalkAway(id) => step(case, *id, &|step| step.walk_away = None),
        Feature::Wait(number) => case.strikes[*number].wait = 0,
    }
}

/// With all of the world calm, or half of it, if that is enough.
pub(super) fn calm_at_once(case: Case, trials: &dyn Trials, need: usize) -> Case {
    let all = features(&case, false);
    let half = all.len() / 2;
    let candidates = [&all[..], &all[half..], &all[..half]].map(|some| {
        let mut calmer = case.clone();
        some.iter().for_each(|feature| calm(&mut calmer, feature));
        calmer
    });
    better(&case, candidates.to_vec(), trials, need)
}

/// With everything calm that can be.
pub(super) fn calmer(case: Case, trials: &dyn Trials, need: usize) -> Case {
    let all = features(&case, true);
    let with = |kept: &[Feature]| {
        let mut calmer = case.clone();
        all.iter().filter(|feature| !kept.contains(feature)).for_each(|f| calm(&mut calmer, f));
        calmer
    };
    let kept = minimise(
        all.clone(),
        BATCH,
        |parts| trials.first(&parts.iter().map(|part| with(part)).collect::<Vec<_>>(), need),
        || trials.is_over(),
    );
    with(&kept)
}

/// Every length of time in a case, to be looked at and changed.
fn lengths(case: &mut Case) -> Vec<&mut u64> {
    let mut lengths = Vec::new();
    // A client without patience is lost without a fault.
    let is_timed = TIMED.contains(&case.law.as_str());
    for client in &mut case.clients {
        lengths.extend((!is_timed).then_some(&mut client.patience));
        for step in &mut client.steps {
            lengths.push(&mut step.after);
            lengths.extend(&mut step.walk_away);
        }
    }
    lengths.extend(case.strikes.iter_mut().map(|strike| &mut strike.wait));
    lengths
}

/// One digit, and zeros.
fn one_digit(n: u64) -> u64 {
    let scale = 10_u64.pow(n.max(1).ilog10());
    n / scale * scale
}

/// With lengths of time that are short and round.
pub(super) fn rounder(mut case: Case, trials: &dyn Trials, need: usize) -> Case {
    let count = lengths(&mut case).len();
    for number in 0..count {
        let now = *lengths(&mut case)[number];
        let wanted = [one_digit(now / 8), one_digit(now / 2), one_digit(now)];
        let candidates = wanted.into_iter().filter(|to| *to > 0 && *to < now);
        let with = |to| {
            let mut rounder = case.clone();
            *lengths(&mut rounder)[number] = to;
            rounder
        };
        case = better(&case, candidates.map(with).collect(), trials, need);
    }
    for number in 0..case.strikes.len() {
        let Some(now) = case.strikes[number].blow.last().map(|last| last.high) else { continue };
        let wanted = [1_000_000, one_digit(now / 8), one_digit(now / 2), one_digit(now)];
        let candidates = wanted.into_iter().filter(|to| *to > 0 && *to < now);
        let with = |to| {
            let mut rounder = case.clone();
            rounder.strikes[number].blow.last().into_iter().for_each(|last| *last = single(to));
            rounder
        };
        case = better(&case, candidates.map(with).collect(), trials, need);
    }
    if let Some(now) = case.world.get("duration").and_then(Value::as_str)
        && let Ok(now) = time(now)
    {
        let wanted = [one_digit(now / 8), one_digit(now / 2), one_digit(now)];
        let with = |to| {
            let mut shorter = case.clone();
            shorter.world.insert("duration".to_owned(), amount::<Time>(to).into());
            shorter
        };
        let candidates = wanted.into_iter().filter(|to| *to > 0 && *to < now);
        case = better(&case, candidates.map(with).collect(), trials, need);
    }
    case
}

fn better(case: &Case, candidates: Vec<Case>, trials: &dyn Trials, need: usize) -> Case {
    if candidates.is_empty() || trials.is_over() {
        return case.clone();
    }
    match trials.first(&candidates, need) {
        Some(found) => candidates[found].clone(),
        None => case.clone(),
    }
}

/// Made to fail under more schedules: strikes anchored elsewhere, rates at their most.
pub(super) fn steadied(mut case: Case, trials: &dyn Trials) -> Case {
    let mut best = trials.failures(&case);
    let mut take = |case: &mut Case, candidates: Vec<Case>| {
        for candidate in candidates {
            if trials.is_over() {
                return;
            }
            let failures = trials.failures(&candidate);
            if failures > best {
                (*case, best) = (candidate, failures);
            }
        }
    };
    let mut rates = Vec::new();
    for name in ["network", "disk"] {
        let of = case.world.get(name).and_then(Value::as_table);
        for (key, value) in of.into_iter().flatten() {
            if value.as_str().is_some_and(|text| text.ends_with('%') && text != "100%") {
                rates.push((name, key.clone()));
            }
        }
    }
    for (name, key) in rates {
        let mut surer = case.clone();
        if let Some(table) = table(&mut surer, name) {
            table.insert(key, "100%".into());
        }
        take(&mut case, vec![surer]);
    }
    for number in 0..case.strikes.len() {
        let at = |after, wait| {
            let mut other = case.clone();
            (other.strikes[number].after, other.strikes[number].wait) = (after, wait);
            other
        };
        let wait = case.strikes[number].wait;
        let steps = ids(&case);
        let mut candidates = Vec::new();
        for id in steps.iter().rev().take(STEPS) {
            candidates.extend([at(Anchor::Hears(*id), 0), at(Anchor::Sends(*id), wait)]);
        }
        candidates.extend((1..=NEAR).map(|n| at(Anchor::Syncs(n), 0)));
        candidates.extend((1..=NEAR).map(|n| at(Anchor::Writes(n), 0)));
        take(&mut case, candidates);
    }
    case
}

/// Without what only seemed to be needed, and each operation and strike marked without which
/// nothing fails under any schedule.
pub(super) fn mark(mut case: Case, trials: &dyn Trials) -> Case {
    for id in ids(&case) {
        if trials.is_over() {
            return case;
        }
        let without = case.keeping(|step| step.id != id, |_| true);
        // One client there must be, with something to do or not.
        let necessary = trials.first(std::slice::from_ref(&without), 1).is_none();
        let step = case.clients.iter_mut().flat_map(|client| &mut client.steps);
        step.filter(|step| step.id == id).for_each(|step| step.necessary = necessary);
    }
    for number in 0..case.strikes.len() {
        if trials.is_over() {
            return case;
        }
        let without = case.keeping(|_| true, |other| other != number);
        case.strikes[number].necessary = trials.first(std::slice::from_ref(&without), 1).is_none();
    }
    case
}

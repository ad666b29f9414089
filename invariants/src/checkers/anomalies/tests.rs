use std::collections::BTreeMap;

use super::{Act, Beside, Fate, Findings, Kind, Level, Txn, anomalies};
use crate::checkers::linearizability::Budget;

fn txn(number: usize, acts: Vec<Act>) -> Txn {
    let (name, began) = (format!("T{number}"), number as u64 * 10);
    Txn { name, process: 0, began, ended: began + 5, fate: Fate::Committed, acts }
}

/// `a1 x`: append 1 to x; `w1 x`: write; `d x`: delete; `r1,2 x`: read the list 1, 2; `g1 x`: read
/// the register 1, `g x` absent; `p1 x..z`: read a range that holds only x, as 1.
fn acts(text: &str) -> Vec<Act> {
    let act = |word: &str| {
        let (what, key) = word.split_once(' ').expect("an act and a key");
        let (kind, values) = what.split_at(1);
        let values: Vec<i64> = values.split(',').filter_map(|value| value.parse().ok()).collect();
        let (key, one) = (key.to_owned(), values.first().copied());
        match (kind, one) {
            ("a", Some(value)) => Act::Append(key, value),
            ("w", Some(value)) => Act::Write(key, value),
            ("d", _) => Act::Delete(key),
            ("r", _) => Act::List(key, values),
            ("g", _) => Act::Read(key, one),
            ("p", _) => {
                let (from, to) = key.split_once("..").expect("a range");
                let found = one.map(|value| (from.to_owned(), value));
                Act::Range(from.to_owned(), to.to_owned(), found.into_iter().collect())
            }
            _ => panic!("{word}"),
        }
    };
    text.split("; ").map(act).collect()
}

fn history(texts: &[&str]) -> Vec<Txn> {
    texts.iter().enumerate().map(|(number, text)| txn(number, acts(text))).collect()
}

fn find(txns: &[Txn], orders: &[(&str, &[i64])], beside: Beside) -> Findings {
    let orders: BTreeMap<String, Vec<i64>> =
        orders.iter().map(|(key, order)| ((*key).to_owned(), order.to_vec())).collect();
    let found = anomalies(txns, &orders, beside, &mut Budget::default());
    assert!(found.is_complete, "a small history needs little");
    found
}

fn kinds(found: &Findings) -> Vec<Kind> {
    found.anomalies.iter().map(|anomaly| anomaly.kind).collect()
}

/// Asserts what is found, and the words of the first.
fn shows(texts: &[&str], orders: &[(&str, &[i64])], expected: &[Kind], words: &str) {
    let found = find(&history(texts), orders, Beside::Nothing);
    assert_eq!(kinds(&found), expected, "{texts:?}: {found:#?}");
    if let Some(first) = found.anomalies.first() {
        assert_eq!(first.words, words);
    }
}

#[test]
fn what_happened_one_after_another_shows_nothing() {
    shows(&["a1 x", "r1 x; a2 x; r1,2 x", "r1,2 x; r y", "a1 y"], &[], &[], "");
    shows(&["w1 x", "g1 x; w2 x; g2 x", "g2 x; g y", "w1 y; d y"], &[], &[], "");
    shows(&["w1 x", "p1 x..z; w2 y", "p1 x..y; g2 y"], &[], &[], "");
}

#[test]
fn dirty_writes_are_g0() {
    shows(
        &["a1 x; a1 y", "a2 x; a2 y", "r1,2 x; r2,1 y"],
        &[],
        &[Kind::G0],
        "G0: T0 comes before T1: T1 wrote 2 to x over its 1; \
         T1 comes before T0: T0 wrote 1 to y over its 2",
    );
    let orders: &[(&str, &[i64])] = &[("x", &[1, 2]), ("y", &[2, 1])];
    shows(
        &["w1 x; w1 y", "w2 x; w2 y"],
        orders,
        &[Kind::G0],
        "G0: T0 comes before T1: T1 wrote 2 to x over its 1; \
         T1 comes before T0: T0 wrote 1 to y over its 2",
    );
}

#[test]
fn reads_of_what_never_was_are_g1a_and_g1b() {
    let mut txns = history(&["a1 x", "r1 x"]);
    txns[0].fate = Fate::Aborted;
    let found = find(&txns, &[], Beside::Nothing);
    assert_eq!(kinds(&found), [Kind::G1a]);
    assert_eq!(found.anomalies[0].words, "G1a: T1 read 1 of x, written by T0, which was aborted");
    // Nobody knows of it, and somebody read it: then it happened.
    txns[0].fate = Fate::Unknown;
    assert_eq!(kinds(&find(&txns, &[], Beside::Nothing)), []);
    let words = "G1b: T1 read 1 of x, written by T0, which wrote it again";
    shows(&["a1 x; a2 x", "r1 x"], &[], &[Kind::G1b, Kind::GSingle], words);
    shows(&["w1 x; w2 x", "g1 x"], &[], &[Kind::G1b, Kind::GSingle], words);
    shows(&["w1 x; d x", "g1 x"], &[], &[Kind::G1b], words);
}

#[test]
fn circles_of_reads_are_g1c() {
    shows(
        &["a1 x; r1 y", "a1 y; r1 x"],
        &[],
        &[Kind::G1c],
        "G1c: T0 comes before T1: T1 read its 1 of x; T1 comes before T0: T0 read its 1 of y",
    );
    shows(
        &["w1 x; g1 y", "w1 y; g1 x"],
        &[],
        &[Kind::G1c],
        "G1c: T0 comes before T1: T1 read its 1 of x; T1 comes before T0: T0 read its 1 of y",
    );
}

#[test]
fn read_skew_is_g_single() {
    shows(
        &["a1 x; a1 y", "r x; r1 y", "r1 x"],
        &[],
        &[Kind::GSingle],
        "G-single: T1 comes before T0: T1 read x as absent, without the 1 of T0; \
         T0 comes before T1: T1 read its 1 of y",
    );
    shows(
        &["w1 x; w1 y", "g1 x; w2 x", "g1 y; g2 x; w3 y", "g1 x; g3 y"],
        &[],
        &[Kind::GSingle],
        "G-single: T3 comes before T1: T3 read x as 1, without the 2 of T1; \
         T1 comes before T2: T2 read its 2 of x; T2 comes before T3: T3 read its 3 of y",
    );
}

#[test]
fn write_skew_is_g2_item_and_a_phantom_g2() {
    shows(
        &["r x; a1 y", "r y; a1 x", "r1 x; r1 y"],
        &[],
        &[Kind::G2Item],
        "G2-item: T0 comes before T1: T0 read x as absent, without the 1 of T1; \
         T1 comes before T0: T1 read y as absent, without the 1 of T0",
    );
    shows(
        &["w0 a", "p0 a..k; w1 d", "p0 a..k; w1 e"],
        &[],
        &[Kind::G2],
        "G2: T1 comes before T2: T1 read a range without e, to which T2 wrote 1; \
         T2 comes before T1: T2 read a range without d, to which T1 wrote 1",
    );
    let found = find(&history(&["r x; a1 y", "r y; a1 x"]), &[], Beside::Nothing);
    assert!(found.forbidden_by(Level::SnapshotIsolation).is_none());
    assert!(found.forbidden_by(Level::RepeatableRead).is_some());
}

#[test]
fn lost_updates_are_named() {
    let words = "lost update: T1 and T2 both read x as 1 and then wrote it";
    let both = [Kind::LostUpdate, Kind::GSingle];
    shows(&["a1 x", "r1 x; a2 x", "r1 x; a3 x", "r1,2,3 x"], &[], &both, words);
    let orders: &[(&str, &[i64])] = &[("x", &[1, 2, 3])];
    shows(&["w1 x", "g1 x; w2 x", "g1 x; w3 x"], orders, &both, words);
    // Without an order of 2 and 3, each comes before the other.
    let unordered = [Kind::LostUpdate, Kind::G2Item];
    shows(&["w1 x", "g1 x; w2 x", "g1 x; w3 x"], &[], &unordered, words);
}

#[test]
fn a_transaction_sees_itself() {
    for bad in
        ["a1 x; r x", "a1 x; r1,2 x", "w1 x; g2 x", "w1 x; p x..y", "g1 x; g2 x", "d x; g1 x"]
    {
        let found = find(&history(&[bad, "a2 x", "w2 x", "w1 x"]), &[], Beside::Nothing);
        assert!(kinds(&found).contains(&Kind::Internal), "{bad}: {found:#?}");
    }
    let words = "internal inconsistency: T0 read x as [] where it had [1]";
    shows(&["a1 x; r x"], &[], &[Kind::Internal], words);
}

#[test]
fn lists_that_contradict_each_other_have_no_order() {
    let words = "incompatible order: T2 read x as [1, 2], and T3 as [2]";
    shows(&["a1 x", "a2 x", "r1,2 x", "r2 x"], &[], &[Kind::IncompatibleOrder], words);
    let words = "duplicate: T1 read 1 twice in x";
    shows(&["a1 x", "r1,1 x"], &[], &[Kind::Duplicate], words);
    let words = "cyclic versions: 1 of x is behind itself";
    shows(&["g1 x; w2 x", "g2 x; w1 x"], &[], &[Kind::CyclicVersions], words);
}

#[test]
fn sessions_and_real_time_are_orders_of_their_own() {
    // A stale read, which is serializable.
    let txns = history(&["a1 x", "r x"]);
    assert_eq!(kinds(&find(&txns, &[], Beside::Nothing)), []);
    let session = find(&txns, &[], Beside::Session);
    assert_eq!(
        session.anomalies[0].words,
        "G-single with sessions: T1 comes before T0: T1 read x as absent, without the 1 of T0; \
         T0 comes before T1: the same process ran it later"
    );
    let mut apart = txns.clone();
    apart[1].process = 1;
    assert_eq!(kinds(&find(&apart, &[], Beside::Session)), []);
    let real_time = find(&apart, &[], Beside::RealTime);
    assert_eq!(
        real_time.anomalies[0].words,
        "G-single in real time: T1 comes before T0: T1 read x as absent, without the 1 of T0; \
         T0 comes before T1: it was over before T1 began"
    );
    apart[1].began = 4;
    assert_eq!(kinds(&find(&apart, &[], Beside::RealTime)), []);
}

/// The history by which Elle's authors explain their method, told anew: the snapshot of T1 lacks
/// what T2 saw, and there is no read skew in it.
#[test]
fn a_long_circle_is_told_in_its_shortest_form() {
    let found = find(
        &history(&["a2 x", "a1 y; r x", "r z; r y; a5 x", "a2 z; r2 x", "r2,5 x; r1 y; r2 z"]),
        &[],
        Beside::Nothing,
    );
    assert_eq!(kinds(&found), [Kind::G2Item], "{found:#?}");
    assert_eq!(found.anomalies[0].txns.len(), 2);
}

/// SplitMix64 (Steele et al., OOPSLA 2014).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

const KEYS: [&str; 3] = ["x", "y", "z"];

/// How isolated a simulated store keeps its transactions.
#[derive(Clone, Copy, PartialEq)]
enum Store {
    Serial,
    Snapshot,
    Committed,
}

/// A store of lists and registers, two to four transactions at a time.
fn run(chance: &mut Chance, count: usize, store: Store) -> Vec<Txn> {
    struct Open {
        txn: Txn,
        left: u64,
        begun: usize,
        mine: Vec<(&'static str, i64)>,
    }
    let mut log: Vec<(&str, i64)> = Vec::new();
    let (mut txns, mut open, mut value) = (Vec::new(), Vec::<Open>::new(), 0);
    let wide = if store == Store::Serial { 1 } else { 2 + chance.below(3) as usize };
    while txns.len() < count {
        if open.len() < wide {
            let mut new = txn(0, Vec::new());
            new.began = txns.len() as u64 * 2;
            let (left, begun) = (1 + chance.below(4), log.len());
            open.push(Open { txn: new, left, begun, mine: Vec::new() });
            continue;
        }
        let at = chance.below(open.len() as u64) as usize;
        let it = &mut open[at];
        if it.left > 0 {
            it.left -= 1;
            let key = KEYS[chance.below(3) as usize];
            value += 1;
            let upto = if store == Store::Committed { log.len() } else { it.begun };
            let all = log[..upto].iter().chain(&it.mine);
            let list: Vec<i64> = all.filter(|(k, _)| *k == key).map(|(_, value)| *value).collect();
            let register = format!("{key}'");
            match chance.below(4) {
                0 => it.txn.acts.push(Act::List(key.to_owned(), list)),
                1 => it.txn.acts.push(Act::Read(register, list.last().copied())),
                _ => {
                    it.txn.acts.push(Act::Append(key.to_owned(), value));
                    it.txn.acts.push(Act::Write(register, value));
                    it.mine.push((key, value));
                }
            }
            continue;
        }
        let Open { mut txn, begun, mine, .. } = open.swap_remove(at);
        txn.name = format!("T{}", txns.len());
        txn.ended = txns.len() as u64 * 2 + 1;
        let conflicts = |(key, _): &(&str, i64)| log[begun..].iter().any(|(k, _)| k == key);
        if store == Store::Snapshot && mine.iter().any(conflicts) {
            txn.fate = Fate::Aborted;
        } else {
            log.extend(mine);
        }
        txns.push(txn);
    }
    let all = |key: &&str| log.iter().filter(|(k, _)| k == key).map(|(_, v)| *v).collect();
    let lists = KEYS.iter().map(|key| Act::List((*key).to_owned(), all(key)));
    let mut last = txn(0, lists.collect());
    (last.name, last.began, last.ended) = ("last".to_owned(), 9_998, 9_999);
    txns.push(last);
    txns
}

#[test]
fn stores_show_the_anomalies_of_their_level_and_no_others() {
    let mut chance = Chance(1);
    let (mut skews, mut reads) = (0, 0);
    for _ in 0..300 {
        let found = find(&run(&mut chance, 60, Store::Serial), &[], Beside::RealTime);
        assert_eq!(kinds(&found), [], "{found:#?}");
        let found = find(&run(&mut chance, 60, Store::Snapshot), &[], Beside::Nothing);
        assert_eq!(found.forbidden_by(Level::SnapshotIsolation), None, "{found:#?}");
        skews += usize::from(found.forbidden_by(Level::Serializable).is_some());
        let found = find(&run(&mut chance, 60, Store::Committed), &[], Beside::Nothing);
        assert_eq!(found.forbidden_by(Level::ReadCommitted), None, "{found:#?}");
        reads += usize::from(found.forbidden_by(Level::SnapshotIsolation).is_some());
    }
    assert!(skews > 100 && reads > 250, "{skews} write skews, {reads} read skews");
}

/// Whether the transactions can have happened one after another: every permutation.
fn is_serializable(
    txns: &[&Txn],
    done: &mut Vec<bool>,
    state: &BTreeMap<String, Vec<i64>>,
) -> bool {
    if done.iter().all(|done| *done) {
        return true;
    }
    for at in 0..txns.len() {
        if done[at] {
            continue;
        }
        let mut next = state.clone();
        let mut step = |act: &Act| match act {
            Act::Append(key, value) | Act::Write(key, value) => {
                next.entry(key.clone()).or_default().push(*value);
                true
            }
            Act::List(key, read) => next.entry(key.clone()).or_default() == read,
            Act::Read(key, read) => next.entry(key.clone()).or_default().last() == read.as_ref(),
            _ => panic!("the stores of this test do no such thing"),
        };
        if txns[at].acts.iter().all(&mut step) {
            done[at] = true;
            let found = is_serializable(txns, done, &next);
            done[at] = false;
            if found {
                return true;
            }
        }
    }
    false
}

/// Small histories of weak stores, some damaged further. All lists are read at the end, so nothing
/// is left to guess, and the search finds an anomaly exactly where no permutation explains them.
#[test]
fn it_agrees_with_every_permutation() {
    let mut chance = Chance(2);
    let mut verdicts = [0; 2];
    for round in 0..3_000 {
        let store = if round % 2 == 0 { Store::Committed } else { Store::Snapshot };
        let count = 2 + chance.below(3) as usize;
        let mut txns = run(&mut chance, count, store);
        let own = txns.len() - 1;
        let acts = txns[..own].iter_mut().flat_map(|txn| &mut txn.acts);
        let mut reads: Vec<&mut Vec<i64>> = acts
            .filter_map(|act| match act {
                Act::List(_, read) if !read.is_empty() => Some(read),
                _ => None,
            })
            .collect();
        if round % 4 > 0 && !reads.is_empty() {
            let at = chance.below(reads.len() as u64) as usize;
            reads[at].pop();
        }
        // The registers add nothing to the lists, and are not all read at the end.
        let of_list = |act: &Act| matches!(act, Act::Append(..) | Act::List(..));
        txns.iter_mut().for_each(|txn| txn.acts.retain(of_list));
        let committed: Vec<&Txn> = txns.iter().filter(|txn| txn.fate == Fate::Committed).collect();
        let mut done = vec![false; committed.len()];
        let truth = is_serializable(&committed, &mut done, &BTreeMap::new());
        verdicts[usize::from(truth)] += 1;
        let found = find(&txns, &[], Beside::Nothing);
        assert_eq!(found.anomalies.is_empty(), truth, "{txns:#?}\n{found:#?}");
    }
    assert!(verdicts.iter().all(|count| *count > 500), "both kinds came up: {verdicts:?}");
}

#[test]
fn a_large_knot_is_found_without_a_budget_for_its_circles() {
    let mut chance = Chance(3);
    let txns = run(&mut chance, 400, Store::Committed);
    let found = anomalies(&txns, &BTreeMap::new(), Beside::Nothing, &mut Budget(10));
    assert!(!found.is_complete);
    assert!(found.anomalies.iter().any(|anomaly| anomaly.words.contains("all come before")));
}

use super::{Budget, Call, Sequential, Verdict, brute, linearizable, linearizable_by};
use crate::checkers::models::{
    Counter, CounterOp, Kv, KvOp, List, ListOp, Register, RegisterOp, Set, SetOp,
};

fn call<I, O>(process: u32, (called, answered): (u64, u64), input: I, output: O) -> Call<I, O> {
    Call { process, input, called, answered: Some(answered), output: Some(output) }
}

fn lost<I, O>(process: u32, called: u64, input: I) -> Call<I, O> {
    Call { process, input, called, answered: None, output: None }
}

fn check<M: Sequential>(model: &M, calls: &[Call<M::Input, M::Output>]) -> Verdict {
    linearizable(model, calls, &mut Budget::default())
}

fn holds<M: Sequential>(model: &M, calls: &[Call<M::Input, M::Output>]) {
    let verdict = check(model, calls);
    let Verdict::Holds(order) = verdict else { panic!("it holds: {verdict:?}") };
    explains(model, calls, &order);
}

fn breaks<M: Sequential>(model: &M, calls: &[Call<M::Input, M::Output>], words: &str) {
    match check(model, calls) {
        Verdict::Violated(witness) => assert!(witness.words.contains(words), "{}", witness.words),
        other => panic!("it is broken: {other:?}"),
    }
}

/// An order that was returned is one: everything that was answered is in it once, in time, and the
/// model answers the same.
fn explains<M: Sequential>(model: &M, calls: &[Call<M::Input, M::Output>], order: &[usize]) {
    let mut states = vec![model.initial()];
    let mut latest = 0;
    for at in order {
        let call = &calls[*at];
        assert!(call.answered.is_none_or(|answered| answered >= latest), "{at} comes too late");
        latest = latest.max(call.called);
        let mut next = Vec::new();
        for state in &states {
            model.step(state, &call.input, call.output.as_ref(), &mut next);
        }
        assert!(!next.is_empty(), "{at} is answered wrongly in {order:?}");
        states = next;
    }
    for (at, call) in calls.iter().enumerate() {
        let times = order.iter().filter(|it| **it == at).count();
        assert!(times == 1 || times == 0 && call.answered.is_none(), "{at} comes {times} times");
    }
}

use CounterOp::Add;
use RegisterOp::{Cas, Read, Write};

#[test]
fn overlapping_operations_of_a_register_have_either_order() {
    let write = call(0, (1, 4), Write(1), Some(1));
    for seen in [None, Some(1)] {
        holds(&Register, &[write.clone(), call(1, (2, 3), Read, seen)]);
    }
    holds(&Register, &[write.clone(), call(1, (2, 6), Cas(Some(1), 2), Some(0))]);
    breaks(
        &Register,
        &[write.clone(), call(1, (5, 6), Read, None)],
        "process 1: read: nothing (5 to 6) fits nowhere: in every order of what came before, the \
         state is 1; one of them ends with process 0: write 1 (1 to 4)",
    );
    breaks(&Register, &[write, call(1, (2, 3), Read, Some(2))], "process 1: read: 2 (2 to 3)");
}

#[test]
fn two_reads_may_not_see_a_write_and_then_see_it_not() {
    let write = call(0, (1, 9), Write(1), Some(1));
    let (new, old) = (call(1, (2, 3), Read, Some(1)), call(2, (4, 5), Read, None));
    breaks(&Register, &[write, new, old], "process 2: read: nothing (4 to 5)");
}

#[test]
fn a_lost_write_takes_effect_late_or_never_but_not_twice() {
    let lost_write = lost(0, 1, Write(1));
    let zero = call(1, (2, 3), Write(0), Some(1));
    let see = |time, value| call(2, (time, time + 1), Read, Some(value));
    holds(&Register, &[lost_write.clone(), zero.clone(), see(4, 0), see(6, 1), see(8, 1)]);
    holds(&Register, &[lost_write.clone(), zero.clone(), see(4, 0), see(6, 0)]);
    let both = [lost_write.clone(), zero.clone(), see(4, 1), see(6, 0)];
    breaks(&Register, &both, "read: 0 (6 to 7)");
    let early = [see(2, 1), lost(0, 5, Write(1))];
    breaks(&Register, &early, "read: 1 (2 to 3)");
    let unseen = [lost_write, zero, see(4, 0), see(6, 3)];
    breaks(&Register, &unseen, "nobody knows of process 0: write 1 (1 to never answered)");
}

#[test]
fn a_process_keeps_its_order_even_where_it_does_not_wait() {
    let pipelined = |read| [call(0, (1, 9), Write(1), Some(1)), call(0, (2, 8), Read, read)];
    holds(&Register, &pipelined(Some(1)));
    breaks(&Register, &pipelined(None), "read: nothing (2 to 8)");
    // What a connection lost was done in order or not at all.
    let seen = |value: i64, time| call(7, (time, time + 1), Read, Some(value));
    let order =
        |first, then| [lost(0, 1, Write(1)), lost(0, 2, Write(2)), seen(first, 3), seen(then, 5)];
    holds(&Register, &order(1, 2));
    holds(&Register, &order(2, 2));
    breaks(&Register, &order(2, 1), "read: 1 (5 to 6)");
}

#[test]
fn counters_sets_lists_and_stores_have_good_and_bad_histories() {
    holds(&Counter, &[call(0, (1, 5), Add(2), 5), call(1, (2, 3), Add(3), 3)]);
    breaks(&Counter, &[call(0, (1, 5), Add(2), 2), call(1, (2, 3), Add(3), 3)], "the state is");
    holds(&Counter, &[lost(0, 1, Add(2)), lost(1, 1, Add(2)), call(2, (3, 4), CounterOp::Read, 4)]);
    breaks(&Counter, &[lost(0, 1, Add(2)), call(2, (3, 4), CounterOp::Read, 4)], "read: 4");

    let add = |process, time, it, new: i64| call(process, time, SetOp::Add(it), vec![new]);
    holds(
        &Set,
        &[add(0, (1, 4), 7, 0), add(1, (2, 3), 7, 1), call(2, (5, 6), SetOp::Read, vec![7])],
    );
    breaks(&Set, &[add(0, (1, 4), 7, 1), add(1, (2, 3), 7, 1)], "add 7: [1]");
    let gone = call(1, (5, 6), SetOp::Has(7), vec![0]);
    breaks(&Set, &[add(0, (1, 4), 7, 1), gone.clone()], "has 7: [0]");
    holds(&Set, &[add(0, (1, 4), 7, 1), lost(2, 2, SetOp::Remove(7)), gone]);

    let append = |process, time, it, len| call(process, time, ListOp::Append(it), vec![len]);
    let read = |time, all: &[i64]| call(9, time, ListOp::Read, all.to_vec());
    holds(&List, &[append(0, (1, 4), 7, 2), append(1, (2, 3), 8, 1), read((5, 6), &[8, 7])]);
    breaks(
        &List,
        &[append(0, (1, 4), 7, 2), append(1, (2, 3), 8, 1), read((5, 6), &[7, 8])],
        "[8, 7]",
    );
    let take = |time, it: &[i64]| call(3, time, ListOp::Take, it.to_vec());
    holds(&List, &[append(0, (1, 4), 7, 1), take((2, 3), &[]), take((5, 6), &[7])]);
    breaks(&List, &[append(0, (1, 4), 7, 1), take((5, 6), &[7]), take((7, 8), &[7])], "take: [7]");

    let put = |key: &str, text: &str, time| call(0, time, KvOp::Put(key.into(), text.into()), None);
    let get = |key: &str, text: Option<&str>, time| {
        call(1, time, KvOp::Get(key.into()), text.map(str::to_owned))
    };
    let by_key = |calls: &[_]| linearizable_by(&Kv, calls, KvOp::key, &mut Budget::default());
    let good = [put("x", "a", (1, 2)), put("y", "b", (3, 4)), get("x", Some("a"), (5, 6))];
    assert_eq!(by_key(&good), Verdict::Holds(Vec::new()));
    let bad = [put("x", "a", (1, 2)), put("y", "b", (3, 4)), get("y", None, (5, 6))];
    let Verdict::Violated(witness) = by_key(&bad) else { panic!("it is broken") };
    assert_eq!((witness.stuck, witness.before), (2, vec![1]));
}

#[test]
fn a_search_without_budget_says_so() {
    let mut calls: Vec<_> = (0..12).map(|n| call(n, (1, 90), Add(1 << n), 0)).collect();
    for call in &mut calls {
        call.output = None;
    }
    calls.push(call(20, (91, 92), CounterOp::Read, -1));
    assert_eq!(linearizable(&Counter, &calls, &mut Budget(100)), Verdict::Unknown);
    assert!(matches!(check(&Counter, &calls), Verdict::Violated(_)));
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

/// Clients of a correct store: each operation takes effect at one moment between its call and its
/// answer, some answers are lost, and some lost operations never happen.
fn run<M: Sequential>(
    model: &M,
    chance: &mut Chance,
    (clients, count, loss): (u32, usize, u64),
    ask: impl Fn(&mut Chance) -> M::Input,
    answer: impl Fn(&M::State, &M::Input) -> (M::State, M::Output),
) -> Vec<Call<M::Input, M::Output>> {
    let mut state = model.initial();
    let mut calls: Vec<Call<M::Input, M::Output>> = Vec::new();
    let mut open: Vec<(usize, Option<M::Output>)> = Vec::new();
    let (mut now, mut process) = (0, clients);
    let mut free: Vec<u32> = (0..clients).collect();
    while calls.len() < count || !open.is_empty() {
        now += 1;
        let may_ask = calls.len() < count && !free.is_empty();
        if may_ask && (open.is_empty() || chance.below(2) == 0) {
            let who = free.swap_remove(chance.below(free.len() as u64) as usize);
            open.push((calls.len(), None));
            let input = ask(chance);
            calls.push(Call { process: who, input, called: now, answered: None, output: None });
            continue;
        }
        let one = chance.below(open.len() as u64) as usize;
        let (at, heard) = &mut open[one];
        let lose = chance.below(100) < loss;
        if heard.is_none() && !(lose && chance.below(2) == 0) {
            let (next, output) = answer(&state, &calls[*at].input);
            (state, *heard) = (next, Some(output));
            continue;
        }
        let (at, heard) = open.swap_remove(one);
        if lose {
            free.push(process);
            process += 1;
        } else {
            (calls[at].answered, calls[at].output) = (Some(now), heard);
            free.push(calls[at].process);
        }
    }
    calls
}

fn ask_register(chance: &mut Chance) -> RegisterOp {
    let value = |chance: &mut Chance| chance.below(4) as i64;
    match chance.below(3) {
        0 => Read,
        1 => Write(value(chance)),
        _ => Cas(Some(value(chance)), value(chance)),
    }
}

fn answer_register(state: &Option<i64>, input: &RegisterOp) -> (Option<i64>, Option<i64>) {
    match input {
        Read => (*state, *state),
        Write(to) => (Some(*to), Some(1)),
        Cas(from, to) if state == from => (Some(*to), Some(1)),
        Cas(..) => (*state, Some(0)),
    }
}

#[test]
fn what_a_correct_store_answered_holds() {
    let mut chance = Chance(1);
    for _ in 0..300 {
        let size = (1 + chance.below(9) as u32, 1 + chance.below(200) as usize, 10);
        holds(&Register, &run(&Register, &mut chance, size, ask_register, answer_register));
        let ask = |chance: &mut Chance| match chance.below(2) {
            0 => CounterOp::Read,
            _ => Add(chance.below(3) as i64),
        };
        let answer = |state: &i64, input: &CounterOp| {
            let by = if let Add(by) = input { *by } else { 0 };
            (state + by, state + by)
        };
        holds(&Counter, &run(&Counter, &mut chance, size, ask, answer));
    }
}

/// Thousands of small histories, most of them wrong in some way, against the definition.
#[test]
fn it_agrees_with_every_permutation() {
    let mut chance = Chance(2);
    let mut verdicts = [0; 2];
    for _ in 0..6_000 {
        let size = (1 + chance.below(4) as u32, 2 + chance.below(6) as usize, 10);
        let mut calls = run(&Register, &mut chance, size, ask_register, answer_register);
        for _ in 0..chance.below(6) {
            let at = chance.below(calls.len() as u64) as usize;
            match (chance.below(4), calls[at].input) {
                // Another answer, another time, an answer lost, a pipeline.
                (0, Read) => calls[at].output = Some(Some(chance.below(4) as i64)),
                (0, _) => calls[at].output = Some(Some(chance.below(2) as i64)),
                (1, _) => calls[at].called = chance.below(calls[at].called) + 1,
                (2, _) => calls[at].answered = None,
                _ => calls[at].process = chance.below(2) as u32,
            }
            if calls[at].answered.is_none() {
                calls[at].output = None;
            }
        }
        let truth = brute::holds(&Register, &calls);
        verdicts[usize::from(truth)] += 1;
        match check(&Register, &calls) {
            Verdict::Holds(order) => {
                assert!(truth, "no permutation explains {calls:#?}");
                explains(&Register, &calls, &order);
            }
            Verdict::Violated(_) => assert!(!truth, "a permutation explains {calls:#?}"),
            Verdict::Unknown => panic!("a small history ran out of budget"),
        }
    }
    assert!(verdicts.iter().all(|count| *count > 1_000), "both kinds came up: {verdicts:?}");
}

/// A read of a store that is a moment behind is found as soon as it matters.
#[test]
fn a_stale_read_in_a_long_history_is_found() {
    let mut chance = Chance(3);
    let mut broken = 0;
    for _ in 0..20 {
        let mut calls = run(&Register, &mut chance, (5, 150, 2), ask_register, answer_register);
        let mut reads = calls.iter_mut().rev().filter(|call| call.input == Read);
        let read = reads.find(|call| call.output.is_some()).expect("somebody read");
        read.output = Some(Some(99));
        broken += usize::from(matches!(check(&Register, &calls), Verdict::Violated(_)));
    }
    assert_eq!(broken, 20);
}

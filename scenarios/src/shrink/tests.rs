//! Goal: what shrinks keeps failing, and nothing is left that could go.

use std::cell::Cell;

use super::*;
use crate::case::{Anchor, Blow, Origin, Script, Step, Strike, single};

fn least(items: Vec<u32>, fails: impl Fn(&[u32]) -> bool) -> (Vec<u32>, usize) {
    let asked = Cell::new(0);
    let first = |parts: &[Vec<u32>]| {
        asked.set(asked.get() + parts.len());
        parts.iter().position(|part| fails(part))
    };
    (minimise(items, 4, first, || false), asked.get())
}

#[test]
fn two_of_a_thousand_are_found() {
    let fails = |part: &[u32]| part.contains(&17) && part.contains(&801);
    let (found, asked) = least((0..1_000).collect(), fails);
    assert_eq!(found, [17, 801]);
    assert!(asked < 200, "{asked}");
}

#[test]
fn what_needs_any_three_keeps_three_and_their_order() {
    let (found, _) = least((0..50).collect(), |part| part.len() >= 3);
    assert_eq!(found.len(), 3);
    assert!(found.is_sorted());
}

#[test]
fn the_result_is_1_minimal_for_a_predicate_without_order() {
    // Fails with an even number of items that contains 9: taking one alone never helps, which no
    // ddmin sees; but what is left fails, and no single one of it can go.
    let fails = |part: &[u32]| part.contains(&9) && part.len().is_multiple_of(2);
    let (found, _) = least((0..64).collect(), fails);
    assert!(fails(&found));
    for gone in 0..found.len() {
        let mut without = found.clone();
        without.remove(gone);
        assert!(!fails(&without));
    }
}

#[test]
fn nothing_is_left_of_what_fails_anyway_and_all_of_what_never_fails_with_less() {
    assert_eq!(least((0..9).collect(), |_| true).0, Vec::<u32>::new());
    assert_eq!(least((0..9).collect(), |part| part.len() == 9).0.len(), 9);
}

/// Fails as a predicate says, under all of three schedules.
struct Says<F>(F);

impl<F: Fn(&Case) -> bool> Trials for Says<F> {
    fn first(&self, cases: &[Case], _need: usize) -> Option<usize> {
        cases.iter().position(|case| (self.0)(case))
    }
    fn failures(&self, case: &Case) -> usize {
        if (self.0)(case) { 3 } else { 0 }
    }
    fn left(&self) -> f64 {
        1.0
    }
}

fn large() -> Case {
    let step = |id: u32, text: String| Step { id, text, after: 1_234_567, ..Step::default() };
    let script = |client: u32| Script {
        patience: 1_000_000_000,
        steps: (0..40).map(|n| step(n * 3 + client, format!("GET k{n}"))).collect(),
        ..Script::default()
    };
    let world = "duration = \"1s\"\nsettle = \"5s\"\nbuggify = true\n\
                 [disk]\nslow = \"1%\"\nlost-write = \"40%\"\n[node]\nrows = \"2KiB\"";
    let strike = |id: u32| Strike {
        after: Anchor::Hears(id),
        wait: 7_777,
        blow: Blow::DiskStall { last: single(55_000_000) },
        necessary: false,
    };
    Case {
        title: "large".to_owned(),
        about: Vec::new(),
        law: "progress".to_owned(),
        mutant: None,
        fixed_by: None,
        scheduler: orloj_sim::Scheduler::Random,
        history: Origin::default(),
        world: world.parse().expect("this is TOML"),
        clocks: Vec::new(),
        clients: (0..3).map(script).collect(),
        strikes: vec![strike(10), strike(50), strike(90)],
    }
}

#[test]
fn a_case_keeps_what_fails_and_what_is_necessary_is_marked() {
    let fails = |case: &Case| {
        let has = |text: &str| case.clients.iter().any(|c| c.steps.iter().any(|s| s.text == text));
        has("GET k3") && has("GET k21") && !case.strikes.is_empty()
    };
    let small = shrink(large(), &Says(fails));
    assert!(fails(&small));
    assert_eq!((small.ops(), small.strikes.len(), small.clients.len()), (2, 1, 1));
    assert!(small.clients[0].steps.iter().all(|step| step.necessary && step.after == 0));
    assert!(small.strikes[0].necessary);
    assert!(!small.world.contains_key("disk") && !small.world.contains_key("node"));
    assert_eq!(small.scheduler, orloj_sim::Scheduler::Fifo);
    // What it was anchored to may have gone; it is anchored to something that is there.
    let Anchor::Hears(id) = small.strikes[0].after else { panic!("{small:?}") };
    assert!(small.place_of(id).is_some());
}

#[test]
fn rates_and_clients_stay_where_they_are_needed() {
    let fails = |case: &Case| {
        let rate = case.world.get("disk").and_then(|disk| disk.get("lost-write"));
        rate.is_some() && case.clients.len() >= 2
    };
    let small = shrink(large(), &Says(fails));
    assert_eq!((small.ops(), small.faults(), small.hosts()), (2, 1, 3));
}

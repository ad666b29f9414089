//! Goal: a scenario means what it says, and a wrong one says what is wrong with it.

use orloj_sim::choice::{Choices, Stream};

use super::*;

const SMALL: &str = r#"
title = "small"
promise = "nothing"
duration = "1s..2s"
settle = "5s"
swarm = true
[clients]
count = "2"
requests = "10..20"
patience = "1s"
[network]
reset = "1%..2%"
[[nemesis]]
kind = "crash"
every = "100ms..1s"
down = "10ms"
how = ["process", "power"]
"#;

fn refused(from: &str, to: &str) -> String {
    Scenario::parse("small", &SMALL.replace(from, to)).unwrap_err().to_string()
}

#[test]
fn every_built_in_scenario_makes_sense_and_can_be_planned() {
    for listing in list() {
        let scenario = find(listing.name).unwrap_or_else(|error| panic!("{error}"));
        for seed in 0..20 {
            let mut choices = Choices::from_seed(seed);
            let plan = scenario.plan(&mut choices, true);
            // A world without a node has users of the engine instead.
            let users = match scenario.engine_plan(&mut choices, true) {
                Some(engine) => engine.clients as usize,
                None => plan.clients.len(),
            };
            assert!(users > 0, "{}", listing.name);
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let unknown = refused("reset =", "resett =");
    assert!(unknown.contains("unknown field `resett`"), "{unknown}");
    assert!(unknown.contains("line 12"), "{unknown}");
    assert!(unknown.contains("`half-open`"), "the words there are: {unknown}");
    let range = refused("1s..2s", "1s..2parsecs");
    assert!(range.contains("is not a time such as"), "{range}");
    assert!(refused("\"power\"", "\"powr\"").contains("`power`"));
    assert!(refused("kind = \"crash\"", "kind = \"crush\"").contains("`crash`"));
    assert!(refused("down = \"10ms\"", "up = \"10ms\"").contains("unknown field `up`"));
    assert!(refused("title = \"small\"", "title = \"large\"").contains("its title is \"large\""));
    assert!(refused("swarm", "laws = [\"gravity\"]\nswarm").contains("no law is called"));
    assert!(refused("count = \"2\"", "count = \"0\"").contains("at least 1"));
    assert!(refused("[\"process\", \"power\"]", "[]").contains("at least one way"));
    let missing = find("nowhere").unwrap_err().to_string();
    assert!(missing.contains("there is no scenario \"nowhere\"; there are default"), "{missing}");
}

#[test]
fn a_longer_scenario_has_more_time_and_more_requests_and_is_the_same_otherwise() {
    let (plain, longer) = (find("default").expect("known"), find("default@8").expect("known"));
    assert_eq!(longer.title, "default@8");
    assert_eq!(longer.duration.low, 8 * plain.duration.low);
    assert_eq!(longer.clients.requests.high, 8 * plain.clients.requests.high);
    assert_eq!(longer.settle, plain.settle);
    for wrong in ["default@0", "default@", "default@x", "default@1001", "nowhere@2"] {
        assert!(find(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_seed_draws_one_plan_and_swarms_leave_faults_out() {
    let scenario = Scenario::parse("small", SMALL).expect("the example is right");
    let plan = |seed, faults| scenario.plan(&mut Choices::from_seed(seed), faults);
    assert_eq!(format!("{:?}", plan(7, true)), format!("{:?}", plan(7, true)));
    let plans: Vec<Plan> = (0..100).map(|seed| plan(seed, true)).collect();
    let count = |holds: fn(&Plan) -> bool| plans.iter().filter(|plan| holds(plan)).count();
    assert!((30..70).contains(&count(|plan| plan.network.reset_ppm > 0)));
    assert!((30..70).contains(&count(|plan| !plan.strikes.is_empty())));
    assert!((30..70).contains(&count(|plan| plan.buggify)));
}

#[test]
fn without_faults_the_workload_stays_the_same() {
    let scenario = Scenario::parse("small", SMALL).expect("the example is right");
    for seed in 0..50 {
        let with = scenario.plan(&mut Choices::from_seed(seed), true);
        let without = scenario.plan(&mut Choices::from_seed(seed), false);
        assert_eq!(format!("{:?}", with.clients), format!("{:?}", without.clients));
        assert_eq!(without.network.reset_ppm, 0);
        assert!(without.strikes.is_empty() && !without.buggify);
    }
}

/// The reader is linked with the simulator, whose traps and a fuzzer's sanitizer want the same
/// symbols; so the texts there are stand in for a corpus.
#[test]
fn no_damage_to_a_text_makes_its_reader_panic_and_what_is_refused_is_named() {
    let mut choices = Choices::from_seed(7);
    let mut below = |bound: usize| choices.draw(Stream::Swarm, "damage", bound as u64) as usize;
    let words = ["", "..", "%", "9999999999999999999999", "-1", "1e400ms", "\"", "[[", "ž", "\0"];
    let mut refused = 0;
    for listing in list() {
        for _ in 0..500 {
            let mut text = listing.text.to_owned();
            for _ in 0..=below(3) {
                let place = |at: usize| (0..=at).rev().find(|at| text.is_char_boundary(*at));
                let from = place(below(text.len())).unwrap_or_default();
                let to = place((from + below(12)).min(text.len())).unwrap_or_default();
                text.replace_range(from..to.max(from), words[below(words.len())]);
            }
            if let Err(error) = Scenario::parse(listing.name, &text) {
                let named = format!("scenario \"{}\": ", listing.name);
                assert!(error.to_string().starts_with(&named), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 1_000, "{refused} texts were refused");
}

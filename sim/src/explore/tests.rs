//! Small actors, proved: a lease with fencing, a retry with an idempotency key, two racing tasks.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use super::*;
use crate::{Config, Simulation, choice::Stream};

const ALL: Bounds = Bounds { states: 1_000_000, steps: 1_000 };

fn pick(choices: &mut Choices, site: &'static str, bound: usize) -> usize {
    choices.draw(Stream::Schedule, site, bound as u64) as usize
}

/// Two holders of a lease that runs out, and a store that they write to.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Lease {
    /// The last token that was granted, and to whom while the lease runs.
    token: u8,
    holder: Option<usize>,
    /// The token that each holder believes to have.
    believes: [Option<u8>; 2],
    /// Writes on their way: tokens.
    flying: BTreeSet<u8>,
    /// The highest token that the store has seen.
    fence: u8,
}

/// One thing happens: a grant, the end of a lease, a belief given up, a write sent or arriving.
fn lease(world: &mut Lease, choices: &mut Choices, is_fenced: bool) -> Result<bool, String> {
    match pick(choices, "event", 5) {
        0 if world.holder.is_none() && world.token < 3 => {
            let to = pick(choices, "to", 2);
            world.token += 1;
            (world.holder, world.believes[to]) = (Some(to), Some(world.token));
        }
        // Nobody tells the holder: it may stand still meanwhile.
        1 => world.holder = None,
        2 => world.believes[pick(choices, "who", 2)] = None,
        3 => world.flying.extend(world.believes[pick(choices, "who", 2)]),
        4 if !world.flying.is_empty() => {
            let nth = pick(choices, "which", world.flying.len());
            let token = *world.flying.iter().nth(nth).expect("it was counted");
            world.flying.remove(&token);
            if is_fenced && token < world.fence {
                return Ok(true);
            }
            if token < world.fence {
                return Err(format!("a write with token {token} came after {}", world.fence));
            }
            world.fence = token;
        }
        _ => {}
    }
    Ok(true)
}

#[test]
fn a_lease_needs_a_fence() {
    let fenced = explore(Lease::default(), ALL, Lease::clone, |w, c| lease(w, c, true));
    let fenced = fenced.expect("the fence holds");
    assert!(fenced.is_whole && fenced.states > 300, "{fenced:?}");
    let naked = explore(Lease::default(), ALL, Lease::clone, |w, c| lease(w, c, false));
    let naked = naked.expect_err("an old holder writes late");
    assert_eq!(naked.why, "a write with token 1 came after 2");
    // Grant, send, end, grant, send, and the younger arrives first.
    assert_eq!(naked.steps.len(), 7, "{naked}");
}

/// A client that asks again until it hears, and a server that may die between doing and keeping.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Retry {
    tries: u8,
    requests: u8,
    answers: u8,
    heard: bool,
    /// How often it was done; on disk, with the key if the server keeps keys.
    done: u8,
    kept: bool,
}

fn retry(world: &mut Retry, choices: &mut Choices, has_key: bool) -> Result<bool, String> {
    match pick(choices, "event", 4) {
        0 if !world.heard && world.tries < 4 => {
            (world.tries, world.requests) = (world.tries + 1, world.requests + 1)
        }
        1 if world.requests > 0 => {
            world.requests -= 1;
            if !(has_key && world.kept) {
                (world.done, world.kept) = (world.done + 1, true);
            }
            // A crash here loses the answer and nothing else.
            world.answers += u8::from(pick(choices, "crash", 2) == 0);
        }
        2 if world.answers > 0 => (world.answers, world.heard) = (world.answers - 1, true),
        3 if world.requests > 0 => world.requests -= 1, // Lost.
        _ => {}
    }
    if world.done > 1 {
        return Err(format!("done {} times", world.done));
    }
    match world.heard && world.done == 0 {
        true => Err("heard of what was never done".to_owned()),
        false => Ok(true),
    }
}

#[test]
fn a_retry_needs_an_idempotency_key() {
    let keyed = explore(Retry::default(), ALL, Retry::clone, |w, c| retry(w, c, true));
    assert!(keyed.is_ok_and(|all| all.is_whole && all.states > 50));
    let bare = explore(Retry::default(), ALL, Retry::clone, |w, c| retry(w, c, false));
    assert_eq!(bare.expect_err("a retry counts twice").why, "done 2 times");
}

#[test]
fn bounds_are_told() {
    let count = |n: &mut u32, c: &mut Choices| {
        *n += 1 + pick(c, "by", 3) as u32;
        Ok(true)
    };
    let few =
        explore(0_u32, Bounds { states: 50, steps: 1_000 }, |n| *n, count).expect("no property");
    assert!(!few.is_whole);
    let near =
        explore(0_u32, Bounds { states: 1_000, steps: 4 }, |n| *n, count).expect("no property");
    assert_eq!((near.deepest, near.states, near.is_whole), (4, 13, false));
}

/// All orders of three tasks of a real world: each puts its letter down twice, yielding between.
#[test]
fn every_order_of_the_tasks_of_a_world_is_run() {
    let mut ways = Ways::of(|choice| choice.site == "next-task");
    let mut orders = BTreeSet::new();
    let mut runs = 0;
    loop {
        let config = Config {
            source: Ways::source(),
            script: ways.script(),
            record: true,
            ..Config::seed(0)
        };
        let mut sim = Simulation::new(config);
        let cx = sim.idle_host("host");
        let text = Arc::new(Mutex::new(String::new()));
        let all = text.clone();
        sim.run(cx, async move {
            let put = move |letter: char| {
                let text = text.clone();
                async move {
                    text.lock().expect("nobody panics").push(letter);
                    cx.yield_now().await;
                    text.lock().expect("nobody panics").push(letter);
                }
            };
            let tasks = ['a', 'b', 'c'].map(|letter| cx.spawn("task", put(letter)));
            for task in tasks {
                let _ = task.await;
            }
        })
        .expect("nothing goes wrong");
        orders.insert(all.lock().expect("nobody panics").clone());
        runs += 1;
        if !ways.go_on(&sim.finish().recorded.expect("it was asked for")) {
            break;
        }
    }
    // 6! / (2! 2! 2!)
    assert_eq!(orders.len(), 90, "of {runs} runs");
}

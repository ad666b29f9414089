//! Goal: the budget holds whatever is asked for; what is asked for often stays, whatever is asked
//! for once. Nodes are put to the test where there are pages to load them from, in `checkpoint`.

use super::*;
use crate::{Durability, Options};

fn cache(budget: u64) -> Cache {
    Cache::new(budget, Tree::new(&Options::new("", Durability::InMemory)).into())
}

fn at(n: u64) -> ValuePointer {
    ValuePointer { segment: 1 + (n % 3) as u32, key_len: 0, offset: n, len: 0, sum: 0 }
}

/// Asks for a value as the engine does; whether it was there.
fn ask(cache: &Cache, n: u64, bytes: usize) -> bool {
    let hit = cache.block(at(n)).is_some();
    if !hit {
        cache.keep_block(at(n), vec![n as u8; bytes].into());
    }
    let counters = cache.counters();
    assert!(counters.bytes <= counters.budget, "{counters:?}");
    hit
}

#[test]
fn what_is_asked_for_often_outlives_a_scan() {
    let cache = cache(100 * 1000);
    for _ in 0..4 {
        for n in 0..60 {
            ask(&cache, n, 1000);
        }
    }
    assert!((0..60).all(|n| ask(&cache, n, 1000)));
    for n in 1000..6000 {
        assert!(!ask(&cache, n, 1000), "a scan finds nothing");
    }
    let left = (0..60).filter(|n| cache.block(at(*n)).is_some()).count();
    assert_eq!(left, 60, "the scan passed through probation");
}

#[test]
fn what_is_no_longer_asked_for_leaves_in_the_end() {
    let cache = cache(50 * 1000);
    let hot = |from: u64| {
        for _ in 0..30 {
            for n in from..from + 40 {
                ask(&cache, n, 1000);
            }
        }
        (from..from + 40).filter(|n| cache.block(at(*n)).is_some()).count()
    };
    assert_eq!(hot(0), 40);
    assert_eq!(hot(100), 40, "another set takes its place");
}

#[test]
fn a_budget_can_shrink_and_a_value_larger_than_it_is_not_kept() {
    let cache = cache(10_000);
    for n in 0..10 {
        ask(&cache, n, 1000);
    }
    assert!(cache.set_budget(3500));
    assert_eq!(cache.counters().bytes, 3000);
    assert!(!ask(&cache, 50, 4000) && !ask(&cache, 50, 4000), "never kept");
    let values = cache.counters().values;
    assert_eq!((values.hits, values.misses), (0, 12));
    assert!(values.evictions >= 7, "{values:?}");
}

#[test]
fn a_segment_that_is_gone_is_forgotten() {
    let cache = cache(100_000);
    for n in 0..9 {
        ask(&cache, n, 1000);
    }
    cache.forget_segment(1);
    assert_eq!(cache.counters().bytes, 6000);
    assert!((0..9).all(|n| cache.block(at(n)).is_some() == (n % 3 != 0)));
}

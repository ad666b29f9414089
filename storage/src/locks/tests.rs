//! Holders against each other, by hand and at random.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, Waker},
};

use orloj_kernel::Instant;

use super::*;
use crate::Error;

const KS: KeyspaceId = KeyspaceId(16);
const NEVER: Instant = Instant(u64::MAX);

pub(crate) fn is_over(wait: &mut Wait) -> bool {
    let mut cx = TaskContext::from_waker(Waker::noop());
    !matches!(Pin::new(&mut wait.answer).poll(&mut cx), Poll::Pending)
}

fn has(holder: &mut Holder, key: &[u8], mode: Mode) -> Option<Wait> {
    holder.lock(KS, key, mode).expect("nobody dies")
}

fn deadlock(key: &[u8]) -> Error {
    Error::Deadlock { key: key.to_vec() }
}

#[test]
fn a_lock_comes_when_the_holder_goes() {
    let locks = Arc::new(Locks::default());
    let (mut a, mut b) = (Holder::new(&locks, NEVER), Holder::new(&locks, NEVER));
    assert!(has(&mut a, b"k", Mode::Exclusive).is_none());
    assert!(has(&mut a, b"k", Mode::Shared).is_none(), "it has more");
    let mut wait = has(&mut b, b"k", Mode::Shared).expect("held by a");
    assert!(!is_over(&mut wait));
    assert!(locks.bars(None, KS, b"k") && locks.bars(Some(b.owner()), KS, b"k"));
    assert!(!locks.bars(Some(a.owner()), KS, b"k") && !locks.bars(None, KS, b"other"));
    drop(a);
    assert!(is_over(&mut wait));
    assert!(has(&mut b, b"k", Mode::Shared).is_none());
    drop(wait);
    assert!(locks.bars(None, KS, b"k"), "the place in the queue is gone, the lock is not");
    drop(b);
    assert!(locks.is_empty());
}

#[test]
fn the_same_key_of_another_keyspace_is_another() {
    let locks = Arc::new(Locks::default());
    let (mut a, mut b) = (Holder::new(&locks, NEVER), Holder::new(&locks, NEVER));
    assert!(has(&mut a, b"k", Mode::Exclusive).is_none());
    assert_eq!(b.lock(KeyspaceId(17), b"k", Mode::Exclusive).map(|wait| wait.is_none()), Ok(true));
}

#[test]
fn a_shared_lock_is_not_upgraded_and_one_for_update_is() {
    let locks = Arc::new(Locks::default());
    let (mut a, mut b) = (Holder::new(&locks, NEVER), Holder::new(&locks, NEVER));
    assert!(has(&mut a, b"k", Mode::Shared).is_none());
    let refused = a.lock(KS, b"k", Mode::Exclusive).map(|_| ());
    assert_eq!(refused, Err(Error::Upgrade { key: b"k".to_vec() }));
    assert!(has(&mut b, b"k", Mode::Update).is_none());
    let mut wait = has(&mut b, b"k", Mode::Exclusive).expect("a reads");
    drop(a);
    assert!(is_over(&mut wait));
    assert!(has(&mut b, b"k", Mode::Exclusive).is_none());
}

#[test]
fn the_youngest_of_a_circle_dies_and_lets_go_at_once() {
    let locks = Arc::new(Locks::default());
    let mut all: Vec<Holder> = (0..3).map(|_| Holder::new(&locks, NEVER)).collect();
    let keys = [b"a", b"b", b"c"];
    for (holder, key) in all.iter_mut().zip(keys) {
        assert!(has(holder, key, Mode::Exclusive).is_none());
    }
    // The youngest waits first, so another one finds the circle.
    let mut last = has(&mut all[2], keys[0], Mode::Shared).expect("held");
    let mut first = has(&mut all[0], keys[1], Mode::Shared).expect("held");
    let mut middle = has(&mut all[1], keys[2], Mode::Shared).expect("held, but not for long");
    assert!(is_over(&mut last) && is_over(&mut middle) && !is_over(&mut first));
    assert_eq!(all[2].lock(KS, keys[0], Mode::Shared).map(|_| ()), Err(deadlock(b"a")));
    assert_eq!(all[2].lock(KS, b"new", Mode::Shared).map(|_| ()), Err(deadlock(b"a")), "for ever");
    assert!(has(&mut all[1], keys[2], Mode::Shared).is_none());
    drop(all.remove(1));
    assert!(is_over(&mut first));
}

#[test]
fn who_closes_the_circle_may_be_the_youngest() {
    let locks = Arc::new(Locks::default());
    let (mut old, mut young) = (Holder::new(&locks, NEVER), Holder::new(&locks, NEVER));
    assert!(has(&mut old, b"a", Mode::Exclusive).is_none());
    assert!(has(&mut young, b"b", Mode::Exclusive).is_none());
    let mut wait = has(&mut old, b"b", Mode::Exclusive).expect("held");
    assert_eq!(young.lock(KS, b"a", Mode::Shared).map(|_| ()), Err(deadlock(b"a")));
    assert!(is_over(&mut wait), "before the dead one is dropped");
    assert!(has(&mut old, b"b", Mode::Exclusive).is_none());
}

#[test]
fn a_circle_may_go_through_a_queue() {
    let locks = Arc::new(Locks::default());
    let mut h: Vec<Holder> = (0..3).map(|_| Holder::new(&locks, NEVER)).collect();
    assert!(has(&mut h[0], b"a", Mode::Shared).is_none());
    assert!(has(&mut h[2], b"b", Mode::Exclusive).is_none());
    let _writer = has(&mut h[1], b"a", Mode::Exclusive).expect("read by the first");
    let mut behind = has(&mut h[2], b"a", Mode::Shared).expect("behind the writer");
    let mut first = has(&mut h[0], b"b", Mode::Shared).expect("held by the last");
    // first -> last -> writer -> first: the last one holds what it waits for only through a queue.
    assert!(is_over(&mut behind) && is_over(&mut first));
    assert_eq!(h[2].settle(), Err(deadlock(b"a")));
    assert!(has(&mut h[0], b"b", Mode::Shared).is_none());
}

#[test]
fn who_gives_up_waiting_keeps_the_rest() {
    let locks = Arc::new(Locks::default());
    let mut h: Vec<Holder> = (0..3).map(|_| Holder::new(&locks, NEVER)).collect();
    assert!(has(&mut h[0], b"a", Mode::Shared).is_none());
    assert!(has(&mut h[1], b"b", Mode::Shared).is_none());
    let writer = has(&mut h[1], b"a", Mode::Exclusive).expect("read by the first");
    let mut reader = has(&mut h[2], b"a", Mode::Shared).expect("behind the writer");
    drop(writer);
    assert!(is_over(&mut reader), "nobody is in its way now");
    assert_eq!(h[1].settle(), Ok(()));
    assert!(locks.bars(None, KS, b"b"));
}

#[test]
fn sets_are_locked_in_one_order_and_their_owners_live() {
    let locks = Arc::new(Locks::default());
    let (mut a, mut b) = (Holder::new(&locks, NEVER), Holder::new(&locks, NEVER));
    let x = |key| (KS, key, Mode::Exclusive);
    let (one, two): (&[u8], &[u8]) = (b"1", b"2");
    assert!(a.lock_all([x(two)]).expect("alive").is_none());
    let mut wait = b.lock_all([x(two), x(one)]).expect("alive").expect("2 is held");
    assert!(locks.bars(Some(a.owner()), KS, one), "1 came first, whatever the order of the set");
    // The older one asks out of order: it is mortal and dies, although the other is younger.
    assert_eq!(a.lock_all([x(one), x(two)]).map(|_| ()), Err(deadlock(one)));
    assert!(is_over(&mut wait));
    assert!(b.lock_all([x(two), x(one)]).expect("alive").is_none());
}

#[test]
fn the_strongest_mode_of_a_key_counts() {
    let locks = Arc::new(Locks::default());
    let mut a = Holder::new(&locks, NEVER);
    let set: [(KeyspaceId, &[u8], Mode); 2] =
        [(KS, b"k", Mode::Exclusive), (KS, b"k", Mode::Shared)];
    assert!(a.lock_all(set).expect("alive").is_none());
    let mut b = Holder::new(&locks, NEVER);
    assert!(has(&mut b, b"k", Mode::Shared).is_some());
}

/// SplitMix64: enough for choosing what happens next.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

const KEYS: [&[u8]; 5] = [b"a", b"b", b"c", b"d", b"e"];
const MODES: [Mode; 3] = [Mode::Shared, Mode::Update, Mode::Exclusive];

/// One owner at random: what it wants next, and where it waits.
struct Actor {
    holder: Holder,
    /// The whole set it locks, if it is of that kind.
    set: Option<Vec<(usize, Mode)>>,
    wants: Option<(usize, Mode)>,
    wait: Option<Wait>,
}

/// What a seed met, for the test to say that it met everything.
#[derive(Debug, Default, PartialEq)]
struct Met {
    waits: usize,
    deaths: usize,
    refusals: usize,
    sets: usize,
}

fn script(seed: u64, met: &mut Met) {
    let mut chance = Chance(seed);
    let locks = Arc::new(Locks::default());
    let mut actors: Vec<Actor> = Vec::new();
    for _ in 0..300 {
        if actors.len() < 6 && chance.below(3) == 0 {
            let set = (chance.below(2) == 0).then(|| {
                let mut draw = || (chance.below(KEYS.len()), MODES[chance.below(3)]);
                (0..3).map(|_| draw()).collect::<Vec<_>>()
            });
            let holder = Holder::new(&locks, NEVER);
            actors.push(Actor { holder, set, wants: None, wait: None });
            continue;
        }
        if actors.is_empty() {
            continue;
        }
        let at = chance.below(actors.len());
        if step(&mut actors[at], &mut chance, met) {
            actors.swap_remove(at);
        }
        check(&locks, seed, &actors);
    }
    // Whoever does not wait goes home; then nobody is left.
    while !actors.is_empty() {
        let before = actors.len();
        actors.retain_mut(|actor| !actor.wait.as_mut().is_none_or(is_over));
        assert!(actors.len() < before, "seed {seed}: everybody waits");
    }
    assert!(locks.is_empty() && locks.waiting().is_empty(), "seed {seed}: something is left");
}

/// `true` when the actor is done, or dead.
fn step(actor: &mut Actor, chance: &mut Chance, met: &mut Met) -> bool {
    if let Some(wait) = &mut actor.wait {
        if !is_over(wait) {
            // Now and then somebody loses patience.
            if chance.below(20) == 0 {
                actor.wait = None;
            }
            return false;
        }
        actor.wait = None;
    } else if chance.below(8) == 0 {
        return true;
    }
    let asked = match &actor.set {
        Some(set) => {
            met.sets += 1;
            actor.holder.lock_all(set.iter().map(|(key, mode)| (KS, KEYS[*key], *mode)))
        }
        None => {
            let draw = (chance.below(KEYS.len()), MODES[chance.below(3)]);
            let (key, mode) = *actor.wants.get_or_insert(draw);
            actor.holder.lock(KS, KEYS[key], mode)
        }
    };
    match asked {
        Ok(Some(wait)) => {
            met.waits += 1;
            actor.wait = Some(wait);
            false
        }
        Ok(None) => {
            actor.wants = None;
            false
        }
        Err(Error::Upgrade { .. }) => {
            met.refusals += 1;
            actor.wants = None;
            false
        }
        Err(Error::Deadlock { .. }) => {
            assert_eq!(actor.set, None, "who locks in order never dies");
            met.deaths += 1;
            true
        }
        Err(other) => panic!("{other}"),
    }
}

fn check(locks: &Locks, seed: u64, actors: &[Actor]) {
    for partition in &locks.partitions {
        let partition = partition.lock().unwrap_or_else(PoisonError::into_inner);
        partition.0.values().flat_map(BTreeMap::values).for_each(Lock::check);
    }
    let waiting = locks.waiting();
    for actor in actors {
        let cycle = locks.cycle(actor.holder.owner(), &waiting);
        assert_eq!(cycle, None, "seed {seed}: a circle of waiting");
    }
}

#[test]
fn at_random_nobody_waits_in_a_circle_and_who_locks_in_order_lives() {
    let run = || {
        let mut met = Met::default();
        (0..100).for_each(|seed| script(seed, &mut met));
        met
    };
    let met = run();
    let Met { waits, deaths, refusals, sets } = met;
    assert!(waits > 1_000 && deaths > 60 && refusals > 100 && sets > 1_000, "{met:?}");
    assert_eq!(run(), met, "the same every time");
}

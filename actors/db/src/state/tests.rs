//! Goal: what a command did is what its record does again, and what its undo takes back.
//! Method: random commands on few keys; after each, a second store that only reads records is
//! compared, and now and then a run of commands is undone.

use std::time::Duration;

use bytes::Bytes;
use orloj_net::{Answer, Command, Condition, Deadline, ExpireCondition, Expiry, TimeForm};

use super::*;

/// Xorshift, seeded.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn key(&mut self) -> Bytes {
        const KEYS: [&str; 5] = ["a", "b", "c", "n", "a key too long to be held inline"];
        Bytes::from_static(KEYS[self.below(5) as usize].as_bytes())
    }

    fn value(&mut self) -> Bytes {
        const VALUES: [&str; 5] = ["", "7", "-3", "word", "a value of a length that just fits"];
        Bytes::from_static(VALUES[self.below(5) as usize].as_bytes())
    }

    fn deadline(&mut self) -> Deadline {
        match self.below(3) {
            0 => Deadline::At(UnixMs(self.below(400))),
            _ => Deadline::In(Duration::from_millis(1 + self.below(60))),
        }
    }

    fn command(&mut self) -> Command {
        let key = self.key();
        match self.below(16) {
            0..5 => Command::Set {
                value: self.value(),
                expiry: match self.below(4) {
                    0 => Expiry::By(self.deadline()),
                    1 => Expiry::Keep,
                    _ => Expiry::None,
                },
                condition: match self.below(4) {
                    0 => Some(Condition::Absent),
                    1 => Some(Condition::Present),
                    _ => None,
                },
                get: self.below(4) == 0,
                key,
            },
            5 => Command::GetDel { key },
            6 => Command::Append { key, value: self.value() },
            7 | 8 => Command::Incr { key, by: 3 },
            9 => Command::MSet { pairs: vec![(key, self.value()), (self.key(), self.value())] },
            10 => Command::Del { keys: vec![key, self.key(), self.key()] },
            11 | 12 => Command::Expire {
                key,
                deadline: self.deadline(),
                condition: match self.below(5) {
                    0 => Some(ExpireCondition::Absent),
                    1 => Some(ExpireCondition::Present),
                    2 => Some(ExpireCondition::Later),
                    3 => Some(ExpireCondition::Earlier),
                    _ => None,
                },
            },
            13 => Command::Persist { key },
            14 if self.below(8) == 0 => Command::FlushAll,
            _ => Command::Get { key },
        }
    }
}

/// Everything a client can see.
fn visible(state: &State) -> Vec<(Vec<u8>, Entry)> {
    let alive = |e: &&Entry| e.deadline.is_none_or(|deadline| deadline > state.clock);
    let entries = state.map.walk(None).filter(|(_, e)| alive(e));
    entries.map(|(key, entry)| (key.as_bytes().to_vec(), entry.clone())).collect()
}

fn check(state: &State) {
    let due: Vec<_> =
        state.map.walk(None).filter_map(|(k, e)| Some((e.deadline?, k.clone()))).collect();
    assert_eq!(state.due, due.into_iter().collect(), "due holds the keys with a deadline");
    let between = |at: UnixMs| at > state.clock && at < state.next_due;
    assert!(!state.due.iter().any(|(at, _)| between(*at)), "a deadline before the next");
    assert_eq!(state.len(), visible(state).len());
    let memory = state
        .map
        .walk(None)
        .map(|(k, e)| KEY_COST + k.as_bytes().len() + e.value.len())
        .sum::<usize>();
    assert_eq!(state.memory(), memory);
}

#[test]
fn records_do_again_what_commands_did_and_undo_takes_it_back() {
    for seed in 1..200 {
        let mut chance = Chance(seed);
        let (mut state, mut replayed) = (State::new(1), State::new(1));
        let mut now = UnixMs(0);
        for _ in 0..300 {
            now.0 += chance.below(4);
            let mut undo = Vec::new();
            let before = visible(&state);
            let mut records = Vec::new();
            let doomed = chance.below(5) == 0;
            for _ in 0..1 + chance.below(6) {
                let command = chance.command();
                let mut record = Vec::new();
                let mut trail = Trail::new(&mut record, &mut undo);
                state.execute(&command, now, &mut trail);
                assert_eq!(trail.changed(), !record.is_empty());
                records.extend((!record.is_empty()).then_some(record));
                check(&state);
            }
            if doomed {
                let clock = replayed.clock;
                state.undo(undo);
                assert_eq!((visible(&state), state.clock), (before, clock), "seed {seed}");
            } else {
                assert!(records.iter().all(|record| replayed.replay(record)), "seed {seed}");
                state.sweep(state.clock, chance.below(3) as usize);
                replayed.sweep(replayed.clock, chance.below(3) as usize);
            }
            check(&state);
            check(&replayed);
            assert_eq!(visible(&state), visible(&replayed), "seed {seed}");
            assert_eq!(state.clock, replayed.clock, "seed {seed}");
        }
    }
}

fn run(state: &mut State, now: u64, command: Command) -> (Answer, Vec<u8>) {
    let (mut record, mut undo) = (Vec::new(), Vec::new());
    let answer = state.execute(&command, UnixMs(now), &mut Trail::new(&mut record, &mut undo));
    (answer, record)
}

/// A key that a reader was shown as gone stays gone, whatever the clock says after a restart.
#[test]
fn an_end_that_was_seen_is_in_the_journal() {
    let key = Bytes::from_static(b"k");
    let mut state = State::new(1);
    let set = Command::Set {
        key: key.clone(),
        value: key.clone(),
        expiry: Expiry::By(Deadline::In(Duration::from_millis(100))),
        condition: None,
        get: false,
    };
    let (_, first) = run(&mut state, 1_000, set);
    let get = Command::Get { key: key.clone() };
    let (answer, record) = run(&mut state, 1_099, get.clone());
    assert_eq!((answer, record.len()), (Answer::Bulk(key.clone().into()), 0));
    assert_eq!(state.before_next_due(UnixMs(5_000)), UnixMs(1_099));
    let (answer, second) = run(&mut state, 1_100, get.clone());
    assert_eq!(answer, Answer::Nil);
    assert!(!second.is_empty());

    let mut restarted = State::new(1);
    assert!(restarted.replay(&first) && restarted.replay(&second));
    let now = restarted.clock().0;
    assert_eq!(now, 1_100);
    assert_eq!(run(&mut restarted, now, get).0, Answer::Nil);
    let form = TimeForm::MillisLeft;
    assert_eq!(run(&mut restarted, now, Command::Ttl { key, form }).0, Answer::Int(-2));
    assert_eq!(run(&mut restarted, now, Command::DbSize).0, Answer::Int(0));
    assert_eq!(restarted.held(), 1);
    assert!(!restarted.sweep(UnixMs(1_100), 10));
    assert_eq!(restarted.held(), 0);
}

#[test]
fn a_scan_walks_every_key_once() {
    let mut state = State::new(1);
    let mut keys: Vec<String> = (0..57).map(|n| format!("key:{n}")).collect();
    for key in &keys {
        let pairs = vec![(Bytes::from(key.clone()), Bytes::new())];
        run(&mut state, 1, Command::MSet { pairs });
    }
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let scan = Command::Scan { after, pattern: None, count: 10 };
        let Answer::Page { next, keys } = run(&mut state, 1, scan).0 else { panic!("no page") };
        found.extend(keys.iter().map(|k| String::from_utf8_lossy(k).into_owned()));
        after = next;
        if after.is_none() {
            break;
        }
    }
    keys.sort();
    assert_eq!(found, keys);
    let pattern = Some(Bytes::from_static(b"*:5?"));
    let scan = Command::Scan { after: None, pattern, count: 1_000 };
    let Answer::Page { next: None, keys } = run(&mut state, 1, scan).0 else { panic!("no page") };
    assert_eq!(keys.len(), 7);
}

#[test]
fn records_that_make_no_sense_are_noticed() {
    let mut state = State::new(1);
    let pairs = vec![(Bytes::from_static(b"k"), Bytes::from_static(b"word"))];
    run(&mut state, 1, Command::MSet { pairs });
    let record = |effect: Effect<'_>| {
        let mut record = Vec::new();
        effect.write(&mut record, true);
        record
    };
    assert!(!state.replay(&record(Effect::Add { key: b"k", by: 1 })));
    assert!(!state.replay(&record(Effect::Deadline { key: b"absent", deadline: None })));
    assert!(!state.replay(b"\x07nonsense"));
    assert!(!state.replay(b""));
}

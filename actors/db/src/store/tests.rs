//! Goal: what a store holds does not depend on what of it is in memory, and is all there after the
//! database was opened again, counts included. Method: random commands in turns of random length,
//! on two stores: one with room for everything, one that forgets nearly every row at once and is
//! opened anew now and then.

use std::time::Duration;

use bytes::Bytes;
use orloj_kernel::Context;
use orloj_net::{Answer, Command, Condition, Deadline, Expiry, TimeForm};
use orloj_storage::{Durability, Options};

use super::*;

struct Chance(Context);

impl Chance {
    fn key(&self) -> Bytes {
        const KEYS: [&[u8]; 6] =
            [b"", b"\0", b"a", b"n", b"b", b"a key too long to be held inline"];
        Bytes::from_static(KEYS[self.0.below(6) as usize])
    }

    fn value(&self) -> Bytes {
        match self.0.below(4) {
            0 => Bytes::from_static(b"7"),
            1 => Bytes::from_static(b""),
            2 => Bytes::from(vec![b'v'; 700]),
            _ => Bytes::from_static(b"a word"),
        }
    }

    fn deadline(&self) -> Deadline {
        Deadline::In(Duration::from_millis(self.0.below(40)))
    }

    fn command(&self) -> Command {
        let key = self.key();
        match self.0.below(20) {
            0..6 => Command::Set {
                value: self.value(),
                expiry: match self.0.below(4) {
                    0 | 1 => Expiry::By(self.deadline()),
                    2 => Expiry::Keep,
                    _ => Expiry::None,
                },
                condition: match self.0.below(4) {
                    0 => Some(Condition::Absent),
                    1 => Some(Condition::Present),
                    _ => None,
                },
                get: self.0.below(4) == 0,
                key,
            },
            6 => Command::GetDel { key },
            7 => Command::Append { key, value: self.value() },
            8 => Command::Incr { key, by: 3 },
            9 => Command::MSet {
                pairs: vec![(self.key(), self.value()), (self.key(), self.value())],
            },
            10 => Command::Del { keys: vec![self.key(), self.key(), self.key()] },
            11 => Command::Expire { key, deadline: self.deadline(), condition: None },
            12 => Command::Persist { key },
            13 => Command::Ttl { key, form: TimeForm::UnixMillis },
            14 if self.0.below(8) == 0 => Command::FlushAll,
            15 | 16 => Command::DbSize,
            17 => Command::Scan { after: Some(key), pattern: None, count: 3 },
            18 => Command::Scan { after: None, pattern: None, count: 100 },
            _ => Command::Get { key },
        }
    }
}

async fn carry_out(store: &mut Store, commands: &[Command], now: UnixMs) -> Vec<Answer> {
    let mut answers = Vec::new();
    store.pass(now).await.expect("the disk is well");
    for (at, command) in commands.iter().enumerate() {
        let answer = loop {
            match store.execute(command, now) {
                Ok(answer) => break answer,
                Err(Wait::Rows) => store.load(&commands[at..]).await.expect("the disk is well"),
                Err(Wait::Walk) => {
                    store.commit(None).await.expect("the disk is well");
                    break store.walk(command).await.expect("the disk is well");
                }
            }
        };
        answers.push(answer);
    }
    store.commit(None).await.expect("the disk is well");
    answers
}

fn options(dir: &str) -> Options {
    let options = Options::new(dir, Durability::Buffered);
    Options { page_bytes: 4096, inline_bytes: 64, cache_bytes: 256 << 10, sweeps: false, ..options }
}

async fn open(cx: &Context, dir: &str, budget: usize) -> Store {
    let (db, _) = Database::open(*cx, options(dir)).await.expect("the disk is well");
    Store::open(cx, db, budget).await.expect("the disk is well")
}

#[orloj_sim::test(seeds = 6)]
async fn what_is_in_memory_makes_no_difference(cx: Context) {
    let chance = Chance(cx);
    let mut whole = open(&cx, "whole", 1 << 20).await;
    let mut bare = open(&cx, "bare", 0).await;
    let mut now = UnixMs(whole.clock().0.max(bare.clock().0) + 1);
    for _ in 0..200 {
        let commands: Vec<Command> = (0..cx.below(12)).map(|_| chance.command()).collect();
        let one = carry_out(&mut whole, &commands, now).await;
        let other = carry_out(&mut bare, &commands, now).await;
        assert_eq!(one, other, "{commands:?}");
        match cx.below(12) {
            0 => whole.sweep(3).await.expect("the disk is well"),
            1 => bare.sweep(2).await.expect("the disk is well"),
            2 => {
                let (db, clock) = (bare.db.clone(), bare.clock());
                drop(bare);
                db.close().await.expect("the disk is well");
                bare = open(&cx, "bare", 0).await;
                assert!(bare.clock() >= clock);
            }
            3 => bare.reset().await.expect("nothing is under way"),
            _ => {}
        }
        now = UnixMs(now.0.max(whole.clock().0).max(bare.clock().0) + cx.below(20));
    }
    assert!(whole.memory() > 0 && whole.turn() > 0);
}

/// A key that gets another deadline, or none, leaves nothing of the old one behind.
#[orloj_sim::test(seeds = 2)]
async fn the_index_of_deadlines_has_what_keys_have(cx: Context) {
    let chance = Chance(cx);
    let mut store = open(&cx, "data", 4096).await;
    let mut now = UnixMs(store.clock().0 + 1);
    for _ in 0..100 {
        let commands = (0..cx.below(12)).map(|_| chance.command());
        let commands: Vec<Command> = commands.filter(|c| *c != Command::FlushAll).collect();
        carry_out(&mut store, &commands, now).await;
        if cx.below(4) == 0 {
            store.sweep(3).await.expect("the disk is well");
            store.commit(None).await.expect("the disk is well");
        }
        let index = store.db.due(None, u64::MAX, 1_000).await.expect("the disk is well");
        assert_eq!(index.len() as u64, store.counts().expiring);
        now = UnixMs(now.0 + cx.below(20));
    }
}

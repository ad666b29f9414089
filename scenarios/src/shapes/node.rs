//! What clients that speak RESP mean to make.

use std::collections::{BTreeMap, BTreeSet};

use orloj_invariants::{Entry, Executed, History};
use orloj_net::{Answer, Command, Expiry, Key, UnixMs};

use super::{NEAR_MS, PAGE, Shapes, Sizes, Threshold, beginnings, shape};
use crate::{Met, scenario::Plan};

/// The shapes of one run.
pub(crate) fn of_node(history: &History, plan: &Plan) -> Vec<Met> {
    let mut seen = Seen::default();
    for life in &history.lives {
        life.executed.iter().for_each(|executed| seen.execute(executed, plan));
    }
    let asked = |wanted: fn(&Command) -> bool| {
        let of = history.lives.iter().flat_map(|life| &life.executed);
        of.filter(|executed| executed.op.is_some() && wanted(&executed.command)).count()
    };
    let mut shapes = Shapes::default();
    let count = |hot: bool| seen.keys.iter().filter(|key| key.starts_with(b"h") == hot).count();
    shape!(shapes, "node: a hot key", count(true));
    shape!(shapes, "node: a cold key", count(false));
    shape!(shapes, "node: a key that another begins with", beginnings(&seen.keys));
    shape!(shapes, "node: an answer of nothing", seen.sizes.0[0]);
    shape!(shapes, "node: an answer of one", seen.sizes.0[1]);
    shape!(shapes, "node: an answer of many", seen.sizes.0[2]);
    shape!(shapes, "node: an empty value", seen.empty);
    shape!(shapes, "node: a value nearly as long as any", seen.longest);
    shape!(shapes, "node: a value one below what a page keeps", seen.threshold.0[0]);
    shape!(shapes, "node: the longest value that a page keeps", seen.threshold.0[1]);
    shape!(shapes, "node: a value one above what a page keeps", seen.threshold.0[2]);
    shape!(shapes, "node: a number at the end of its range", seen.edge);
    shape!(shapes, "node: a key deleted and made again", seen.made_again);
    shape!(shapes, "node: a key expired and made again", seen.made_after_expiry);
    shape!(shapes, "node: a deadline that was over when it was set", seen.over);
    shape!(shapes, "node: a key used just before its deadline", seen.just_before);
    shape!(shapes, "node: a key used just after its deadline", seen.just_after);
    shape!(shapes, "node: a store that was emptied", asked(|c| matches!(c, Command::FlushAll)));
    let pages = |entries: &[Entry]| {
        entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum::<usize>() > PAGE
    };
    let dumps = history.dumps.iter();
    shape!(shapes, "node: more than a page of rows", dumps.filter(|d| pages(&d.entries)).count());
    shapes.0
}

/// What a command of the store shows of the data.
#[derive(Default)]
struct Seen {
    keys: BTreeSet<Key>,
    sizes: Sizes,
    threshold: Threshold,
    empty: u64,
    longest: u64,
    edge: u64,
    over: u64,
    just_before: u64,
    just_after: u64,
    made_again: u64,
    made_after_expiry: u64,
    gone: BTreeSet<Key>,
    deadlines: BTreeMap<Key, UnixMs>,
}

impl Seen {
    fn execute(&mut self, executed: &Executed, plan: &Plan) {
        let Executed { command, answer, at, .. } = executed;
        self.keys.extend(command.keys().cloned());
        for key in command.keys() {
            if let Some(deadline) = self.deadlines.get(key) {
                self.just_before += u64::from(at.0 < deadline.0 && deadline.0 - at.0 <= NEAR_MS);
                self.just_after += u64::from(at.0 >= deadline.0 && at.0 - deadline.0 <= NEAR_MS);
            }
        }
        self.answer(answer);
        if answer.is_refusal() {
            return;
        }
        match command {
            Command::Set { key, value, expiry, .. } if *answer != Answer::Nil => {
                self.write(key, value, plan);
                match expiry {
                    Expiry::By(deadline) => self.expires(key, deadline.at(*at), *at),
                    Expiry::None => self.lasts(key, *at),
                    Expiry::Keep => {}
                }
            }
            Command::MSet { pairs } => pairs.iter().for_each(|(key, value)| {
                self.write(key, value, plan);
                self.lasts(key, *at);
            }),
            Command::Append { key, value } => self.write(key, value, plan),
            Command::Incr { key, .. } => {
                self.made(key);
            }
            Command::Del { keys } => keys.iter().for_each(|key| self.deletes(key)),
            Command::GetDel { key } if *answer != Answer::Nil => self.deletes(key),
            Command::Expire { key, deadline, .. } if *answer == Answer::Int(1) => {
                self.expires(key, deadline.at(*at), *at);
            }
            Command::Persist { key } => {
                self.deadlines.remove(key);
            }
            _ => {}
        }
    }

    fn answer(&mut self, answer: &Answer) {
        match answer {
            Answer::Nil => self.sizes.add(0),
            Answer::Bulk(_) => self.sizes.add(1),
            Answer::Page { keys, .. } => self.sizes.add(keys.len()),
            Answer::List(items) => {
                self.sizes.add(items.iter().filter(|item| **item != Answer::Nil).count());
            }
            _ => {}
        }
    }

    fn write(&mut self, key: &Key, value: &[u8], plan: &Plan) {
        let length = value.len() as u64;
        let longest = plan.workload.value.high.max(plan.workload.large.high);
        self.empty += u64::from(length == 0);
        self.longest += u64::from(length * 10 >= longest * 9);
        self.threshold.add(value.len(), plan.storage.inline_bytes);
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
        self.edge += u64::from(number.is_some_and(|n| n > i64::MAX - 3));
        self.made(key);
    }

    fn made(&mut self, key: &Key) {
        self.made_again += u64::from(self.gone.remove(key));
    }

    fn deletes(&mut self, key: &Key) {
        self.gone.insert(key.clone());
        self.deadlines.remove(key);
    }

    fn expires(&mut self, key: &Key, deadline: UnixMs, now: UnixMs) {
        self.over += u64::from(deadline <= now);
        self.lasts(key, now);
        self.deadlines.insert(key.clone(), deadline);
    }

    fn lasts(&mut self, key: &Key, now: UnixMs) {
        let before = self.deadlines.remove(key);
        self.made_after_expiry += u64::from(before.is_some_and(|deadline| deadline <= now));
    }
}

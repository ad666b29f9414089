//! What a client asks next.
//!
//! A few hot keys and some cold ones. Keys with an odd number are counters, the others texts, and
//! now and then one is taken for the other. Every text that is set names the request that set it,
//! so a value found in the wrong place tells where it came from.

use std::time::Duration;

use bytes::Bytes;
use orloj_invariants::{OpId, Request};
use orloj_net::{
    Command, Condition, Deadline, ExpireCondition, Expiry, Key, TimeForm, UnixMs, Value,
};
use orloj_sim::{Control, choice::Stream};

use crate::scenario::WorkloadPlan;

/// A request to send, and the page of a scan that it goes on from.
pub(crate) struct Ask {
    pub(crate) request: Request,
    pub(crate) resumes: Option<OpId>,
}

pub(crate) struct Workload {
    client: u32,
    stream: Stream,
    plan: WorkloadPlan,
    made: u64,
}

impl Workload {
    pub(crate) fn new(client: u32, stream: Stream, plan: WorkloadPlan) -> Workload {
        Workload { client, stream, plan, made: 0 }
    }

    fn below(&self, site: &'static str, bound: u64) -> u64 {
        Control.choose(|choices| choices.draw(self.stream, site, bound))
    }

    fn chance(&self, site: &'static str, ppm: u32) -> bool {
        Control.choose(|choices| choices.chance(self.stream, site, ppm))
    }

    fn pick<T: Copy>(&self, site: &'static str, items: &[T]) -> T {
        items[self.below(site, items.len() as u64) as usize]
    }

    /// How long to wait now, in nanoseconds, so that the next request meets the end of a deadline.
    pub(crate) fn waits(&self) -> Option<u64> {
        if !self.chance("wait-for-deadline", self.plan.deadlines_ppm / 4) {
            return None;
        }
        Some(self.time())
    }

    fn time(&self) -> u64 {
        let span = self.plan.ttl;
        Control.choose(|choices| choices.between(self.stream, "ttl", span.low, span.high))
    }

    /// The next request, at the client's own time. `scan` is where a scan of this connection goes
    /// on.
    pub(crate) fn next(&mut self, wall: UnixMs, scan: Option<(OpId, Key)>) -> Ask {
        self.made += 1;
        let store = |command| Ask { request: Request::Store(command), resumes: None };
        if self.chance("whole", self.plan.whole_ppm) {
            return self.whole(scan);
        }
        if self.chance("deadline", self.plan.deadlines_ppm) {
            return store(self.deadline(wall));
        }
        if self.chance("write", self.plan.writes_ppm) {
            return store(self.write(wall));
        }
        if self.chance("echo", 50_000) {
            let text = Bytes::from(format!("echo c{}.{}", self.client, self.made));
            return Ask { request: Request::Echo(text), resumes: None };
        }
        store(self.read())
    }

    /// Keys are drawn so that the first hot key is the hottest.
    fn index(&self) -> u64 {
        if self.plan.cold > 0 && self.chance("cold", self.plan.cold_ppm) {
            return self.plan.hot + self.below("cold-key", self.plan.cold);
        }
        self.below("hot-key", self.plan.hot)
    }

    fn key(&self, index: u64) -> Key {
        let kind = if index < self.plan.hot { 'h' } else { 'c' };
        Bytes::from(format!("{kind}{index}"))
    }

    fn any_key(&self) -> Key {
        self.key(self.index())
    }

    fn some_keys(&self) -> Vec<Key> {
        (0..=self.below("keys", 3)).map(|_| self.any_key()).collect()
    }

    fn is_counter(&self, index: u64) -> bool {
        (index % 2 == 1) != self.chance("other-type", 30_000)
    }

    /// A text that names its request, filled up to a drawn length.
    fn text(&self) -> Value {
        let large = self.plan.large.high > 0 && self.chance("large", 10_000);
        let span = if large { self.plan.large } else { self.plan.value };
        let mut length = Control.choose(|c| c.between(self.stream, "length", span.low, span.high));
        if large && length.is_multiple_of(8) {
            // Around what a page still keeps.
            length = (self.plan.inline + length / 8 % 3).saturating_sub(1);
        }
        if length == 0 {
            return Bytes::new();
        }
        let mut text = format!("c{}.{}", self.client, self.made).into_bytes();
        // Short lengths cut nothing off: the name matters more.
        let length = usize::try_from(length).unwrap_or(0).max(text.len());
        text.resize(length, b'-');
        Bytes::from(text)
    }

    fn value(&self, index: u64) -> Value {
        if self.is_counter(index) {
            // Near the end of the range now and then, so that sums overflow.
            let edge = self.chance("edge", 20_000);
            let n = self.below("number", 1_000) as i64;
            return Bytes::from(if edge { i64::MAX - n % 3 } else { n - 500 }.to_string());
        }
        self.text()
    }

    fn set(&self, expiry: Expiry) -> Command {
        let index = self.index();
        let condition = match self.below("condition", 8) {
            0 => Some(Condition::Absent),
            1 => Some(Condition::Present),
            _ => None,
        };
        let get = self.chance("get", 150_000);
        Command::Set { key: self.key(index), value: self.value(index), expiry, condition, get }
    }

    fn write(&self, _wall: UnixMs) -> Command {
        match self.below("write-kind", 100) {
            0..35 => {
                self.set(if self.chance("keep", 100_000) { Expiry::Keep } else { Expiry::None })
            }
            35..60 => {
                let by = self.pick("by", &[1, 1, 1, -1, 5, -3, 1_000_000]);
                let mut index = self.index();
                if !self.is_counter(index) && self.plan.hot > 1 {
                    index ^= 1;
                }
                Command::Incr { key: self.key(index), by }
            }
            60..72 => Command::Append { key: self.any_key(), value: self.text() },
            72..82 => {
                let indexes: Vec<u64> =
                    (0..=self.below("pairs", 3)).map(|_| self.index()).collect();
                let pair = |index: &u64| (self.key(*index), self.value(*index));
                Command::MSet { pairs: indexes.iter().map(pair).collect() }
            }
            82..92 => Command::Del { keys: self.some_keys() },
            _ => Command::GetDel { key: self.any_key() },
        }
    }

    fn read(&self) -> Command {
        match self.below("read-kind", 100) {
            0..55 => Command::Get { key: self.any_key() },
            55..72 => Command::MGet { keys: self.some_keys() },
            72..80 => Command::StrLen { key: self.any_key() },
            80..88 => Command::Exists { keys: self.some_keys() },
            88..93 => Command::Type { key: self.any_key() },
            _ => self.ttl(),
        }
    }

    fn ttl(&self) -> Command {
        const FORMS: &[TimeForm] = &[
            TimeForm::SecondsLeft,
            TimeForm::MillisLeft,
            TimeForm::UnixSeconds,
            TimeForm::UnixMillis,
        ];
        Command::Ttl { key: self.any_key(), form: self.pick("form", FORMS) }
    }

    fn when(&self, wall: UnixMs) -> Deadline {
        let ahead = Duration::from_millis((self.time() / 1_000_000).max(1));
        match self.below("when", 10) {
            0 => Deadline::At(UnixMs(wall.0.saturating_sub(1))),
            1..4 => Deadline::At(wall.after(ahead)),
            4 => Deadline::In(Duration::from_secs(1)),
            _ => Deadline::In(ahead),
        }
    }

    fn deadline(&self, wall: UnixMs) -> Command {
        const CONDITIONS: &[Option<ExpireCondition>] = &[
            None,
            None,
            None,
            Some(ExpireCondition::Absent),
            Some(ExpireCondition::Present),
            Some(ExpireCondition::Later),
            Some(ExpireCondition::Earlier),
            Some(ExpireCondition::PresentEarlier),
        ];
        match self.below("deadline-kind", 100) {
            0..35 => self.set(Expiry::By(self.when(wall))),
            35..60 => Command::Expire {
                key: self.any_key(),
                deadline: self.when(wall),
                condition: self.pick("expire-if", CONDITIONS),
            },
            60..68 => Command::Persist { key: self.any_key() },
            68..85 => self.ttl(),
            _ => Command::Get { key: self.any_key() },
        }
    }

    fn whole(&self, scan: Option<(OpId, Key)>) -> Ask {
        let command = match self.below("whole-kind", 10) {
            0 => Command::FlushAll,
            1..4 => Command::DbSize,
            _ => {
                let pattern = self.chance("match", 300_000);
                let pattern = pattern.then(|| {
                    Bytes::from_static(
                        self.pick("pattern", &["c*", "h?", "*[13579]", "nothing"]).as_bytes(),
                    )
                });
                let count = 1 + self.below("count", 12) as u32;
                let (resumes, after) = scan.unzip();
                let command = Command::Scan { after, pattern, count };
                return Ask { request: Request::Store(command), resumes };
            }
        };
        Ask { request: Request::Store(command), resumes: None }
    }
}

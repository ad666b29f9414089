//! The store as it should behave: one thread, one ordered map, no durability, no I/O.
//!
//! Written from the meaning of the words in `orloj-net` and from Redis, not from the database.
//! Whether a key exists depends on the time the command carries and on nothing else: a key is gone
//! from the millisecond of its deadline on.

mod glob;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use bytes::{Bytes, BytesMut};
use orloj_net::{
    Answer, Command, Condition, Deadline, ExpireCondition, Expiry, Key, Refusal, TimeForm, UnixMs,
    Value,
};

/// The longest value, in bytes, that APPEND may make: Redis's 512 MiB.
const VALUE_MAX: usize = 512 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    value: Value,
    deadline: Option<UnixMs>,
}

/// The reference store.
#[derive(Clone, Debug)]
pub struct Model {
    held: BTreeMap<Key, Held>,
    /// No deadline is earlier than this, so before it there is nothing to drop.
    earliest: UnixMs,
    changes: u64,
}

impl Default for Model {
    fn default() -> Model {
        Model { held: BTreeMap::new(), earliest: UnixMs(u64::MAX), changes: 0 }
    }
}

impl Model {
    /// An empty store.
    pub fn new() -> Model {
        Model::default()
    }

    /// How many commands so far changed a value or a deadline. Passing time is not a change.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What the store holds at `now`: key, value, deadline, in key order.
    pub fn entries(&self, now: UnixMs) -> impl Iterator<Item = (&Key, &Value, Option<UnixMs>)> {
        let alive = move |held: &Held| held.deadline.is_none_or(|deadline| deadline > now);
        let entries = self.held.iter().filter(move |(_, held)| alive(held));
        entries.map(|(key, held)| (key, &held.value, held.deadline))
    }

    /// Carries out `command` at the wall-clock time `now`.
    pub fn apply(&mut self, command: &Command, now: UnixMs) -> Answer {
        self.drop_expired(now);
        match command {
            Command::Get { key } => self.get(key),
            Command::Set { key, value, expiry, condition, get } => {
                self.set(key, value, *expiry, *condition, *get, now)
            }
            Command::GetDel { key } => {
                self.remove(key).map_or(Answer::Nil, |v| Answer::Bulk(v.into()))
            }
            Command::Append { key, value } => self.append(key, value),
            Command::StrLen { key } => int(self.held.get(key).map_or(0, |held| held.value.len())),
            Command::Incr { key, by } => self.incr(key, *by).into(),
            Command::MGet { keys } => Answer::List(keys.iter().map(|key| self.get(key)).collect()),
            Command::MSet { pairs } => {
                for (key, value) in pairs {
                    self.hold(key, value.clone(), None);
                }
                Answer::Ok
            }
            Command::Del { keys } => {
                int(keys.iter().filter(|key| self.remove(key).is_some()).count())
            }
            Command::Exists { keys } => {
                int(keys.iter().filter(|key| self.held.contains_key(*key)).count())
            }
            Command::Type { key } => {
                Answer::Simple(if self.held.contains_key(key) { "string" } else { "none" })
            }
            Command::Ttl { key, form } => self.ttl(key, *form, now),
            Command::Expire { key, deadline, condition } => {
                int(usize::from(self.expire(key, *deadline, *condition, now)))
            }
            Command::Persist { key } => int(usize::from(self.persist(key))),
            Command::Scan { after, pattern, count } => {
                self.scan(after.as_ref(), pattern.as_ref(), *count)
            }
            Command::DbSize => int(self.held.len()),
            Command::FlushAll => {
                self.changes += u64::from(!self.held.is_empty());
                self.held.clear();
                Answer::Ok
            }
        }
    }

    /// Carries out `command`, and says what the answer should have been if `given` is not it. The
    /// one freedom a store has is to examine fewer keys in a page of a scan than it was asked to.
    ///
    /// # Errors
    /// The right answer, when `given` is another.
    pub fn judge(&mut self, command: &Command, now: UnixMs, given: &Answer) -> Result<(), Answer> {
        let expected = self.apply(command, now);
        let right = match (command, given) {
            (Command::Scan { after, pattern, count }, Answer::Page { next, keys }) => {
                self.is_page(after.as_ref(), pattern.as_ref(), *count, next.as_ref(), keys)
            }
            _ => *given == expected,
        };
        if right { Ok(()) } else { Err(expected) }
    }

    fn drop_expired(&mut self, now: UnixMs) {
        if now < self.earliest {
            return;
        }
        self.held.retain(|_, held| held.deadline.is_none_or(|deadline| deadline > now));
        let deadlines = self.held.values().filter_map(|held| held.deadline);
        self.earliest = deadlines.min().unwrap_or(UnixMs(u64::MAX));
    }

    fn hold(&mut self, key: &Key, value: Value, deadline: Option<UnixMs>) {
        self.changes += 1;
        self.earliest = self.earliest.min(deadline.unwrap_or(UnixMs(u64::MAX)));
        self.held.insert(key.clone(), Held { value, deadline });
    }

    fn remove(&mut self, key: &Key) -> Option<Value> {
        let held = self.held.remove(key)?;
        self.changes += 1;
        Some(held.value)
    }

    fn get(&self, key: &Key) -> Answer {
        self.held.get(key).map_or(Answer::Nil, |held| Answer::Bulk(held.value.clone().into()))
    }

    fn set(
        &mut self,
        key: &Key,
        value: &Value,
        expiry: Expiry,
        condition: Option<Condition>,
        get: bool,
        now: UnixMs,
    ) -> Answer {
        let before = self.held.get(key).cloned();
        let writes = match condition {
            None => true,
            Some(Condition::Absent) => before.is_none(),
            Some(Condition::Present) => before.is_some(),
        };
        if writes {
            let deadline = match expiry {
                Expiry::None => None,
                Expiry::Keep => before.as_ref().and_then(|held| held.deadline),
                Expiry::By(deadline) => Some(deadline.at(now)),
            };
            if deadline.is_some_and(|deadline| deadline <= now) {
                self.remove(key);
            } else {
                self.hold(key, value.clone(), deadline);
            }
        }
        match (get, before) {
            (true, Some(held)) => Answer::Bulk(held.value.into()),
            (true, None) => Answer::Nil,
            (false, _) if writes => Answer::Ok,
            (false, _) => Answer::Nil,
        }
    }

    fn append(&mut self, key: &Key, more: &Value) -> Answer {
        let before = self.held.get(key).cloned();
        let (head, deadline) = before.map_or((Bytes::new(), None), |h| (h.value, h.deadline));
        if head.len() + more.len() > VALUE_MAX {
            return Answer::Error(Refusal::ValueTooLong);
        }
        let mut value = BytesMut::from(&head[..]);
        value.extend_from_slice(more);
        let len = value.len();
        self.hold(key, value.freeze(), deadline);
        int(len)
    }

    fn incr(&mut self, key: &Key, by: i64) -> Result<Answer, Refusal> {
        let before = self.held.get(key).cloned();
        let (old, deadline) = match &before {
            Some(held) => (integer(&held.value).ok_or(Refusal::NotAnInteger)?, held.deadline),
            None => (0, None),
        };
        let sum = old.checked_add(by).ok_or(Refusal::Overflow)?;
        self.hold(key, Bytes::from(sum.to_string()), deadline);
        Ok(Answer::Int(sum))
    }

    fn ttl(&self, key: &Key, form: TimeForm, now: UnixMs) -> Answer {
        let Some(held) = self.held.get(key) else { return Answer::Int(-2) };
        let Some(UnixMs(deadline)) = held.deadline else { return Answer::Int(-1) };
        let number = match form {
            TimeForm::MillisLeft => deadline - now.0,
            TimeForm::SecondsLeft => nearest_second(deadline - now.0),
            TimeForm::UnixMillis => deadline,
            TimeForm::UnixSeconds => nearest_second(deadline),
        };
        Answer::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn expire(
        &mut self,
        key: &Key,
        deadline: Deadline,
        condition: Option<ExpireCondition>,
        now: UnixMs,
    ) -> bool {
        let Some(held) = self.held.get(key).cloned() else { return false };
        let new = deadline.at(now);
        let may = match condition {
            None => true,
            Some(ExpireCondition::Absent) => held.deadline.is_none(),
            Some(ExpireCondition::Present) => held.deadline.is_some(),
            Some(ExpireCondition::Later) => held.deadline.is_some_and(|old| new > old),
            Some(ExpireCondition::Earlier) => held.deadline.is_none_or(|old| new < old),
            Some(ExpireCondition::PresentEarlier) => held.deadline.is_some_and(|old| new < old),
        };
        if may && new <= now {
            self.remove(key);
        } else if may {
            self.hold(key, held.value, Some(new));
        }
        may
    }

    fn persist(&mut self, key: &Key) -> bool {
        let Some(held) = self.held.get(key).cloned() else { return false };
        if held.deadline.is_some() {
            self.hold(key, held.value, None);
        }
        held.deadline.is_some()
    }

    fn scan(&self, after: Option<&Key>, pattern: Option<&Bytes>, count: u32) -> Answer {
        let mut rest = self.held.range((following(after), Bound::Unbounded)).map(|(key, _)| key);
        let examined: Vec<&Key> = rest.by_ref().take(count as usize).collect();
        let next = rest.next().and_then(|_| examined.last().map(|key| (*key).clone()));
        let keys = examined.into_iter().filter(|key| matches(pattern, key)).cloned().collect();
        Answer::Page { next, keys }
    }

    /// Whether `keys` and `next` are a page of at most `count` examined keys.
    fn is_page(
        &self,
        after: Option<&Key>,
        pattern: Option<&Bytes>,
        count: u32,
        next: Option<&Key>,
        keys: &[Key],
    ) -> bool {
        if next.is_some() && next <= after {
            return false; // A walk that does not move on never ends.
        }
        let upto = next.cloned().map_or(Bound::Unbounded, Bound::Included);
        let examined: BTreeSet<&Key> =
            self.held.range((following(after), upto)).map(|(key, _)| key).collect();
        let shown = examined.iter().copied().filter(|key| matches(pattern, key));
        examined.len() <= count as usize && shown.eq(keys)
    }
}

fn following(after: Option<&Key>) -> Bound<Key> {
    after.cloned().map_or(Bound::Unbounded, Bound::Excluded)
}

fn matches(pattern: Option<&Bytes>, key: &Key) -> bool {
    pattern.is_none_or(|pattern| glob::matches(pattern, key))
}

/// The number `bytes` spell, in the one spelling Redis takes: no sign but `-`, no leading zeros.
fn integer(bytes: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == bytes).then_some(number)
}

fn nearest_second(ms: u64) -> u64 {
    ms.saturating_add(500) / 1_000
}

fn int(n: usize) -> Answer {
    Answer::Int(n as i64)
}

#[cfg(test)]
mod tests;

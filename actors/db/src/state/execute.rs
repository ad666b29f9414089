//! What each command means.

use bytes::Bytes;
use orloj_net::{
    Answer, Command, Condition, ExpireCondition, Expiry, Key, Refusal, TimeForm, UnixMs, Value,
    glob_matches,
};

use super::{Entry, MapKey, State, Trail};

/// The longest value APPEND may make, in bytes: Redis's 512 MiB.
const VALUE_MAX: usize = 512 << 20;
/// Most keys that one page of a scan examines, whatever was asked for.
const PAGE_MAX: usize = 10_000;

impl State {
    /// Carries out `command` at `now`, which is not before the clock, and leaves what it changed on
    /// `trail`. Relative deadlines count from `now`.
    pub(crate) fn execute(
        &mut self,
        command: &Command,
        now: UnixMs,
        trail: &mut Trail<'_>,
    ) -> Answer {
        self.pass_to(now, trail);
        match command {
            Command::Get { key } => self.get(key),
            Command::Set { key, value, expiry, condition, get } => {
                self.set(key, value, *expiry, *condition, *get, now, trail)
            }
            Command::GetDel { key } => {
                let answer = self.get(key);
                self.delete(key, trail);
                answer
            }
            Command::Append { key, value } => {
                let len = self.live(key).map_or(0, |e| e.value.len()) + value.len();
                if len > VALUE_MAX {
                    return Refusal::ValueTooLong.into();
                }
                self.append_to(key, value, trail);
                count(len)
            }
            Command::StrLen { key } => count(self.live(key).map_or(0, |e| e.value.len())),
            Command::Incr { key, by } => self.add(key, *by, trail).map(Answer::Int).into(),
            Command::MGet { keys } => Answer::List(keys.iter().map(|key| self.get(key)).collect()),
            Command::MSet { pairs } => {
                for (key, value) in pairs {
                    self.put(key, value, None, trail);
                }
                Answer::Ok
            }
            Command::Del { keys } => {
                count(keys.iter().filter(|key| self.delete(key, trail)).count())
            }
            Command::Exists { keys } => {
                count(keys.iter().filter(|key| self.live(key).is_some()).count())
            }
            Command::Type { key } => {
                Answer::Simple(if self.live(key).is_some() { "string" } else { "none" })
            }
            Command::Ttl { key, form } => self.ttl(key, *form, now),
            Command::Expire { key, deadline, condition } => {
                let done = self.expire(key, deadline.at(now), *condition, now, trail);
                Answer::Int(i64::from(done))
            }
            Command::Persist { key } => {
                let has_one = self.live(key).is_some_and(|e| e.deadline.is_some());
                Answer::Int(i64::from(has_one && self.set_deadline(key, None, trail)))
            }
            Command::Scan { after, pattern, count } => {
                self.scan(after.as_ref(), pattern.as_ref(), *count)
            }
            Command::DbSize => count(self.len()),
            Command::FlushAll => {
                if !self.map.is_empty() {
                    self.clear(trail);
                }
                Answer::Ok
            }
        }
    }

    #[inline]
    fn get(&self, key: &[u8]) -> Answer {
        match self.live(key) {
            Some(entry) => Answer::Bulk(entry.value.clone()),
            None => Answer::Nil,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "SET's own arguments, when, and where to")]
    #[inline]
    fn set(
        &mut self,
        key: &Key,
        value: &Value,
        expiry: Expiry,
        condition: Option<Condition>,
        get: bool,
        now: UnixMs,
        trail: &mut Trail<'_>,
    ) -> Answer {
        if let (Expiry::None, None, false) = (expiry, condition, get) {
            self.put(key, value, None, trail);
            return Answer::Ok;
        }
        let before = self.live(key).cloned();
        let may = match condition {
            None => true,
            Some(Condition::Absent) => before.is_none(),
            Some(Condition::Present) => before.is_some(),
        };
        if may {
            let deadline = match expiry {
                Expiry::None => None,
                Expiry::Keep => before.as_ref().and_then(|e| e.deadline),
                Expiry::By(deadline) => Some(deadline.at(now)),
            };
            match deadline {
                Some(at) if at <= now => {
                    self.delete(key, trail);
                }
                deadline => self.put(key, value, deadline, trail),
            }
        }
        match (get, before) {
            (true, Some(Entry { value, .. })) => Answer::Bulk(value),
            (false, _) if may => Answer::Ok,
            (true, None) | (false, _) => Answer::Nil,
        }
    }

    /// Removes a key that lives; whether it did.
    fn delete(&mut self, key: &[u8], trail: &mut Trail<'_>) -> bool {
        let lives = self.live(key).is_some();
        if lives {
            self.remove(key, trail);
        }
        lives
    }

    fn ttl(&self, key: &[u8], form: TimeForm, now: UnixMs) -> Answer {
        let Some(entry) = self.live(key) else { return Answer::Int(-2) };
        let Some(deadline) = entry.deadline else { return Answer::Int(-1) };
        let left = deadline.0 - now.0;
        let seconds = |ms: u64| ms.saturating_add(500) / 1_000;
        let number = match form {
            TimeForm::SecondsLeft => seconds(left),
            TimeForm::MillisLeft => left,
            TimeForm::UnixSeconds => seconds(deadline.0),
            TimeForm::UnixMillis => deadline.0,
        };
        Answer::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn expire(
        &mut self,
        key: &[u8],
        deadline: UnixMs,
        condition: Option<ExpireCondition>,
        now: UnixMs,
        trail: &mut Trail<'_>,
    ) -> bool {
        let Some(entry) = self.live(key) else { return false };
        let may = match (condition, entry.deadline) {
            (None, _) => true,
            (Some(ExpireCondition::Absent), old) => old.is_none(),
            (Some(ExpireCondition::Present), old) => old.is_some(),
            (Some(ExpireCondition::Later), old) => old.is_some_and(|old| deadline > old),
            (Some(ExpireCondition::Earlier), old) => old.is_none_or(|old| deadline < old),
            (Some(ExpireCondition::PresentEarlier), old) => old.is_some_and(|old| deadline < old),
        };
        match may {
            true if deadline <= now => self.delete(key, trail),
            true => self.set_deadline(key, Some(deadline), trail),
            false => false,
        }
    }

    fn scan(&self, after: Option<&Key>, pattern: Option<&Bytes>, wanted: u32) -> Answer {
        let mut rest = self
            .map
            .walk(after.map(|key| &key[..]))
            .filter(|(_, e)| e.deadline.is_none_or(|deadline| deadline > self.clock));
        let mut last = None;
        let mut keys = Vec::new();
        for (key, _) in rest.by_ref().take((wanted as usize).min(PAGE_MAX)) {
            if pattern.is_none_or(|glob| glob_matches(glob, key.as_bytes())) {
                keys.push(key.to_bytes());
            }
            last = Some(key);
        }
        let next = rest.next().and(last).map(MapKey::to_bytes);
        Answer::Page { next, keys }
    }
}

fn count(n: usize) -> Answer {
    Answer::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

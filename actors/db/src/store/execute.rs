//! What each command means.

use orloj_net::{
    Answer, Blob, Command, Condition, ExpireCondition, Expiry, Key, Refusal, TimeForm, UnixMs,
    Value,
};

use super::{Entry, Store, Wait};

/// The longest value APPEND may make, in bytes: Redis's 512 MiB.
const VALUE_MAX: usize = 512 << 20;

impl Store {
    /// Bytes that the answer to `command` will have, if it is one with values. Asked before, since
    /// what was done cannot be answered with less.
    ///
    /// # Errors
    /// What it has to wait for.
    pub(crate) fn answer_len(&mut self, command: &Command) -> Result<usize, Wait> {
        let keys = match command {
            Command::Get { key }
            | Command::GetDel { key }
            | Command::Set { key, get: true, .. } => std::slice::from_ref(key),
            Command::MGet { keys } => keys,
            _ => &[],
        };
        let mut bytes = 0;
        for key in keys {
            // What stands around each.
            bytes += 16 + self.live(key)?.map_or(0, |entry| entry.value.len());
        }
        Ok(bytes)
    }

    /// Carries out `command` at `now`, the clock having been brought there. Relative deadlines
    /// count from `now`.
    ///
    /// # Errors
    /// What it has to wait for; nothing happened then.
    #[inline]
    pub(crate) fn execute(&mut self, command: &Command, now: UnixMs) -> Result<Answer, Wait> {
        Ok(match command {
            Command::Get { key } => self.get(key)?,
            Command::Set { key, value, expiry, condition, get } => {
                self.set(key, value, *expiry, *condition, *get, now)?
            }
            Command::GetDel { key } => {
                let answer = self.get(key)?;
                self.delete(key)?;
                answer
            }
            Command::Append { key, value } => return self.append(key, value),
            Command::StrLen { key } => count(self.live(key)?.map_or(0, |e| e.value.len())),
            Command::Incr { key, by } => return self.add(key, *by),
            Command::MGet { keys } => {
                let values: Result<_, Wait> = keys.iter().map(|key| self.get(key)).collect();
                Answer::List(values?)
            }
            Command::MSet { pairs } => {
                self.are_known(command)?;
                for (key, value) in pairs {
                    self.put(key, value, None)?;
                }
                Answer::Ok
            }
            Command::Del { keys } => {
                self.are_known(command)?;
                let mut deleted = 0;
                for key in keys {
                    deleted += usize::from(self.delete(key)?);
                }
                count(deleted)
            }
            Command::Exists { keys } => {
                let mut found = 0;
                for key in keys {
                    found += usize::from(self.lives(key)?);
                }
                count(found)
            }
            Command::Type { key } => {
                Answer::Simple(if self.lives(key)? { "string" } else { "none" })
            }
            Command::Ttl { key, form } => self.ttl(key, *form, now)?,
            Command::Expire { key, deadline, condition } => {
                let done = self.expire(key, deadline.at(now), *condition, now)?;
                Answer::Int(i64::from(done))
            }
            Command::Persist { key } => {
                let has_one = self.live(key)?.is_some_and(|e| e.deadline.is_some());
                Answer::Int(i64::from(has_one && self.set_deadline(key, None)?))
            }
            Command::Scan { .. } | Command::DbSize => return Err(Wait::Walk),
            Command::FlushAll => {
                if self.counts.keys > 0 {
                    self.clear();
                }
                Answer::Ok
            }
        })
    }

    /// Whether the rows of all keys of a command are there, so that it will be done as a whole.
    fn are_known(&mut self, command: &Command) -> Result<(), Wait> {
        command.keys().try_for_each(|key| self.row(key).map(|_| ()))
    }

    #[inline]
    fn get(&mut self, key: &[u8]) -> Result<Answer, Wait> {
        Ok(match self.live(key)? {
            Some(entry) => Answer::Bulk(entry.value.clone()),
            None => Answer::Nil,
        })
    }

    #[inline]
    fn set(
        &mut self,
        key: &Key,
        value: &Value,
        expiry: Expiry,
        condition: Option<Condition>,
        get: bool,
        now: UnixMs,
    ) -> Result<Answer, Wait> {
        if let (Expiry::None, None, false) = (expiry, condition, get) {
            self.put(key, value, None)?;
            return Ok(Answer::Ok);
        }
        let before = self.live(key)?.cloned();
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
                    self.delete(key)?;
                }
                deadline => self.put(key, value, deadline)?,
            }
        }
        Ok(match (get, before) {
            (true, Some(Entry { value, .. })) => Answer::Bulk(value),
            (false, _) if may => Answer::Ok,
            (true, None) | (false, _) => Answer::Nil,
        })
    }

    /// Makes a key's value longer, a key that is not there being empty.
    fn append(&mut self, key: &[u8], more: &[u8]) -> Result<Answer, Wait> {
        let (mut value, deadline) = match self.live(key)? {
            Some(entry) => (entry.value.clone(), entry.deadline),
            None => (Blob::new(b""), None),
        };
        let len = value.len() + more.len();
        if len > VALUE_MAX {
            return Ok(Refusal::ValueTooLong.into());
        }
        value.append(more);
        self.replace(key, Some(Entry { value, deadline }))?;
        Ok(count(len))
    }

    /// Adds to a key's number, a key that is not there being 0.
    fn add(&mut self, key: &[u8], by: i64) -> Result<Answer, Wait> {
        let (number, deadline) = match self.live(key)? {
            None => (Some(0), None),
            Some(entry) => (orloj_net::parse_i64(entry.value.as_bytes()), entry.deadline),
        };
        let Some(number) = number else { return Ok(Refusal::NotAnInteger.into()) };
        let Some(sum) = number.checked_add(by) else { return Ok(Refusal::Overflow.into()) };
        let mut digits = Vec::with_capacity(20);
        orloj_net::write_i64(&mut digits, sum);
        self.put(key, &digits, deadline)?;
        Ok(Answer::Int(sum))
    }

    /// Removes a key that lives; whether it did.
    fn delete(&mut self, key: &[u8]) -> Result<bool, Wait> {
        let lives = self.lives(key)?;
        if lives {
            self.replace(key, None)?;
        }
        Ok(lives)
    }

    /// Gives a living key a deadline, or none; false if there is no such key.
    fn set_deadline(&mut self, key: &[u8], deadline: Option<UnixMs>) -> Result<bool, Wait> {
        let Some(entry) = self.live(key)? else { return Ok(false) };
        let value = entry.value.clone();
        self.replace(key, Some(Entry { value, deadline }))?;
        Ok(true)
    }

    fn ttl(&mut self, key: &[u8], form: TimeForm, now: UnixMs) -> Result<Answer, Wait> {
        let Some(entry) = self.live(key)? else { return Ok(Answer::Int(-2)) };
        let Some(deadline) = entry.deadline else { return Ok(Answer::Int(-1)) };
        let left = deadline.0 - now.0;
        let seconds = |ms: u64| ms.saturating_add(500) / 1_000;
        let number = match form {
            TimeForm::SecondsLeft => seconds(left),
            TimeForm::MillisLeft => left,
            TimeForm::UnixSeconds => seconds(deadline.0),
            TimeForm::UnixMillis => deadline.0,
        };
        Ok(Answer::Int(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn expire(
        &mut self,
        key: &[u8],
        deadline: UnixMs,
        condition: Option<ExpireCondition>,
        now: UnixMs,
    ) -> Result<bool, Wait> {
        let Some(entry) = self.live(key)? else { return Ok(false) };
        let may = match (condition, entry.deadline) {
            (None, _) => true,
            (Some(ExpireCondition::Absent), old) => old.is_none(),
            (Some(ExpireCondition::Present), old) => old.is_some(),
            (Some(ExpireCondition::Later), old) => old.is_some_and(|old| deadline > old),
            (Some(ExpireCondition::Earlier), old) => old.is_none_or(|old| deadline < old),
            (Some(ExpireCondition::PresentEarlier), old) => old.is_some_and(|old| deadline < old),
        };
        match may {
            true if deadline <= now => self.delete(key),
            true => self.set_deadline(key, Some(deadline)),
            false => Ok(false),
        }
    }
}

pub(super) fn count(n: usize) -> Answer {
    Answer::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

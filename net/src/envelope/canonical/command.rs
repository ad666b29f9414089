//! Commands for the store in the canonical form.

use core::time::Duration;

use super::{
    Malformed,
    bytes::{Reader, Writer},
};
use crate::{Command, Condition, Deadline, ExpireCondition, Expiry, TimeForm, UnixMs};

const CONDITIONS: [Condition; 2] = [Condition::Absent, Condition::Present];
const EXPIRE_CONDITIONS: [ExpireCondition; 5] = [
    ExpireCondition::Absent,
    ExpireCondition::Present,
    ExpireCondition::Later,
    ExpireCondition::Earlier,
    ExpireCondition::PresentEarlier,
];
const TIME_FORMS: [TimeForm; 4] =
    [TimeForm::SecondsLeft, TimeForm::MillisLeft, TimeForm::UnixSeconds, TimeForm::UnixMillis];

impl Writer {
    pub(super) fn command(&mut self, command: &Command) {
        match command {
            Command::Get { key } => self.with_key(1, key),
            Command::Set { key, value, expiry, condition, get } => {
                self.with_key(2, key);
                self.bytes(value);
                match expiry {
                    Expiry::None => self.byte(0),
                    Expiry::Keep => self.byte(1),
                    Expiry::By(deadline) => {
                        self.byte(2);
                        self.deadline(*deadline);
                    }
                }
                self.one_of(&CONDITIONS, condition.as_ref());
                self.byte(u8::from(*get));
            }
            Command::GetDel { key } => self.with_key(3, key),
            Command::Append { key, value } => {
                self.with_key(4, key);
                self.bytes(value);
            }
            Command::StrLen { key } => self.with_key(5, key),
            Command::Incr { key, by } => {
                self.with_key(6, key);
                self.integer(*by);
            }
            Command::MGet { keys } => self.with_keys(7, keys),
            Command::MSet { pairs } => {
                self.byte(8);
                self.list(pairs, |out, (key, value)| {
                    out.bytes(key);
                    out.bytes(value);
                });
            }
            Command::Del { keys } => self.with_keys(9, keys),
            Command::Exists { keys } => self.with_keys(10, keys),
            Command::Type { key } => self.with_key(11, key),
            Command::Ttl { key, form } => {
                self.with_key(12, key);
                self.one_of(&TIME_FORMS, Some(form));
            }
            Command::Expire { key, deadline, condition } => {
                self.with_key(13, key);
                self.deadline(*deadline);
                self.one_of(&EXPIRE_CONDITIONS, condition.as_ref());
            }
            Command::Persist { key } => self.with_key(14, key),
            Command::Scan { after, pattern, count } => {
                self.byte(15);
                self.option(after.as_ref(), |out, key| out.bytes(key));
                self.option(pattern.as_ref(), |out, pattern| out.bytes(pattern));
                self.number(u64::from(*count));
            }
            Command::DbSize => self.byte(16),
            Command::FlushAll => self.byte(17),
        }
    }

    fn with_key(&mut self, kind: u8, key: &[u8]) {
        self.byte(kind);
        self.bytes(key);
    }

    fn with_keys(&mut self, kind: u8, keys: &[bytes::Bytes]) {
        self.byte(kind);
        self.list(keys, |out, key| out.bytes(key));
    }

    fn deadline(&mut self, deadline: Deadline) {
        match deadline {
            Deadline::In(duration) => {
                self.byte(0);
                self.number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
            }
            Deadline::At(at) => {
                self.byte(1);
                self.number(at.0);
            }
        }
    }

    /// Its place among all, counted from 1; 0 is none.
    fn one_of<T: PartialEq>(&mut self, all: &[T], one: Option<&T>) {
        let place = one.and_then(|one| all.iter().position(|other| other == one));
        self.byte(place.map_or(0, |place| place as u8 + 1));
    }
}

impl Reader<'_> {
    pub(super) fn command(&mut self) -> Result<Command, Malformed> {
        Ok(match self.byte()? {
            1 => Command::Get { key: self.key()? },
            2 => Command::Set {
                key: self.key()?,
                value: self.key()?,
                expiry: match self.byte()? {
                    0 => Expiry::None,
                    1 => Expiry::Keep,
                    2 => Expiry::By(self.deadline()?),
                    _ => return Err(Malformed::Kind),
                },
                condition: self.one_of(&CONDITIONS)?,
                get: self.flag()?,
            },
            3 => Command::GetDel { key: self.key()? },
            4 => Command::Append { key: self.key()?, value: self.key()? },
            5 => Command::StrLen { key: self.key()? },
            6 => Command::Incr { key: self.key()?, by: self.integer()? },
            7 => Command::MGet { keys: self.list(Reader::key)? },
            8 => Command::MSet { pairs: self.list(|from| Ok((from.key()?, from.key()?)))? },
            9 => Command::Del { keys: self.list(Reader::key)? },
            10 => Command::Exists { keys: self.list(Reader::key)? },
            11 => Command::Type { key: self.key()? },
            12 => Command::Ttl {
                key: self.key()?,
                form: self.one_of(&TIME_FORMS)?.ok_or(Malformed::Kind)?,
            },
            13 => Command::Expire {
                key: self.key()?,
                deadline: self.deadline()?,
                condition: self.one_of(&EXPIRE_CONDITIONS)?,
            },
            14 => Command::Persist { key: self.key()? },
            15 => Command::Scan {
                after: self.option(Reader::key)?,
                pattern: self.option(Reader::key)?,
                count: u32::try_from(self.number()?).map_err(|_| Malformed::Number)?,
            },
            16 => Command::DbSize,
            17 => Command::FlushAll,
            _ => return Err(Malformed::Kind),
        })
    }

    fn deadline(&mut self) -> Result<Deadline, Malformed> {
        Ok(match self.byte()? {
            0 => Deadline::In(Duration::from_millis(self.number()?)),
            1 => Deadline::At(UnixMs(self.number()?)),
            _ => return Err(Malformed::Kind),
        })
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Result<Option<T>, Malformed> {
        match usize::from(self.byte()?) {
            0 => Ok(None),
            place => all.get(place - 1).copied().map(Some).ok_or(Malformed::Kind),
        }
    }
}

//! What can be asked of the store.

use core::time::Duration;
use std::fmt;

use bytes::Bytes;

use super::{HiddenKey, HiddenValue};

/// A key: any bytes, the empty string included. Ordered byte by byte.
pub type Key = Bytes;

/// A string value: any bytes.
pub type Value = Bytes;

/// Wall-clock time in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// This instant moved `by` later, in whole milliseconds, stopping at the end of time.
    pub fn after(self, by: Duration) -> UnixMs {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        UnixMs(self.0.saturating_add(ms))
    }
}

/// The moment a key stops existing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// So long after the command takes effect.
    In(Duration),
    /// At a point of the wall clock, which may already be past: the key is then gone at once.
    At(UnixMs),
}

impl Deadline {
    /// The point of the wall clock this means for a command that takes effect at `now`.
    pub fn at(self, now: UnixMs) -> UnixMs {
        match self {
            Deadline::In(duration) => now.after(duration),
            Deadline::At(at) => at,
        }
    }
}

/// What SET does to a key's deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The key no longer expires.
    None,
    /// The key keeps the deadline it had, if any (KEEPTTL).
    Keep,
    /// The key gets this deadline (EX, PX, EXAT, PXAT).
    By(Deadline),
}

/// When SET may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Only if the key does not exist (NX).
    Absent,
    /// Only if the key exists (XX).
    Present,
}

/// When EXPIRE may change a deadline. A key without one counts as expiring at the end of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpireCondition {
    /// Only if the key has no deadline (NX).
    Absent,
    /// Only if the key has a deadline (XX).
    Present,
    /// Only if the new deadline is later than the current one (GT).
    Later,
    /// Only if the new deadline is earlier than the current one, none counting as never (LT).
    Earlier,
    /// Only if the key has a deadline and the new one is earlier (XX LT).
    PresentEarlier,
}

/// How a deadline is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeForm {
    /// Seconds left, rounded to the nearest (TTL).
    SecondsLeft,
    /// Milliseconds left (PTTL).
    MillisLeft,
    /// Unix time in seconds, rounded to the nearest (EXPIRETIME).
    UnixSeconds,
    /// Unix time in milliseconds (PEXPIRETIME).
    UnixMillis,
}

/// One command that reaches the store.
///
/// The byte strings may be slices of a connection's read buffer, which stays in memory as long as
/// any slice of it. Whoever keeps a key or a value past the command must copy it: see
/// [`Command::detach`].
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// The value of a key. Answers `Bulk` or `Nil`.
    Get {
        /// The key to read.
        key: Key,
    },
    /// Stores a value. Answers `Ok`, or `Nil` if `condition` did not hold; with `get`, the value
    /// before the command (`Bulk` or `Nil`) whether or not it wrote.
    Set {
        /// The key to write.
        key: Key,
        /// Its new value.
        value: Value,
        /// What becomes of its deadline.
        expiry: Expiry,
        /// When it may write; `None` is always.
        condition: Option<Condition>,
        /// Answer with the value before.
        get: bool,
    },
    /// Reads a value and removes its key. Answers `Bulk` or `Nil`.
    GetDel {
        /// The key to read and remove.
        key: Key,
    },
    /// Appends to a value, an absent key counting as empty. Answers `Int`, the new length in bytes.
    Append {
        /// The key to extend.
        key: Key,
        /// The bytes to add.
        value: Value,
    },
    /// The length of a value in bytes, 0 for an absent key. Answers `Int`.
    StrLen {
        /// The key to measure.
        key: Key,
    },
    /// Adds to a decimal integer, an absent key counting as 0 and the deadline being kept. Answers
    /// `Int`, the sum, or refuses with [`NotAnInteger`](super::Refusal::NotAnInteger) or
    /// [`Overflow`](super::Refusal::Overflow).
    Incr {
        /// The key to change.
        key: Key,
        /// What to add, negative for DECR.
        by: i64,
    },
    /// Several values at one moment. Answers a `List` of `Bulk` or `Nil`, in the order asked.
    MGet {
        /// The keys to read, at least one, repeats allowed.
        keys: Vec<Key>,
    },
    /// Stores several values at one moment, clearing deadlines; of a repeated key the last counts.
    /// Answers `Ok`.
    MSet {
        /// The keys and their values, at least one pair.
        pairs: Vec<(Key, Value)>,
    },
    /// Removes keys. Answers `Int`, how many existed (a repeated key counts once).
    Del {
        /// The keys to remove, at least one.
        keys: Vec<Key>,
    },
    /// Counts existing keys, a repeated key as often as it is named. Answers `Int`.
    Exists {
        /// The keys to look for, at least one.
        keys: Vec<Key>,
    },
    /// The type of a key's value. Answers `Simple("string")` or `Simple("none")`.
    Type {
        /// The key to look at.
        key: Key,
    },
    /// A key's deadline. Answers `Int`: -2 if the key is absent, -1 if it has no deadline.
    Ttl {
        /// The key to look at.
        key: Key,
        /// Unit and origin of the answer.
        form: TimeForm,
    },
    /// Sets a deadline on an existing key; one in the past removes it. Answers `Int` 1 if it did, 0
    /// if the key is absent or `condition` did not hold.
    Expire {
        /// The key to change.
        key: Key,
        /// Its new deadline.
        deadline: Deadline,
        /// When it may change; `None` is always.
        condition: Option<ExpireCondition>,
    },
    /// Removes a deadline. Answers `Int` 1 if there was one.
    Persist {
        /// The key to change.
        key: Key,
    },
    /// One page of the keys in byte order. Answers `Page`.
    ///
    /// Position is a key, not a count, so whatever is inserted or removed meanwhile, a key that
    /// exists throughout a walk (each page starting after the `next` of the one before, until
    /// `next` is absent) is returned exactly once.
    Scan {
        /// Start after this key, which need not exist; `None` is the beginning.
        after: Option<Key>,
        /// Return only keys that match this glob. Keys that do not match still count as examined.
        pattern: Option<Bytes>,
        /// How many keys to examine, at least 1. The store may cap it.
        count: u32,
    },
    /// How many keys exist. Answers `Int`.
    DbSize,
    /// Removes every key. Answers `Ok`.
    FlushAll,
}

impl Command {
    /// Whether the command can change the store. Reads need no log entry.
    pub fn is_write(&self) -> bool {
        match self {
            Command::Set { .. }
            | Command::GetDel { .. }
            | Command::Append { .. }
            | Command::Incr { .. }
            | Command::MSet { .. }
            | Command::Del { .. }
            | Command::Expire { .. }
            | Command::Persist { .. }
            | Command::FlushAll => true,
            Command::Get { .. }
            | Command::StrLen { .. }
            | Command::MGet { .. }
            | Command::Exists { .. }
            | Command::Type { .. }
            | Command::Ttl { .. }
            | Command::Scan { .. }
            | Command::DbSize => false,
        }
    }

    /// The word's name in traces and metrics, lower case.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Get { .. } => "get",
            Command::Set { .. } => "set",
            Command::GetDel { .. } => "getdel",
            Command::Append { .. } => "append",
            Command::StrLen { .. } => "strlen",
            Command::Incr { .. } => "incr",
            Command::MGet { .. } => "mget",
            Command::MSet { .. } => "mset",
            Command::Del { .. } => "del",
            Command::Exists { .. } => "exists",
            Command::Type { .. } => "type",
            Command::Ttl { .. } => "ttl",
            Command::Expire { .. } => "expire",
            Command::Persist { .. } => "persist",
            Command::Scan { .. } => "scan",
            Command::DbSize => "dbsize",
            Command::FlushAll => "flushall",
        }
    }

    /// Every key the command names, in order, repeats included. Empty for the commands that concern
    /// the whole keyspace (`Scan`, `DbSize`, `FlushAll`).
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        let (one, many, pairs): (Option<&Key>, &[Key], &[(Key, Value)]) = match self {
            Command::Get { key }
            | Command::Set { key, .. }
            | Command::GetDel { key }
            | Command::Append { key, .. }
            | Command::StrLen { key }
            | Command::Incr { key, .. }
            | Command::Type { key }
            | Command::Ttl { key, .. }
            | Command::Expire { key, .. }
            | Command::Persist { key } => (Some(key), &[], &[]),
            Command::MGet { keys } | Command::Del { keys } | Command::Exists { keys } => {
                (None, keys, &[])
            }
            Command::MSet { pairs } => (None, &[], pairs),
            Command::Scan { .. } | Command::DbSize | Command::FlushAll => (None, &[], &[]),
        };
        one.into_iter().chain(many).chain(pairs.iter().map(|(key, _)| key))
    }

    /// Bytes of user data the command carries: what a queue bounded in bytes should charge.
    pub fn payload_len(&self) -> usize {
        let values = match self {
            Command::Set { value, .. } | Command::Append { value, .. } => value.len(),
            Command::MSet { pairs } => pairs.iter().map(|(_, value)| value.len()).sum(),
            Command::Scan { after, pattern, .. } => {
                after.as_ref().map_or(0, Bytes::len) + pattern.as_ref().map_or(0, Bytes::len)
            }
            _ => 0,
        };
        values + self.keys().map(Bytes::len).sum::<usize>()
    }

    /// Turns a relative deadline into the wall-clock point it means at `now`, so that the command
    /// means the same whenever it is applied again: at recovery, or on another node.
    pub fn fix_time(&mut self, now: UnixMs) {
        match self {
            Command::Set { expiry: Expiry::By(deadline), .. }
            | Command::Expire { deadline, .. } => *deadline = Deadline::At(deadline.at(now)),
            _ => {}
        }
    }

    /// The same command over bytes of its own, so that keeping it keeps no read buffer alive.
    pub fn detach(mut self) -> Command {
        let own = |bytes: &mut Bytes| *bytes = Bytes::copy_from_slice(bytes);
        match &mut self {
            Command::Get { key }
            | Command::GetDel { key }
            | Command::StrLen { key }
            | Command::Incr { key, .. }
            | Command::Type { key }
            | Command::Ttl { key, .. }
            | Command::Expire { key, .. }
            | Command::Persist { key } => own(key),
            Command::Set { key, value, .. } | Command::Append { key, value } => {
                own(key);
                own(value);
            }
            Command::MGet { keys } | Command::Del { keys } | Command::Exists { keys } => {
                keys.iter_mut().for_each(own);
            }
            Command::MSet { pairs } => {
                for (key, value) in pairs {
                    own(key);
                    own(value);
                }
            }
            Command::Scan { after, pattern, .. } => {
                after.iter_mut().chain(pattern).for_each(own);
            }
            Command::DbSize | Command::FlushAll => {}
        }
        self
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut word = f.debug_struct(self.name());
        if let Command::MGet { keys } | Command::Del { keys } | Command::Exists { keys } = self {
            word.field("count", &keys.len());
        }
        if let Command::MSet { pairs } = self {
            word.field("count", &pairs.len());
        }
        // A command may name a million keys; a log line shows the first.
        if let Some(key) = self.keys().next() {
            word.field("key", &HiddenKey(key));
        }
        match self {
            Command::Set { value, expiry, condition, get, .. } => {
                word.field("value", &HiddenValue(value));
                word.field("expiry", expiry);
                word.field("condition", condition);
                word.field("get", get);
            }
            Command::Append { value, .. } => {
                word.field("value", &HiddenValue(value));
            }
            Command::Incr { .. } => {} // What is added is user data.
            Command::Ttl { form, .. } => {
                word.field("form", form);
            }
            Command::Expire { deadline, condition, .. } => {
                word.field("deadline", deadline);
                word.field("condition", condition);
            }
            Command::Scan { after, pattern, count } => {
                word.field("after", &after.as_deref().map(HiddenKey));
                word.field("pattern", &pattern.as_deref().map(HiddenValue));
                word.field("count", count);
            }
            _ => {}
        }
        word.finish()
    }
}

//! The members of a request, taken one by one by name and kind.

use core::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use crate::{Deadline, Expiry, UnixMs, envelope::Failure};

/// What is left of a request. `null` is as good as absent.
pub(super) struct Fields(pub(super) Map<String, Value>);

type Taken<T> = Result<Option<T>, Failure>;

impl Fields {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    fn with<T>(
        &mut self,
        name: &'static str,
        rule: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Taken<T> {
        let read = |value| read(value).ok_or_else(|| Failure::invalid(name, rule));
        self.take(name).map(read).transpose()
    }

    pub(super) fn text(&mut self, name: &'static str) -> Taken<String> {
        self.with(name, "is not a string", string)
    }

    pub(super) fn texts(&mut self, name: &'static str) -> Taken<Vec<String>> {
        self.with(name, "is not a list of strings", |value| list(value, string))
    }

    pub(super) fn bytes(&mut self, name: &'static str) -> Taken<Bytes> {
        self.with(name, BYTES, bytes)
    }

    pub(super) fn keys(&mut self, name: &'static str) -> Taken<Vec<Bytes>> {
        let rule = "is not a list of strings or of {\"base64\": …}";
        self.with(name, rule, |value| list(value, bytes))
    }

    pub(super) fn pairs(&mut self, name: &'static str) -> Taken<Vec<(Bytes, Bytes)>> {
        let rule = "is not a list of [key, value], each a string or {\"base64\": …}";
        self.with(name, rule, |value| {
            list(value, |pair| {
                let [key, value] = list(pair, bytes)?.try_into().ok()?;
                Some((key, value))
            })
        })
    }

    pub(super) fn number(&mut self, name: &'static str) -> Taken<u64> {
        self.with(name, "is not a whole number from 0 to 2^64-1", |value| value.as_u64())
    }

    pub(super) fn small(&mut self, name: &'static str) -> Taken<u32> {
        self.with(name, "is not a whole number from 0 to 2^32-1", |value| {
            u32::try_from(value.as_u64()?).ok()
        })
    }

    pub(super) fn integer(&mut self, name: &'static str) -> Taken<i64> {
        self.with(name, "is not a whole number of 64 bits with a sign", |value| value.as_i64())
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Taken<bool> {
        self.with(name, "is not true or false", |value| value.as_bool())
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        all: impl IntoIterator<Item = (&'static str, T)>,
    ) -> Taken<T> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let mut names = Vec::new();
        for (word, one) in all {
            if value.as_str() == Some(word) {
                return Ok(Some(one));
            }
            names.push(word);
        }
        Err(Failure::invalid(name, &format!("is not one of {}", names.join(", "))))
    }

    pub(super) fn time(&mut self, name: &'static str) -> Taken<u64> {
        self.with(name, TIME, time)
    }

    pub(super) fn deadline(&mut self, name: &'static str) -> Taken<Deadline> {
        self.with(name, DEADLINE, deadline)
    }

    pub(super) fn expiry(&mut self, name: &'static str) -> Taken<Expiry> {
        let rule = "is not \"keep\", a time as 250 (milliseconds) or \"5s\", or {\"at\": …}";
        self.with(name, rule, |value| match value.as_str() {
            Some("keep") => Some(Expiry::Keep),
            _ => deadline(value).map(Expiry::By),
        })
    }
}

const BYTES: &str = "is not a string or {\"base64\": …}";
const TIME: &str = "is not a time: milliseconds, or a string as 250ms, 5s, 2m, 1h, 7d";
const DEADLINE: &str = "is not a time as 250 (milliseconds) or \"5s\", or {\"at\": …}";

/// What has to be there.
pub(super) fn need<T>(name: &'static str, taken: Option<T>) -> Result<T, Failure> {
    taken.ok_or_else(|| Failure::invalid(name, "is required"))
}

fn string(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn list<T>(value: Value, read: impl Fn(Value) -> Option<T>) -> Option<Vec<T>> {
    match value {
        Value::Array(items) => items.into_iter().map(read).collect(),
        _ => None,
    }
}

/// The one member of an object.
fn only(value: Value, name: &str) -> Option<Value> {
    match value {
        Value::Object(mut members) if members.len() == 1 => members.remove(name),
        _ => None,
    }
}

fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::String(text) => Some(text.into()),
        value => {
            let text = string(only(value, "base64")?)?;
            from_base64(&text).map(Bytes::from)
        }
    }
}

/// What a byte string was that stands as base64.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.as_bytes()).ok()
}

/// A byte string as JSON.
pub fn byte_string(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": BASE64.encode(bytes) }),
    }
}

fn time(value: Value) -> Option<u64> {
    match &value {
        Value::String(text) => milliseconds(text),
        value => value.as_u64(),
    }
}

fn deadline(value: Value) -> Option<Deadline> {
    match value {
        value @ Value::Object(_) => Some(Deadline::At(UnixMs(only(value, "at")?.as_u64()?))),
        value => time(value).map(|ms| Deadline::In(Duration::from_millis(ms))),
    }
}

/// A deadline as JSON, in whole milliseconds.
pub(super) fn of_deadline(deadline: Deadline) -> Value {
    match deadline {
        Deadline::In(duration) => u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into(),
        Deadline::At(at) => json!({ "at": at.0 }),
    }
}

/// The length of time that a text as `250ms`, `5s`, `2m`, `1h`, `7d` says, in milliseconds.
pub fn milliseconds(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

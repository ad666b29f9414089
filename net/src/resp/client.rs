//! The client's side: commands said in RESP, and replies understood as answers.

use bytes::Bytes;

use super::{Reply, encode_request};
use crate::words::{
    Answer, Command, Condition, Deadline, ExpireCondition, Expiry, Key, Refusal, TimeForm,
};

/// Appends `command` as a request to `out`.
///
/// `cursor` is what a `Scan` sends in place of the key it continues after: what the page before
/// came with, 0 at the beginning. Every other command ignores it.
pub fn encode_command(command: &Command, cursor: u64, out: &mut Vec<u8>) {
    let bytes = Bytes::from_static;
    let number = |number: i128| Bytes::from(number.to_string());
    let mut line: Vec<Bytes> = vec![bytes(verb(command).as_bytes())];
    match command {
        Command::MSet { pairs } => {
            line.extend(pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]));
        }
        Command::Scan { pattern, count, .. } => {
            line.push(number(cursor.into()));
            if let Some(pattern) = pattern {
                line.extend([bytes(b"MATCH"), pattern.clone()]);
            }
            line.extend([bytes(b"COUNT"), number((*count).into())]);
        }
        _ => line.extend(command.keys().cloned()),
    }
    match command {
        Command::Set { value, expiry, condition, get, .. } => {
            line.push(value.clone());
            match expiry {
                Expiry::None => {}
                Expiry::Keep => line.push(bytes(b"KEEPTTL")),
                Expiry::By(Deadline::In(time)) => {
                    line.extend([bytes(b"PX"), number(time.as_millis() as i128)]);
                }
                Expiry::By(Deadline::At(at)) => {
                    line.extend([bytes(b"PXAT"), number(at.0.into())]);
                }
            }
            line.extend(condition.map(|condition| match condition {
                Condition::Absent => bytes(b"NX"),
                Condition::Present => bytes(b"XX"),
            }));
            line.extend(get.then(|| bytes(b"GET")));
        }
        Command::Append { value, .. } => line.push(value.clone()),
        Command::Incr { by, .. } => line.push(number((*by).into())),
        Command::Expire { deadline, condition, .. } => {
            line.push(match deadline {
                Deadline::In(time) => number(time.as_millis() as i128),
                Deadline::At(at) => number(at.0.into()),
            });
            let words: &[&[u8]] = match condition {
                None => &[],
                Some(ExpireCondition::Absent) => &[b"NX"],
                Some(ExpireCondition::Present) => &[b"XX"],
                Some(ExpireCondition::Later) => &[b"GT"],
                Some(ExpireCondition::Earlier) => &[b"LT"],
                Some(ExpireCondition::PresentEarlier) => &[b"XX", b"LT"],
            };
            line.extend(words.iter().map(|word| Bytes::copy_from_slice(word)));
        }
        _ => {}
    }
    encode_request(&line, out);
}

/// The name a command has on the wire.
fn verb(command: &Command) -> &'static str {
    match command {
        Command::Incr { .. } => "INCRBY",
        Command::Ttl { form: TimeForm::SecondsLeft, .. } => "TTL",
        Command::Ttl { form: TimeForm::MillisLeft, .. } => "PTTL",
        Command::Ttl { form: TimeForm::UnixSeconds, .. } => "EXPIRETIME",
        Command::Ttl { form: TimeForm::UnixMillis, .. } => "PEXPIRETIME",
        Command::Expire { deadline: Deadline::In(_), .. } => "PEXPIRE",
        Command::Expire { deadline: Deadline::At(_), .. } => "PEXPIREAT",
        other => other.name(),
    }
}

impl Reply {
    /// The answer of the store that reads like this in either version, SCAN's pages excepted (see
    /// [`page`](Reply::page)). `None` if there is none: an error that is not the store's, a status
    /// or a type that no data command answers with.
    pub fn answer(&self) -> Option<Answer> {
        Some(match self {
            Reply::Simple(word) => match &word[..] {
                b"OK" => Answer::Ok,
                b"string" => Answer::Simple("string"),
                b"none" => Answer::Simple("none"),
                _ => return None,
            },
            Reply::Error(line) => Answer::Error(Refusal::from_line(line)?),
            Reply::Int(number) => Answer::Int(*number),
            Reply::Bulk(bytes) => Answer::Bulk(bytes.clone().into()),
            Reply::Nil => Answer::Nil,
            Reply::Array(items) => {
                Answer::List(items.iter().map(Reply::answer).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    /// SCAN's page, if this is one: the cursor that continues it, 0 at the end, and the keys.
    pub fn page(&self) -> Option<(u64, Vec<Key>)> {
        let Reply::Array(items) = self else { return None };
        let [Reply::Bulk(cursor), Reply::Array(keys)] = &items[..] else { return None };
        let key = |reply: &Reply| match reply {
            Reply::Bulk(key) => Some(key.clone()),
            _ => None,
        };
        let cursor = std::str::from_utf8(cursor).ok()?.parse().ok()?;
        Some((cursor, keys.iter().map(key).collect::<Option<_>>()?))
    }
}

#[cfg(test)]
mod tests;

//! Requests as a client library spells them, and replies as it reads them.

use std::time::Duration;

use bytes::Bytes;
use orloj_invariants::{Request, show_bytes};
use orloj_net::{
    Answer, Command, Condition, Deadline, ExpireCondition, Expiry, Refusal, TimeForm,
    resp::{Reply, encode_request},
};

/// Appends HELLO.
pub(super) fn greeting(resp3: bool, out: &mut Vec<u8>) {
    encode_request(&["HELLO", if resp3 { "3" } else { "2" }], out);
}

/// Whether a reply answers HELLO.
pub(super) fn is_greeting(reply: &Reply) -> bool {
    matches!(reply, Reply::Map(_) | Reply::Array(_))
}

/// Appends a request. The position of a scan is the number the server gave for it.
pub(super) fn encode(request: &Request, out: &mut Vec<u8>) {
    encode_request(&spell_request(request), out);
}

/// The words of a request.
pub(crate) fn spell_request(request: &Request) -> Vec<Bytes> {
    match request {
        Request::Echo(bytes) => vec![word("ECHO"), bytes.clone()],
        Request::Store(command) => spell(command),
    }
}

fn word(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn number(n: impl ToString) -> Bytes {
    Bytes::from(n.to_string())
}

fn spell(command: &Command) -> Vec<Bytes> {
    let one = |name, key: &Bytes| vec![word(name), key.clone()];
    let many = |name, keys: &[Bytes]| std::iter::once(word(name)).chain(keys.to_vec()).collect();
    match command {
        Command::Get { key } => one("GET", key),
        Command::Set { key, value, expiry, condition, get } => {
            let mut args = vec![word("SET"), key.clone(), value.clone()];
            args.extend(condition.map(|c| match c {
                Condition::Absent => word("NX"),
                Condition::Present => word("XX"),
            }));
            args.extend(get.then(|| word("GET")));
            match expiry {
                Expiry::None => {}
                Expiry::Keep => args.push(word("KEEPTTL")),
                Expiry::By(deadline) => args.extend(match seconds(*deadline) {
                    Some(s) => {
                        [word(if is_relative(*deadline) { "EX" } else { "EXAT" }), number(s)]
                    }
                    None => [
                        word(if is_relative(*deadline) { "PX" } else { "PXAT" }),
                        number(millis(*deadline)),
                    ],
                }),
            }
            args
        }
        Command::GetDel { key } => one("GETDEL", key),
        Command::Append { key, value } => vec![word("APPEND"), key.clone(), value.clone()],
        Command::StrLen { key } => one("STRLEN", key),
        Command::Incr { key, by: 1 } => one("INCR", key),
        Command::Incr { key, by: -1 } => one("DECR", key),
        Command::Incr { key, by } => vec![word("INCRBY"), key.clone(), number(by)],
        Command::MGet { keys } => many("MGET", keys),
        Command::MSet { pairs } => {
            let mut args = vec![word("MSET")];
            args.extend(pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]));
            args
        }
        Command::Del { keys } => many("DEL", keys),
        Command::Exists { keys } => many("EXISTS", keys),
        Command::Type { key } => one("TYPE", key),
        Command::Ttl { key, form } => one(
            match form {
                TimeForm::SecondsLeft => "TTL",
                TimeForm::MillisLeft => "PTTL",
                TimeForm::UnixSeconds => "EXPIRETIME",
                TimeForm::UnixMillis => "PEXPIRETIME",
            },
            key,
        ),
        Command::Expire { key, deadline, condition } => {
            let name = match (seconds(*deadline), is_relative(*deadline)) {
                (Some(_), true) => "EXPIRE",
                (Some(_), false) => "EXPIREAT",
                (None, true) => "PEXPIRE",
                (None, false) => "PEXPIREAT",
            };
            let time = seconds(*deadline).unwrap_or_else(|| millis(*deadline));
            let mut args = vec![word(name), key.clone(), number(time)];
            args.extend(condition.iter().flat_map(|condition| match condition {
                ExpireCondition::Absent => vec![word("NX")],
                ExpireCondition::Present => vec![word("XX")],
                ExpireCondition::Later => vec![word("GT")],
                ExpireCondition::Earlier => vec![word("LT")],
                ExpireCondition::PresentEarlier => vec![word("XX"), word("LT")],
            }));
            args
        }
        Command::Persist { key } => one("PERSIST", key),
        Command::Scan { after, pattern, count } => {
            let mut args = vec![word("SCAN"), after.clone().unwrap_or_else(|| word("0"))];
            args.extend(pattern.iter().flat_map(|pattern| [word("MATCH"), pattern.clone()]));
            args.extend([word("COUNT"), number(count)]);
            args
        }
        Command::DbSize => vec![word("DBSIZE")],
        Command::FlushAll => vec![word("FLUSHALL")],
    }
}

fn is_relative(deadline: Deadline) -> bool {
    matches!(deadline, Deadline::In(_))
}

fn millis(deadline: Deadline) -> u64 {
    match deadline {
        Deadline::In(duration) => u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        Deadline::At(at) => at.0,
    }
}

/// The deadline in seconds, if it is whole.
fn seconds(deadline: Deadline) -> Option<u64> {
    let ms = millis(deadline);
    (ms > 0 && ms.is_multiple_of(1_000)).then(|| Duration::from_millis(ms).as_secs())
}

/// Reads a reply as the answer to `request`; `None` if it cannot be one in either protocol.
pub(crate) fn read(request: &Request, reply: Reply) -> Option<Answer> {
    Some(match (request, reply) {
        (_, Reply::Error(text)) => refusal(&text, request)?,
        (Request::Store(Command::Scan { .. }), Reply::Array(parts)) => page(parts)?,
        (_, Reply::Simple(text)) if *text == *b"OK" => Answer::Ok,
        (Request::Store(Command::Type { .. }), Reply::Simple(text)) => match &*text {
            b"string" => Answer::Simple("string"),
            b"none" => Answer::Simple("none"),
            _ => return None,
        },
        (_, Reply::Nil) => Answer::Nil,
        (_, Reply::Int(n)) => Answer::Int(n),
        (_, Reply::Bulk(bytes)) => Answer::Bulk(bytes.into()),
        (Request::Store(Command::MGet { .. }), Reply::Array(items)) => {
            let item = |reply| match reply {
                Reply::Bulk(bytes) => Some(Answer::Bulk(bytes.into())),
                Reply::Nil => Some(Answer::Nil),
                _ => None,
            };
            Answer::List(items.into_iter().map(item).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

fn page(parts: Vec<Reply>) -> Option<Answer> {
    let [Reply::Bulk(cursor), Reply::Array(keys)] = <[Reply; 2]>::try_from(parts).ok()? else {
        return None;
    };
    let key = |reply| match reply {
        Reply::Bulk(key) => Some(key),
        _ => None,
    };
    let keys = keys.into_iter().map(key).collect::<Option<_>>()?;
    let next = (*cursor != *b"0").then_some(cursor);
    Some(Answer::Page { next, keys })
}

/// The refusal a line of text stands for.
fn refusal(text: &[u8], request: &Request) -> Option<Answer> {
    let command = match request {
        Request::Store(Command::Set { .. }) => "set",
        _ => "expire",
    };
    let known = [
        Refusal::NotAnInteger,
        Refusal::Overflow,
        Refusal::WrongType,
        Refusal::ValueTooLong,
        Refusal::InvalidExpire { command },
        Refusal::InvalidCursor,
        Refusal::Loading,
        Refusal::OutOfMemory,
        Refusal::JournalFailed,
        Refusal::Unreadable,
        Refusal::ReadOnly,
        Refusal::Overloaded,
        Refusal::ShuttingDown,
    ];
    known.into_iter().find(|r| r.to_string().as_bytes() == text).map(Answer::Error)
}

/// A reply in words.
pub(super) fn show(reply: &Reply) -> String {
    match reply {
        Reply::Simple(text) => format!("+{}", show_bytes(text)),
        Reply::Error(text) => format!("-{}", show_bytes(text)),
        Reply::Bulk(bytes) => show_bytes(bytes),
        Reply::Int(n) => n.to_string(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use orloj_net::{
        UnixMs,
        resp::{Args, Request as Read, read_request},
    };

    use super::*;

    fn understood(command: &Command) -> Command {
        let mut block = Vec::new();
        let mut places = Vec::new();
        for arg in spell(command) {
            let from = block.len() as u32;
            block.extend_from_slice(&arg);
            places.push((from, block.len() as u32));
        }
        match read_request(Args::new(&Bytes::from(block), &places), usize::MAX) {
            Ok(Read::Data(command)) => command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_server_understands_what_a_client_spells() {
        let key = || word("k");
        let deadlines = [
            Deadline::In(Duration::from_millis(1)),
            Deadline::In(Duration::from_secs(3)),
            Deadline::At(UnixMs(1_700_000_000_123)),
            Deadline::At(UnixMs(1_700_000_000_000)),
        ];
        let mut commands = vec![
            Command::Get { key: key() },
            Command::GetDel { key: key() },
            Command::Append { key: key(), value: word("") },
            Command::StrLen { key: key() },
            Command::MGet { keys: vec![key(), key()] },
            Command::MSet { pairs: vec![(key(), word("v"))] },
            Command::Del { keys: vec![key()] },
            Command::Exists { keys: vec![key()] },
            Command::Type { key: key() },
            Command::Persist { key: key() },
            Command::DbSize,
            Command::FlushAll,
        ];
        commands.extend([1, -1, 7, -7, i64::MAX].map(|by| Command::Incr { key: key(), by }));
        for form in [
            TimeForm::SecondsLeft,
            TimeForm::MillisLeft,
            TimeForm::UnixSeconds,
            TimeForm::UnixMillis,
        ] {
            commands.push(Command::Ttl { key: key(), form });
        }
        for expiry in [Expiry::None, Expiry::Keep].into_iter().chain(deadlines.map(Expiry::By)) {
            for condition in [None, Some(Condition::Absent), Some(Condition::Present)] {
                for get in [false, true] {
                    commands.push(Command::Set {
                        key: key(),
                        value: word("v"),
                        expiry,
                        condition,
                        get,
                    });
                }
            }
        }
        for deadline in deadlines {
            for condition in [
                None,
                Some(ExpireCondition::Absent),
                Some(ExpireCondition::Present),
                Some(ExpireCondition::Later),
                Some(ExpireCondition::Earlier),
                Some(ExpireCondition::PresentEarlier),
            ] {
                commands.push(Command::Expire { key: key(), deadline, condition });
            }
        }
        for command in commands {
            assert!(understood(&command) == command, "{:?}", spell(&command));
        }
    }
}

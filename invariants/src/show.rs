//! Commands and answers as a person would type and read them, for evidence.
//!
//! `Debug` of the protocol's words hides keys and values, since they may be a user's. In a
//! simulation they are the workload's, and evidence without them proves nothing.

use orloj_net::{
    Answer, Command, Condition, Deadline, ExpireCondition, Expiry, Key, TimeForm, Value,
};

/// The longest byte string shown whole, in bytes.
const WHOLE: usize = 40;

/// Bytes as text, quoted if they could be mistaken for something else, long ones cut.
pub fn show_bytes(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(WHOLE)];
    let text: String = shown.iter().flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    if bytes.len() > WHOLE {
        format!("\"{text}..\" ({} bytes)", bytes.len())
    } else if bytes.is_empty() || text.contains([' ', '\\', '"']) {
        format!("\"{text}\"")
    } else {
        text
    }
}

/// A command as one would type it.
pub fn show_command(command: &Command) -> String {
    let one = |name: &str, key: &Key| format!("{name} {}", show_bytes(key));
    match command {
        Command::Get { key } => one("GET", key),
        Command::Set { key, value, expiry, condition, get } => {
            let mut line = format!("SET {} {}", show_bytes(key), show_bytes(value));
            line += match condition {
                None => "",
                Some(Condition::Absent) => " NX",
                Some(Condition::Present) => " XX",
            };
            line += if *get { " GET" } else { "" };
            match expiry {
                Expiry::None => {}
                Expiry::Keep => line += " KEEPTTL",
                Expiry::By(Deadline::In(d)) => line += &format!(" PX {}", d.as_millis()),
                Expiry::By(Deadline::At(at)) => line += &format!(" PXAT {}", at.0),
            }
            line
        }
        Command::GetDel { key } => one("GETDEL", key),
        Command::Append { key, value } => format!("{} {}", one("APPEND", key), show_bytes(value)),
        Command::StrLen { key } => one("STRLEN", key),
        Command::Incr { key, by } => format!("{} {by}", one("INCRBY", key)),
        Command::MGet { keys } => many("MGET", keys),
        Command::MSet { pairs } => {
            pairs.iter().fold("MSET".to_owned(), |line, (key, value): &(Key, Value)| {
                format!("{line} {} {}", show_bytes(key), show_bytes(value))
            })
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
            let condition = match condition {
                None => "",
                Some(ExpireCondition::Absent) => " NX",
                Some(ExpireCondition::Present) => " XX",
                Some(ExpireCondition::Later) => " GT",
                Some(ExpireCondition::Earlier) => " LT",
                Some(ExpireCondition::PresentEarlier) => " XX LT",
            };
            match deadline {
                Deadline::In(d) => format!("{} {}{condition}", one("PEXPIRE", key), d.as_millis()),
                Deadline::At(at) => format!("{} {}{condition}", one("PEXPIREAT", key), at.0),
            }
        }
        Command::Persist { key } => one("PERSIST", key),
        Command::Scan { after, pattern, count } => {
            let after = after.as_ref().map_or("0".to_owned(), |key| show_bytes(key));
            let pattern = pattern.as_ref().map(|p| format!(" MATCH {}", show_bytes(p)));
            format!("SCAN {after}{} COUNT {count}", pattern.unwrap_or_default())
        }
        Command::DbSize => "DBSIZE".to_owned(),
        Command::FlushAll => "FLUSHALL".to_owned(),
    }
}

/// An answer as one would read it.
pub fn show_answer(answer: &Answer) -> String {
    let list = |items: &[Answer]| {
        let items: Vec<String> = items.iter().map(show_answer).collect();
        format!("[{}]", items.join(", "))
    };
    match answer {
        Answer::Ok => "OK".to_owned(),
        Answer::Nil => "nil".to_owned(),
        Answer::Int(n) => n.to_string(),
        Answer::Bulk(bytes) => show_bytes(bytes),
        Answer::Text(bytes) => show_bytes(bytes),
        Answer::List(items) | Answer::Set(items) => list(items),
        Answer::Page { next, keys } => {
            let keys: Vec<String> = keys.iter().map(|key| show_bytes(key)).collect();
            let end = if next.is_some() { "more to come" } else { "the end" };
            format!("[{}], {end}", keys.join(", "))
        }
        Answer::Error(refusal) => format!("({refusal})"),
        Answer::Simple(word) => (*word).to_owned(),
        Answer::Map(pairs) => {
            let pairs =
                pairs.iter().map(|(k, v)| format!("{}: {}", show_answer(k), show_answer(v)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Answer::Double(real) => real.0.to_string(),
        Answer::Bool(yes) => yes.to_string(),
    }
}

fn many(name: &str, keys: &[Key]) -> String {
    keys.iter().fold(name.to_owned(), |line, key| format!("{line} {}", show_bytes(key)))
}

/// An entry's value and deadline.
pub(crate) fn show_entry(entry: &crate::Entry) -> String {
    let until = entry.deadline.map_or(String::new(), |at| format!(" until {}", at.0));
    format!("{}{until}", show_bytes(&entry.value))
}

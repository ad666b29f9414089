//! Words in full, for the reports of a simulation, where nothing is private.

use std::fmt;

use super::{Answer, Command, Deadline, ExpireCondition, Expiry};

/// A word shown with its keys and values, escaped. Never for a log: see [`Command::reveal`].
pub struct Revealed<'a, T>(&'a T);

impl Command {
    /// The command in full, as one would type it: evidence in a simulator's report or a test. A
    /// production log takes `Debug`, which hides user bytes.
    pub fn reveal(&self) -> Revealed<'_, Command> {
        Revealed(self)
    }
}

impl Answer {
    /// The answer in full, as redis-cli would show it on one line. See [`Command::reveal`].
    pub fn reveal(&self) -> Revealed<'_, Answer> {
        Revealed(self)
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    write!(f, "\"{}\"", bytes.escape_ascii())
}

fn deadline(f: &mut fmt::Formatter<'_>, deadline: Deadline) -> fmt::Result {
    match deadline {
        Deadline::In(duration) => write!(f, " in {duration:?}"),
        Deadline::At(at) => write!(f, " at {}ms", at.0),
    }
}

impl fmt::Display for Revealed<'_, Command> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())?;
        if let Command::MSet { pairs } = self.0 {
            for (key, value) in pairs {
                f.write_str(" ")?;
                quoted(f, key)?;
                f.write_str(" ")?;
                quoted(f, value)?;
            }
            return Ok(());
        }
        for key in self.0.keys() {
            f.write_str(" ")?;
            quoted(f, key)?;
        }
        match self.0 {
            Command::Set { value, expiry, condition, get, .. } => {
                f.write_str(" ")?;
                quoted(f, value)?;
                match expiry {
                    Expiry::None => {}
                    Expiry::Keep => f.write_str(" keepttl")?,
                    Expiry::By(by) => deadline(f, *by)?,
                }
                if let Some(condition) = condition {
                    write!(f, " if {condition:?}")?;
                }
                if *get { f.write_str(" get") } else { Ok(()) }
            }
            Command::Append { value, .. } => {
                f.write_str(" ")?;
                quoted(f, value)
            }
            Command::Incr { by, .. } => write!(f, " {by}"),
            Command::Ttl { form, .. } => write!(f, " {form:?}"),
            Command::Expire { deadline: by, condition, .. } => {
                deadline(f, *by)?;
                condition.map_or(Ok(()), |c: ExpireCondition| write!(f, " if {c:?}"))
            }
            Command::Scan { after, pattern, count } => {
                if let Some(after) = after {
                    f.write_str(" after ")?;
                    quoted(f, after)?;
                }
                if let Some(pattern) = pattern {
                    f.write_str(" match ")?;
                    quoted(f, pattern)?;
                }
                write!(f, " count {count}")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Revealed<'_, Answer> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[Answer]| {
            for (i, item) in items.iter().enumerate() {
                f.write_str(if i == 0 { "" } else { ", " })?;
                write!(f, "{}", item.reveal())?;
            }
            Ok(())
        };
        match self.0 {
            Answer::Ok => f.write_str("OK"),
            Answer::Nil => f.write_str("(nil)"),
            Answer::Int(number) => write!(f, "(integer) {number}"),
            Answer::Bulk(bytes) => quoted(f, bytes),
            Answer::Text(bytes) => quoted(f, bytes),
            Answer::List(items) => {
                f.write_str("[")?;
                list(f, items)?;
                f.write_str("]")
            }
            Answer::Set(items) => {
                f.write_str("{")?;
                list(f, items)?;
                f.write_str("}")
            }
            Answer::Page { next, keys } => {
                f.write_str("page [")?;
                for (i, key) in keys.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    quoted(f, key)?;
                }
                f.write_str("] next ")?;
                match next {
                    Some(next) => quoted(f, next),
                    None => f.write_str("(none)"),
                }
            }
            Answer::Error(refusal) => write!(f, "(error) {refusal}"),
            Answer::Simple(word) => f.write_str(word),
            Answer::Map(pairs) => {
                f.write_str("{")?;
                for (i, (name, value)) in pairs.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    write!(f, "{}: {}", name.reveal(), value.reveal())?;
                }
                f.write_str("}")
            }
            Answer::Double(real) => write!(f, "{}", real.0),
            Answer::Bool(yes) => write!(f, "{yes}"),
        }
    }
}

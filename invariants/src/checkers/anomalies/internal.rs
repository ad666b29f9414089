//! Transactions that do not see what they did or saw themselves.

use std::collections::BTreeMap;

use super::{Act, Anomaly, Beside, Fate, Kind, Txn};

/// What a transaction must read of a key from here on.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Must {
    /// A list that ends with these.
    End(Vec<i64>),
    /// Exactly this list.
    List(Vec<i64>),
    /// Exactly this register.
    Value(Option<i64>),
}

pub(super) fn check(txns: &[Txn], found: &mut Vec<Anomaly>) {
    let committed = txns.iter().enumerate().filter(|(_, txn)| txn.fate == Fate::Committed);
    for (at, txn) in committed {
        if let Some(why) = contradiction(&txn.acts) {
            let (kind, beside) = (Kind::Internal, Beside::Nothing);
            let words = format!("{}: {} {why}", kind.name(), txn.name);
            found.push(Anomaly { kind, beside, txns: vec![at], words });
        }
    }
}

fn contradiction(acts: &[Act]) -> Option<String> {
    let mut must: BTreeMap<&str, Must> = BTreeMap::new();
    for act in acts {
        match act {
            Act::Append(key, value) => match must.entry(key).or_insert(Must::End(Vec::new())) {
                Must::End(end) | Must::List(end) => end.push(*value),
                Must::Value(_) => {}
            },
            Act::Write(key, value) => {
                must.insert(key, Must::Value(Some(*value)));
            }
            Act::Delete(key) => {
                must.insert(key, Must::Value(None));
            }
            Act::List(key, read) => {
                let ends = match must.insert(key, Must::List(read.clone())) {
                    Some(Must::List(all)) if all != *read => Some(all),
                    Some(Must::End(end)) if !read.ends_with(&end) => Some(end),
                    _ => None,
                };
                if let Some(mine) = ends {
                    return Some(format!("read {key} as {read:?} where it had {mine:?}"));
                }
            }
            Act::Read(key, read) => {
                let before = must.insert(key, Must::Value(*read));
                if let Some(Must::Value(mine)) = before
                    && mine != *read
                {
                    return Some(format!("read {key} as {read:?} where it had {mine:?}"));
                }
            }
            Act::Range(from, to, read) => {
                for (key, value) in read {
                    let before = must.get(key.as_str());
                    if before.is_some_and(|must| *must != Must::Value(Some(*value))) {
                        return Some(format!("read {key} as {value} where it had {before:?}"));
                    }
                }
                let mut mine = must.range(from.as_str()..to.as_str());
                let gone = mine.find(|(key, must)| {
                    matches!(must, Must::Value(Some(_))) && !read.iter().any(|(it, _)| it == *key)
                });
                if let Some((key, _)) = gone {
                    return Some(format!("read a range without its own {key}"));
                }
            }
        }
    }
    None
}

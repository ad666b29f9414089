//! A shot as bytes. `docs/src/engine-format.md` has the layout.

use super::{Access, Action, KEYS_MAX, Kind, Row, STEPS_MAX, ShotError, SingleShot, Test};
use crate::{
    KeyspaceId,
    encoding::{Reader, write_bytes, write_leb},
};

/// The schema of shots.
const SCHEMA: u8 = 1;

impl<'a> SingleShot<'a> {
    /// Appends its encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(SCHEMA);
        write_leb(out, self.rows.len() as u64);
        for row in &self.rows {
            write_leb(out, u64::from(row.id));
            out.push(match row.access {
                Access::Read => 1,
                Access::Write => 2,
            });
            write_leb(out, u64::from(row.keyspace.0));
            write_bytes(out, row.key);
        }
        write_leb(out, self.asserts.len() as u64);
        for (row, test) in &self.asserts {
            let (tag, operand): (u8, &[u8]) = match test {
                Test::Exists => (1, &[]),
                Test::NotExists => (2, &[]),
                Test::Type(kind) => (3, &[*kind as u8]),
                Test::IntEq(number) => (4, &number.to_le_bytes()),
                Test::BytesHashEq(hash) => (5, hash),
                Test::StringHashEq(hash) => (6, hash),
            };
            out.push(tag);
            write_leb(out, u64::from(self.rows[*row].id));
            out.extend_from_slice(operand);
        }
        write_leb(out, self.actions.len() as u64);
        for (row, action) in &self.actions {
            let tag = match action {
                Action::Get => 1,
                Action::Put { deadline: None, .. } => 2,
                Action::Put { deadline: Some(_), .. } => 3,
                Action::Delete => 4,
                Action::Add(_) => 5,
            };
            out.push(tag);
            write_leb(out, u64::from(self.rows[*row].id));
            match action {
                Action::Get | Action::Delete => {}
                Action::Put { value, deadline } => {
                    write_bytes(out, value);
                    deadline.iter().for_each(|at| out.extend_from_slice(&at.to_le_bytes()));
                }
                Action::Add(by) => out.extend_from_slice(&by.to_le_bytes()),
            }
        }
    }

    /// Reads a shot; all of `bytes` must be it.
    ///
    /// # Errors
    /// The first thing that makes no sense.
    pub fn decode(bytes: &'a [u8]) -> Result<SingleShot<'a>, ShotError> {
        let mut from = Reader(bytes);
        let senseless = |from: &Reader<'_>| ShotError::Senseless { at: bytes.len() - from.0.len() };
        if from.byte() != Some(SCHEMA) {
            return Err(ShotError::Senseless { at: 0 });
        }
        let rows = list(&mut from, "keys", KEYS_MAX, row, senseless)?;
        let asserts = list(&mut from, "asserts", STEPS_MAX, assert, senseless)?;
        let actions = list(&mut from, "operations", STEPS_MAX, action, senseless)?;
        if !from.0.is_empty() {
            return Err(senseless(&from));
        }
        SingleShot::new(rows, &asserts, &actions)
    }
}

/// Items behind their count, which is judged before anything is made room for.
fn list<'a, T>(
    from: &mut Reader<'a>,
    of: &'static str,
    max: usize,
    item: fn(&mut Reader<'a>) -> Option<T>,
    senseless: impl Fn(&Reader<'_>) -> ShotError,
) -> Result<Vec<T>, ShotError> {
    let start = *from;
    let count = from.leb().ok_or_else(|| senseless(&start))?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    super::bound(of, count, max)?;
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let start = *from;
        items.push(item(from).ok_or_else(|| senseless(&start))?);
    }
    Ok(items)
}

fn id(from: &mut Reader<'_>) -> Option<u32> {
    u32::try_from(from.leb()?).ok()
}

fn row<'a>(from: &mut Reader<'a>) -> Option<Row<'a>> {
    let id = id(from)?;
    let access = match from.byte()? {
        1 => Access::Read,
        2 => Access::Write,
        _ => return None,
    };
    let keyspace = KeyspaceId(u32::try_from(from.leb()?).ok()?);
    Some(Row { id, access, keyspace, key: from.bytes()? })
}

fn assert(from: &mut Reader<'_>) -> Option<(u32, Test)> {
    let (tag, id) = (from.byte()?, id(from)?);
    let test = match tag {
        1 => Test::Exists,
        2 => Test::NotExists,
        3 => Test::Type(Kind::of(from.byte()?)?),
        4 => Test::IntEq(from.u64()?.cast_signed()),
        5 => Test::BytesHashEq(from.take(32)?.try_into().ok()?),
        6 => Test::StringHashEq(from.take(32)?.try_into().ok()?),
        _ => return None,
    };
    Some((id, test))
}

fn action<'a>(from: &mut Reader<'a>) -> Option<(u32, Action<'a>)> {
    let (tag, id) = (from.byte()?, id(from)?);
    let action = match tag {
        1 => Action::Get,
        2 => Action::Put { value: from.bytes()?, deadline: None },
        3 => Action::Put { value: from.bytes()?, deadline: Some(from.u64()?) },
        4 => Action::Delete,
        5 => Action::Add(from.u64()?.cast_signed()),
        _ => return None,
    };
    Some((id, action))
}

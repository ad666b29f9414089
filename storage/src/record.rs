//! Operations: what a transaction did to the tree, as bytes in its journal record.
//!
//! A record is its schema's number and then operations, in order. They are logical and carry whole
//! values, so that the same bytes serve recovery, replication, backup and undo.
//! `docs/src/engine-format.md` has the layout.

use crate::{
    KeyspaceId,
    encoding::{Reader, write_bytes, write_leb},
    keyspace::{self, Retention},
    page::{Claim, PTR, PagePtr},
};

/// The schema of the records the engine writes. Schema 1 is that of the map before it.
pub const SCHEMA: u8 = 2;

/// Most bytes of a key.
pub const KEY_MAX: usize = 65_535;
/// Most bytes of a value.
pub const VALUE_MAX: usize = 1 << 30;

/// One change of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// The key holds this value, until the deadline (Unix ms) if there is one.
    Put {
        /// Where.
        keyspace: KeyspaceId,
        /// 1 to [`KEY_MAX`] bytes.
        key: &'a [u8],
        /// At most [`VALUE_MAX`] bytes.
        value: &'a [u8],
        /// From then on the key is gone.
        deadline: Option<u64>,
    },
    /// The key is gone.
    Delete {
        /// Where.
        keyspace: KeyspaceId,
        /// 1 to [`KEY_MAX`] bytes.
        key: &'a [u8],
    },
    /// Every key of the keyspace is gone.
    Clear(KeyspaceId),
    /// There is a keyspace of this name.
    Create {
        /// Its number, never used before.
        keyspace: KeyspaceId,
        /// Its name.
        name: &'a str,
        /// What it keeps.
        keep: Retention,
    },
    /// The keyspace is gone, and its number never used again.
    Drop(KeyspaceId),
    /// The database's time is at least this, in Unix ms.
    Clock(u64),
    /// The replicated log has been applied up to this position.
    Applied(u64),
    /// A keyspace holds what lies in pages that were written and synced before, and nothing else.
    Load {
        /// Which.
        keyspace: KeyspaceId,
        /// The root of its tree.
        root: PagePtr,
        /// The units of all pages of that tree: see [`Claim`].
        units: &'a [u8],
    },
}

impl Op<'_> {
    /// Appends the operation to `record`, behind the schema's number if it is the first.
    #[inline]
    pub fn write(&self, record: &mut Vec<u8>, is_first: bool) {
        if is_first {
            record.push(SCHEMA);
        }
        let tag = |record: &mut Vec<u8>, tag: u8, keyspace: KeyspaceId| {
            record.push(tag);
            write_leb(record, u64::from(keyspace.0));
        };
        match *self {
            Op::Put { keyspace, key, value, deadline } => {
                tag(record, if deadline.is_some() { 2 } else { 1 }, keyspace);
                write_bytes(record, key);
                write_bytes(record, value);
                deadline.iter().for_each(|at| record.extend_from_slice(&at.to_le_bytes()));
            }
            Op::Delete { keyspace, key } => {
                tag(record, 3, keyspace);
                write_bytes(record, key);
            }
            Op::Clear(keyspace) => tag(record, 4, keyspace),
            Op::Create { keyspace, name, keep } => {
                tag(record, 5, keyspace);
                write_bytes(record, name.as_bytes());
                keep.write(record);
            }
            Op::Drop(keyspace) => tag(record, 6, keyspace),
            Op::Clock(now) => {
                record.push(7);
                record.extend_from_slice(&now.to_le_bytes());
            }
            Op::Applied(position) => {
                record.push(8);
                record.extend_from_slice(&position.to_le_bytes());
            }
            Op::Load { keyspace, root, units } => {
                tag(record, 9, keyspace);
                record.extend_from_slice(&root.encode());
                write_bytes(record, units);
            }
        }
    }
}

/// A record that makes no sense from some byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record makes no sense from its byte {at} on")]
pub struct Senseless {
    /// That byte.
    pub at: usize,
}

/// The operations of a record, in order.
///
/// # Errors
/// [`Senseless`] once, as the last item, at the first byte that this release cannot read.
pub fn ops(record: &[u8]) -> Ops<'_> {
    Ops { len: record.len(), state: State::Schema(record) }
}

/// The operation that stands alone at the beginning of `bytes`.
#[inline]
pub(crate) fn op(bytes: &[u8]) -> Option<Op<'_>> {
    read(&mut Reader(bytes))
}

/// See [`ops`].
#[derive(Clone, Debug)]
pub struct Ops<'a> {
    len: usize,
    state: State<'a>,
}

#[derive(Clone, Debug)]
enum State<'a> {
    Schema(&'a [u8]),
    Ops(Reader<'a>),
    Over,
}

impl<'a> Ops<'a> {
    /// The bytes of the next operation and of all behind it.
    pub(crate) fn rest(&self) -> &'a [u8] {
        match &self.state {
            State::Schema(bytes) => bytes.get(1..).unwrap_or_default(),
            State::Ops(reader) => reader.0,
            State::Over => &[],
        }
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<Op<'a>, Senseless>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let reader = match &mut self.state {
            State::Schema([SCHEMA, rest @ ..]) => {
                self.state = State::Ops(Reader(rest));
                return self.next();
            }
            State::Schema(_) => {
                self.state = State::Over;
                return Some(Err(Senseless { at: 0 }));
            }
            State::Over => return None,
            State::Ops(reader) if reader.0.is_empty() => return None,
            State::Ops(reader) => reader,
        };
        let at = self.len - reader.0.len();
        let op = read(reader);
        if op.is_none() {
            self.state = State::Over;
        }
        Some(op.ok_or(Senseless { at }))
    }
}

#[inline]
fn read<'a>(from: &mut Reader<'a>) -> Option<Op<'a>> {
    let tag = from.byte()?;
    let keyspace = match tag {
        1..=6 | 9 => KeyspaceId(u32::try_from(from.leb()?).ok()?),
        _ => KeyspaceId::META,
    };
    Some(match tag {
        1 | 2 => {
            let (key, value) = (read_key(from)?, from.bytes()?);
            let deadline = if tag == 2 { Some(from.u64()?) } else { None };
            (value.len() <= VALUE_MAX).then_some(Op::Put { keyspace, key, value, deadline })?
        }
        3 => Op::Delete { keyspace, key: read_key(from)? },
        4 => Op::Clear(keyspace),
        5 => {
            let name = str::from_utf8(from.bytes()?).ok().filter(|name| keyspace::is_name(name))?;
            Op::Create { keyspace, name, keep: Retention::read(from)? }
        }
        6 => Op::Drop(keyspace),
        7 => Op::Clock(from.u64()?),
        8 => Op::Applied(from.u64()?),
        9 => {
            let root = PagePtr::decode(from.take(PTR)?.try_into().ok()?)?;
            let units = from.bytes()?;
            Claim::decode(units).filter(|claim| claim.has(root.unit))?;
            Op::Load { keyspace, root, units }
        }
        _ => return None,
    })
}

#[inline]
fn read_key<'a>(from: &mut Reader<'a>) -> Option<&'a [u8]> {
    from.bytes().filter(|key| (1..=KEY_MAX).contains(&key.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: KeyspaceId = KeyspaceId(300);
    const ROOT: PagePtr = PagePtr { unit: 9, units: 1, sum: 10, generation: 11 };

    fn every() -> Vec<Op<'static>> {
        vec![
            Op::Put { keyspace: USERS, key: b"k", value: b"", deadline: None },
            Op::Put { keyspace: USERS, key: b"kk", value: b"v", deadline: Some(0x0102) },
            Op::Delete { keyspace: KeyspaceId(16), key: b"k" },
            Op::Clear(USERS),
            Op::Create { keyspace: USERS, name: "users", keep: Retention::All },
            Op::Drop(USERS),
            Op::Clock(5),
            Op::Applied(u64::MAX),
            Op::Load { keyspace: USERS, root: ROOT, units: &[2, 1, 5, 2] },
        ]
    }

    fn record(of: &[Op<'_>]) -> Vec<u8> {
        let mut record = Vec::new();
        of.iter().enumerate().for_each(|(at, op)| op.write(&mut record, at == 0));
        record
    }

    #[test]
    fn golden() {
        #[rustfmt::skip]
        let golden: &[u8] = &[
            2,
            1, 0xac, 2, 1, b'k', 0,
            2, 0xac, 2, 2, b'k', b'k', 1, b'v', 2, 1, 0, 0, 0, 0, 0, 0,
            3, 16, 1, b'k',
            4, 0xac, 2,
            5, 0xac, 2, 5, b'u', b's', b'e', b'r', b's', 1,
            6, 0xac, 2,
            7, 5, 0, 0, 0, 0, 0, 0, 0,
            8, 255, 255, 255, 255, 255, 255, 255, 255,
            9, 0xac, 2, 9, 0, 0, 0, 0, 0, 1, 0, 10, 0, 0, 0, 11, 0, 0, 0, 4, 2, 1, 5, 2,
        ];
        assert_eq!(record(&every()), golden);
        assert_eq!(ops(golden).collect::<Result<Vec<_>, _>>(), Ok(every()));
    }

    #[test]
    fn the_schema_has_every_operation_at_its_tag() {
        let (_, rest) = include_str!("../schemas/wal.fbs").split_once("union Op {").expect("one");
        let (members, _) = rest.split_once('}').expect("it ends");
        let members: Vec<&str> = members.split(',').map(str::trim).collect();
        let name = |op: &Op<'_>| match op {
            Op::Put { deadline: None, .. } => "Put",
            Op::Put { deadline: Some(_), .. } => "PutUntil",
            Op::Delete { .. } => "Delete",
            Op::Clear(_) => "Clear",
            Op::Create { .. } => "Create",
            Op::Drop(_) => "Drop",
            Op::Clock(_) => "Clock",
            Op::Applied(_) => "Applied",
            Op::Load { .. } => "Load",
        };
        assert_eq!(every().iter().map(name).collect::<Vec<_>>(), members);
        for (at, op) in every().iter().enumerate() {
            assert_eq!(record(&[*op])[1] as usize, at + 1, "{op:?}");
        }
    }

    #[test]
    fn a_cut_record_gives_whole_operations_and_then_says_where() {
        let whole = record(&every());
        let ends: Vec<usize> = (1..=every().len()).map(|n| record(&every()[..n]).len()).collect();
        for end in 0..whole.len() {
            let read: Vec<_> = ops(&whole[..end]).collect();
            let complete = ends.iter().filter(|e| **e <= end).count();
            let expected: Vec<_> = every()[..complete].iter().copied().map(Ok).collect();
            assert_eq!(read[..complete], expected, "cut at {end}");
            let last = complete.checked_sub(1).map_or(1, |n| ends[n]);
            match end == last {
                true => assert_eq!(read.len(), complete, "cut at {end}"),
                false => {
                    let at = if end == 0 { 0 } else { last };
                    assert_eq!(read[complete..], [Err(Senseless { at })], "cut at {end}");
                }
            }
        }
    }

    #[test]
    fn what_no_release_writes_is_refused() {
        let empty_key = [2, 3, 16, 0];
        let wide_keyspace = [2, 4, 255, 255, 255, 255, 31];
        let no_name = [2, 5, 16, 0, 1];
        for senseless in [&[1][..], &[3], &[2, 0], &[2, 10], &empty_key, &wide_keyspace, &no_name] {
            let last = ops(senseless).last();
            assert!(matches!(last, Some(Err(_))), "{senseless:?}: {last:?}");
        }
        let long_key = vec![7; KEY_MAX + 1];
        let long = record(&[Op::Delete { keyspace: USERS, key: &long_key }]);
        assert_eq!(ops(&long).last(), Some(Err(Senseless { at: 1 })));
    }
}

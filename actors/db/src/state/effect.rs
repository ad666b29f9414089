//! What a command did to the store, as bytes in its journal record.
//!
//! A record is its schema's number and then effects, in order. An effect says what changed and
//! never why, so that a command may come to mean something else and old journals still mean the
//! same. `docs/src/format.md` has the layout.

use orloj_net::UnixMs;

/// The schema of the records written today.
pub(crate) const SCHEMA: u8 = 1;

/// One change of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect<'a> {
    /// The key holds this value, until the deadline if there is one.
    Put { key: &'a [u8], value: &'a [u8], deadline: Option<UnixMs> },
    /// The key is gone.
    Remove { key: &'a [u8] },
    /// The key's value, or the empty string, has these bytes behind it.
    Append { key: &'a [u8], value: &'a [u8] },
    /// The key's number, or 0, is greater by this much.
    Add { key: &'a [u8], by: i64 },
    /// The key has this deadline, or none.
    Deadline { key: &'a [u8], deadline: Option<UnixMs> },
    /// Every key is gone.
    Clear,
    /// Keys with a deadline up to here are gone.
    Clock { now: UnixMs },
}

impl Effect<'_> {
    /// Appends the effect to `record`, behind the schema's number if it is the first.
    pub(crate) fn write(&self, record: &mut Vec<u8>, first: bool) {
        if first {
            record.push(SCHEMA);
        }
        match self {
            Effect::Put { key, value, deadline: None } => {
                record.push(1);
                bytes(record, key);
                bytes(record, value);
            }
            Effect::Put { key, value, deadline: Some(deadline) } => {
                record.push(2);
                bytes(record, key);
                bytes(record, value);
                number(record, deadline.0);
            }
            Effect::Remove { key } => {
                record.push(3);
                bytes(record, key);
            }
            Effect::Append { key, value } => {
                record.push(4);
                bytes(record, key);
                bytes(record, value);
            }
            Effect::Add { key, by } => {
                record.push(5);
                bytes(record, key);
                number(record, *by as u64);
            }
            Effect::Deadline { key, deadline } => {
                record.push(if deadline.is_some() { 6 } else { 9 });
                bytes(record, key);
                deadline.iter().for_each(|at| number(record, at.0));
            }
            Effect::Clear => record.push(7),
            Effect::Clock { now } => {
                record.push(8);
                number(record, now.0);
            }
        }
    }
}

fn bytes(record: &mut Vec<u8>, bytes: &[u8]) {
    // Keys and values are bounded far below 4 GiB by every way in.
    record.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    record.extend_from_slice(bytes);
}

fn number(record: &mut Vec<u8>, number: u64) {
    record.extend_from_slice(&number.to_le_bytes());
}

/// The effects in `record`; a last `None` at the first byte that makes no sense.
pub(crate) fn effects(record: &[u8]) -> impl Iterator<Item = Option<Effect<'_>>> {
    let mut reader = match record.split_first() {
        Some((&SCHEMA, rest)) => Some(Reader(rest)),
        _ => None,
    };
    let mut known = reader.is_some();
    std::iter::from_fn(move || {
        if !std::mem::replace(&mut known, true) {
            return Some(None);
        }
        let rest = reader.as_mut().filter(|r| !r.0.is_empty())?;
        let effect = rest.effect();
        if effect.is_none() {
            reader = None;
        }
        Some(effect)
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn effect(&mut self) -> Option<Effect<'a>> {
        let tag = self.take(1)?[0];
        Some(match tag {
            1 => Effect::Put { key: self.bytes()?, value: self.bytes()?, deadline: None },
            2 => {
                let (key, value) = (self.bytes()?, self.bytes()?);
                Effect::Put { key, value, deadline: Some(UnixMs(self.number()?)) }
            }
            3 => Effect::Remove { key: self.bytes()? },
            4 => Effect::Append { key: self.bytes()?, value: self.bytes()? },
            5 => Effect::Add { key: self.bytes()?, by: self.number()? as i64 },
            6 => {
                let key = self.bytes()?;
                Effect::Deadline { key, deadline: Some(UnixMs(self.number()?)) }
            }
            7 => Effect::Clear,
            8 => Effect::Clock { now: UnixMs(self.number()?) },
            9 => Effect::Deadline { key: self.bytes()?, deadline: None },
            _ => return None,
        })
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(len as usize)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Effect<'_>; 9] = [
        Effect::Put { key: b"k", value: b"v", deadline: None },
        Effect::Put { key: b"", value: b"", deadline: Some(UnixMs(7)) },
        Effect::Remove { key: b"k" },
        Effect::Append { key: b"k", value: b"more" },
        Effect::Add { key: b"n", by: -2 },
        Effect::Deadline { key: b"k", deadline: Some(UnixMs(9)) },
        Effect::Clear,
        Effect::Clock { now: UnixMs(0x0102_0304) },
        Effect::Deadline { key: b"k", deadline: None },
    ];

    fn record(effects: &[Effect<'_>]) -> Vec<u8> {
        let mut record = Vec::new();
        for (index, effect) in effects.iter().enumerate() {
            effect.write(&mut record, index == 0);
        }
        record
    }

    #[test]
    fn records_are_golden() {
        let golden: [&[u8]; 9] = [
            b"\x01\x01\0\0\0k\x01\0\0\0v",
            b"\x02\0\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0",
            b"\x03\x01\0\0\0k",
            b"\x04\x01\0\0\0k\x04\0\0\0more",
            b"\x05\x01\0\0\0n\xfe\xff\xff\xff\xff\xff\xff\xff",
            b"\x06\x01\0\0\0k\x09\0\0\0\0\0\0\0",
            b"\x07",
            b"\x08\x04\x03\x02\x01\0\0\0\0",
            b"\x09\x01\0\0\0k",
        ];
        for (effect, golden) in ALL.iter().zip(golden) {
            assert_eq!(record(&[*effect]), [b"\x01", golden].concat(), "{effect:?}");
        }
        assert_eq!(record(&ALL), [b"\x01".as_slice(), &golden.concat()].concat());
    }

    #[test]
    fn effects_come_back_and_nonsense_is_noticed() {
        let whole = record(&ALL);
        let read: Option<Vec<Effect<'_>>> = effects(&whole).collect();
        assert_eq!(read.as_deref(), Some(ALL.as_slice()));
        let boundaries: Vec<usize> = (0..=ALL.len()).map(|n| record(&ALL[..n]).len()).collect();
        for cut in 0..whole.len() {
            let read: Option<Vec<Effect<'_>>> = effects(&whole[..cut]).collect();
            let sensible = cut > 1 && boundaries.contains(&cut) || cut == 1;
            assert_eq!(read.is_some(), sensible, "{cut} bytes");
        }
        for wrong in [b"\x02\x07".as_slice(), b"\x01\x0a", b"\x01\x00", b""] {
            assert!(effects(wrong).any(|e| e.is_none()), "{wrong:?}");
        }
    }
}

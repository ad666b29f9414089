//! What a record of schema 1 says, as bytes: its schema's number and then effects, in order.
//!
//! An effect says what changed and never why. `docs/src/format.md` has the layout. Nobody writes it
//! any more.

use orloj_net::UnixMs;

/// The schema of these records.
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
pub(super) mod tests {
    use super::*;

    /// The record of these effects, as release 0.0 wrote it.
    pub(crate) fn record(effects: &[Effect<'_>]) -> Vec<u8> {
        let mut record = vec![SCHEMA];
        effects.iter().for_each(|effect| write(effect, &mut record));
        record
    }

    fn write(effect: &Effect<'_>, record: &mut Vec<u8>) {
        let mut fields = |tag: u8, strings: &[&[u8]], number: Option<u64>| {
            record.push(tag);
            for string in strings {
                record.extend_from_slice(&(string.len() as u32).to_le_bytes());
                record.extend_from_slice(string);
            }
            number.iter().for_each(|number| record.extend_from_slice(&number.to_le_bytes()));
        };
        match effect {
            Effect::Put { key, value, deadline: None } => fields(1, &[key, value], None),
            Effect::Put { key, value, deadline: Some(at) } => fields(2, &[key, value], Some(at.0)),
            Effect::Remove { key } => fields(3, &[key], None),
            Effect::Append { key, value } => fields(4, &[key, value], None),
            Effect::Add { key, by } => fields(5, &[key], Some(*by as u64)),
            Effect::Deadline { key, deadline: Some(at) } => fields(6, &[key], Some(at.0)),
            Effect::Clear => fields(7, &[], None),
            Effect::Clock { now } => fields(8, &[], Some(now.0)),
            Effect::Deadline { key, deadline: None } => fields(9, &[key], None),
        }
    }

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
            let golden = [b"\x01", golden].concat();
            assert_eq!(effects(&golden).collect::<Vec<_>>(), [Some(*effect)]);
            assert_eq!(record(&[*effect]), golden, "{effect:?}");
        }
        let whole = [b"\x01".as_slice(), &golden.concat()].concat();
        assert_eq!(effects(&whole).collect::<Option<Vec<_>>>().as_deref(), Some(&ALL[..]));
    }

    #[test]
    fn nonsense_is_noticed() {
        let whole = record(&ALL);
        let boundaries: Vec<usize> = (0..=ALL.len()).map(|n| record(&ALL[..n]).len()).collect();
        for cut in 0..whole.len() {
            let read: Option<Vec<Effect<'_>>> = effects(&whole[..cut]).collect();
            assert_eq!(read.is_some(), boundaries.contains(&cut), "{cut} bytes");
        }
        for wrong in [b"\x02\x07".as_slice(), b"\x01\x0a", b"\x01\x00", b""] {
            assert!(effects(wrong).any(|e| e.is_none()), "{wrong:?}");
        }
    }
}

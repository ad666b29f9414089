//! One entry of a leaf: a version of a key, and the slot that leads to it.

use crate::{Lsn, encoding::Reader};

/// Bytes of an entry's head without a deadline.
pub const ENTRY_HEAD: usize = 13;
/// Bytes of an encoded [`ValuePointer`].
pub const VALUE_POINTER: usize = 24;

const KIND: u8 = 0b011;
const HAS_DEADLINE: u8 = 0b100;

/// Where a long value lies in the value log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValuePointer {
    /// Its segment's number.
    pub segment: u32,
    /// Bytes of the key in its record.
    pub key_len: u16,
    /// The record's first byte in the segment.
    pub offset: u64,
    /// Bytes of the value.
    pub len: u32,
    /// The record's checksum.
    pub sum: u32,
}

impl ValuePointer {
    /// Its encoding.
    pub fn encode(&self) -> [u8; VALUE_POINTER] {
        let mut bytes = [0; VALUE_POINTER];
        bytes[..4].copy_from_slice(&self.segment.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.key_len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.len.to_le_bytes());
        bytes[20..].copy_from_slice(&self.sum.to_le_bytes());
        bytes
    }

    /// Reads an encoding back.
    #[inline]
    pub(crate) fn read(bytes: &[u8]) -> Option<ValuePointer> {
        let mut from = Reader(bytes);
        let (segment, key_len, zero) = (from.u32()?, from.u16()?, from.u16()?);
        let (offset, len, sum) = (from.u64()?, from.u32()?, from.u32()?);
        let pointer = ValuePointer { segment, key_len, offset, len, sum };
        (zero == 0 && from.0.is_empty()).then_some(pointer)
    }
}

/// What a version of a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held<'a> {
    /// A value, right here.
    Value(&'a [u8]),
    /// Nothing: the key was deleted.
    Tombstone,
    /// A value in the value log.
    Pointer(ValuePointer),
    /// A long value that is in memory only, under this number of its leaf. Never on disk.
    Memory(u32),
}

/// A version of a key in a leaf. The key's beginning, which is common to the leaf, is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key behind the common prefix.
    pub suffix: &'a [u8],
    /// The position of the record that wrote it.
    pub version: Lsn,
    /// From then on (Unix ms) it counts as deleted.
    pub deadline: Option<u64>,
    /// What it holds.
    pub held: Held<'a>,
}

impl<'a> Entry<'a> {
    /// Whether an entry that begins with `flags` has a deadline.
    #[inline]
    pub(super) fn has_deadline(flags: u8) -> bool {
        flags & HAS_DEADLINE != 0
    }

    /// Whether an entry that begins with `flags` is a tombstone.
    #[inline]
    pub(super) fn is_tombstone(flags: u8) -> bool {
        flags & KIND == 1
    }

    /// Whether an entry that begins with `flags` is a value that stands right there, for ever.
    #[inline]
    pub(super) fn is_plain(flags: u8) -> bool {
        flags == 0
    }

    /// Bytes of the entry that `bytes` begin with.
    ///
    /// # Panics
    /// If they end within its head.
    #[inline]
    pub(super) fn size_of(bytes: &[u8]) -> usize {
        let half = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let deadline = if Entry::has_deadline(bytes[0]) { 8 } else { 0 };
        ENTRY_HEAD + deadline + half(9) + half(11)
    }

    /// Bytes of its encoding.
    #[inline]
    pub fn size(&self) -> usize {
        let payload = match self.held {
            Held::Value(value) => value.len(),
            Held::Tombstone => 0,
            Held::Pointer(_) => VALUE_POINTER,
            Held::Memory(_) => 4,
        };
        ENTRY_HEAD + if self.deadline.is_some() { 8 } else { 0 } + self.suffix.len() + payload
    }

    /// Writes it to the beginning of `to`, which has [`Entry::size`] bytes.
    #[inline]
    pub fn write(&self, to: &mut [u8]) {
        let (pointer, memory);
        let (kind, payload): (u8, &[u8]) = match self.held {
            Held::Value(value) => (0, value),
            Held::Tombstone => (1, &[]),
            Held::Pointer(at) => {
                pointer = at.encode();
                (2, &pointer)
            }
            Held::Memory(number) => {
                memory = number.to_le_bytes();
                (3, &memory)
            }
        };
        let suffix_len = u16::try_from(self.suffix.len()).expect("a key is below 64 KiB");
        let payload_len = u16::try_from(payload.len()).expect("a value here is below 64 KiB");
        to[0] = kind | if self.deadline.is_some() { HAS_DEADLINE } else { 0 };
        to[1..9].copy_from_slice(&self.version.0.to_le_bytes());
        to[9..11].copy_from_slice(&suffix_len.to_le_bytes());
        to[11..13].copy_from_slice(&payload_len.to_le_bytes());
        let mut at = ENTRY_HEAD;
        if let Some(deadline) = self.deadline {
            to[at..at + 8].copy_from_slice(&deadline.to_le_bytes());
            at += 8;
        }
        to[at..at + self.suffix.len()].copy_from_slice(self.suffix);
        at += self.suffix.len();
        to[at..at + payload.len()].copy_from_slice(payload);
    }

    /// The entry at the beginning of `from`; `None` if it makes no sense.
    #[inline]
    pub fn read(from: &'a [u8]) -> Option<Entry<'a>> {
        let mut from = Reader(from);
        let (flags, version) = (from.byte()?, Lsn(from.u64()?));
        let (suffix_len, payload_len) = (from.u16()?, from.u16()?);
        let deadline = if flags & HAS_DEADLINE != 0 { Some(from.u64()?) } else { None };
        let suffix = from.take(usize::from(suffix_len))?;
        let payload = from.take(usize::from(payload_len))?;
        let held = match flags & KIND {
            0 => Held::Value(payload),
            1 if payload.is_empty() => Held::Tombstone,
            2 => Held::Pointer(ValuePointer::read(payload)?),
            3 => Held::Memory(u32::from_le_bytes(payload.try_into().ok()?)),
            _ => return None,
        };
        let known = flags & !(KIND | HAS_DEADLINE) == 0;
        known.then_some(Entry { suffix, version, deadline, held })
    }
}

/// What a leaf is searched by: eight bytes for each entry, in the order of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// See [`Slot::head_of`].
    pub head: u32,
    /// How far before the end of the image the entry begins.
    pub back: u32,
}

impl Slot {
    /// Bytes of a slot.
    pub const SIZE: usize = 8;

    /// The first four bytes of a suffix as a number that is ordered as they are, zeros where it is
    /// shorter. If two heads differ, the suffixes are ordered as they are; if not, nothing is said.
    #[inline]
    pub fn head_of(suffix: &[u8]) -> u32 {
        match suffix.first_chunk() {
            Some(four) => u32::from_be_bytes(*four),
            None => {
                let mut four = [0; 4];
                four[..suffix.len()].copy_from_slice(suffix);
                u32::from_be_bytes(four)
            }
        }
    }

    /// Its encoding.
    #[inline]
    pub fn encode(self) -> [u8; Slot::SIZE] {
        (u64::from(self.head) | u64::from(self.back) << 32).to_le_bytes()
    }

    /// Reads an encoding back.
    #[inline]
    pub fn decode(bytes: [u8; Slot::SIZE]) -> Slot {
        let both = u64::from_le_bytes(bytes);
        Slot { head: both as u32, back: (both >> 32) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTER: ValuePointer =
        ValuePointer { segment: 1, key_len: 2, offset: 3, len: 4, sum: 5 };

    fn entry(held: Held<'static>, deadline: Option<u64>) -> Entry<'static> {
        Entry { suffix: b"key", version: Lsn(0x0102), deadline, held }
    }

    fn encode(entry: &Entry<'_>) -> Vec<u8> {
        let mut bytes = vec![0; entry.size()];
        entry.write(&mut bytes);
        bytes
    }

    #[test]
    fn golden() {
        let golden: [(Entry<'_>, &[u8]); 4] = [
            (
                entry(Held::Value(b"v"), None),
                &[0, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, b'k', b'e', b'y', b'v'],
            ),
            (
                entry(Held::Tombstone, Some(9)),
                b"\x05\x02\x01\0\0\0\0\0\0\x03\0\0\0\x09\0\0\0\0\0\0\0key",
            ),
            (
                entry(Held::Pointer(POINTER), None),
                b"\x02\x02\x01\0\0\0\0\0\0\x03\0\x18\0key\
                  \x01\0\0\0\x02\0\0\0\x03\0\0\0\0\0\0\0\x04\0\0\0\x05\0\0\0",
            ),
            (entry(Held::Memory(6), None), b"\x03\x02\x01\0\0\0\0\0\0\x03\0\x04\0key\x06\0\0\0"),
        ];
        for (entry, bytes) in golden {
            assert_eq!(encode(&entry), bytes, "{entry:?}");
            assert_eq!(Entry::read(bytes), Some(entry));
            for end in 0..bytes.len() {
                assert_eq!(Entry::read(&bytes[..end]), None, "{entry:?} cut at {end}");
            }
        }
    }

    #[test]
    fn unknown_flags_and_payloads_of_the_wrong_size_are_refused() {
        let mut bytes = encode(&entry(Held::Value(b"v"), None));
        bytes[0] = 0b1000;
        assert_eq!(Entry::read(&bytes), None);
        for kind in 1..=3 {
            bytes[0] = kind;
            assert_eq!(Entry::read(&bytes), None, "kind {kind} with one byte");
        }
    }

    #[test]
    fn heads_never_contradict_the_order_of_suffixes() {
        let some: [&[u8]; 9] =
            [b"", b"\0", b"a", b"a\0", b"aaaa", b"aaaaz", b"aaab", b"b", b"\xff\xff\xff\xff\xff"];
        for a in some {
            for b in some {
                let (heads, keys) = (Slot::head_of(a).cmp(&Slot::head_of(b)), a.cmp(b));
                assert!(heads.is_eq() || heads == keys, "{a:?} {b:?}: {heads:?} {keys:?}");
            }
        }
        let slot = Slot { head: 0x0403_0201, back: 0x0807_0605 };
        assert_eq!(slot.encode(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(Slot::decode(slot.encode()), slot);
    }
}

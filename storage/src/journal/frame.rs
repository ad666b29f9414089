//! One frame as bytes: records in a row, cut into guarded sectors, under two checksums.
//!
//! A sector begins and ends with a guard byte that is never zero, and its segment was zeros before.
//! So a sector that lacks a guard was lost or torn by a power cut before any sync covered it. One
//! that has both was written from end to end, and if a single flipped bit explains a checksum that
//! fails, it rotted. Noise, which a power cut may also leave, looks like neither. That difference
//! is what recovery judges by where no later frame says what was synced.

use crc32c::{crc32c, crc32c_append};

use super::{Lsn, segment::word};

/// The unit in which a disk keeps or loses unsynced bytes.
pub const SECTOR: usize = 512;
/// Bytes of a sector between its guards.
pub(super) const CONTENT: usize = SECTOR - 2;
/// Bytes of a frame's head, which lie in its first sector.
pub(super) const HEAD: usize = 40;
/// Most bytes of records in one frame.
pub(super) const BODY_MAX: usize = 2 << 30;

/// First byte of a frame's first sector. All eight bits differ from [`GUARD_NEXT`].
pub(super) const GUARD_FIRST: u8 = 0x5a;
/// First byte of a frame's other sectors.
pub(super) const GUARD_NEXT: u8 = 0xa5;
/// Last byte of every sector.
pub(super) const GUARD_LAST: u8 = 0xc3;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It carries records.
    Records,
    /// It carries no record; it says what is durable once writing pauses.
    Mark,
    /// As [`Kind::Mark`], by a journal that was closed in order.
    Close,
    /// As [`Kind::Mark`], and the records go on in the next segment, which exists.
    Seal,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Records => 1,
            Kind::Mark => 2,
            Kind::Close => 3,
            Kind::Seal => 4,
        }
    }

    fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Records,
            2 => Kind::Mark,
            3 => Kind::Close,
            4 => Kind::Seal,
            _ => return None,
        })
    }
}

/// What a frame says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// What it is for.
    pub kind: Kind,
    /// The position of its first record, or of the next one if it has none.
    pub first: Lsn,
    /// How many records it carries.
    pub count: u32,
    /// Everything up to here was synced before this frame was written.
    pub durable: Lsn,
    /// Bytes of records, their length words included.
    pub body: u32,
}

impl FrameHead {
    /// The position after its last record.
    pub fn next(&self) -> Lsn {
        self.first.plus(u64::from(self.count))
    }

    /// Bytes it takes on disk: whole sectors.
    pub fn size(&self) -> usize {
        frame_size(self.body as usize)
    }
}

/// Bytes on disk of a frame whose records take `body` bytes.
pub(super) fn frame_size(body: usize) -> usize {
    (HEAD + body).div_ceil(CONTENT) * SECTOR
}

/// Where a frame stands. Both go into its checksums, so that bytes of another segment, or of
/// another place in this one, never pass for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The random number of its segment.
    pub(super) salt: u64,
    /// Its first byte in the segment.
    pub(super) offset: u64,
}

impl Place {
    fn seed(self) -> u32 {
        crc32c_append(crc32c(&self.salt.to_le_bytes()), &self.offset.to_le_bytes())
    }
}

/// Encoded records in a row, to be appended together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    bytes: Vec<u8>,
    count: u32,
}

impl Records {
    /// None yet.
    pub fn new() -> Records {
        Records::default()
    }

    /// Adds the record that `write` appends to the buffer it is given.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        write(&mut self.bytes);
        self.end(start);
    }

    /// As [`Records::push`], but without a record if `write` appends nothing. Returns what `write`
    /// does.
    #[inline]
    pub fn push_if_any<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        let out = write(&mut self.bytes);
        match self.bytes.len() == start + 4 {
            true => self.bytes.truncate(start),
            false => self.end(start),
        }
        out
    }

    fn end(&mut self, start: usize) {
        let len = self.bytes.len() - start - 4;
        let len = u32::try_from(len).expect("a record is smaller than 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&len.to_le_bytes());
        self.count += 1;
    }

    /// How many they are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes they take, length words included.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The records, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        records(&self.bytes).flatten()
    }

    /// Their encoding: each behind its length, `u32`.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads an encoding back; `None` if it makes no sense.
    pub fn decode(bytes: Vec<u8>) -> Option<Records> {
        let count = records(&bytes).try_fold(0_u32, |n, record| record.map(|_| n.wrapping_add(1)));
        Some(Records { count: count?, bytes })
    }

    /// Forgets them and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// Adds `body`, which is `count` records in their encoding.
    pub(super) fn extend(&mut self, body: &[u8], count: u32) {
        self.bytes.extend_from_slice(body);
        self.count += count;
    }
}

/// Appends to `out` the frame of `batches`, to stand at `place`.
///
/// `durable` must have been synced before the frame is written.
pub(super) fn encode(
    out: &mut Vec<u8>,
    place: Place,
    kind: Kind,
    first: Lsn,
    durable: Lsn,
    batches: &[Records],
) -> FrameHead {
    assert!(durable < first, "durable {durable} is not before {first}");
    let body: usize = batches.iter().map(|b| b.bytes.len()).sum();
    assert!(body <= BODY_MAX, "a frame of {body} bytes");
    let count = batches.iter().map(|b| b.count).sum();
    let head = FrameHead { kind, first, count, durable, body: body as u32 };
    assert_eq!(kind == Kind::Records, count > 0, "{kind:?} with {count} records");

    let start = out.len();
    out.resize(start + head.size(), 0);
    let frame = &mut out[start..];
    for (index, sector) in frame.chunks_exact_mut(SECTOR).enumerate() {
        sector[0] = if index == 0 { GUARD_FIRST } else { GUARD_NEXT };
        sector[SECTOR - 1] = GUARD_LAST;
    }
    let mut at = HEAD;
    for batch in batches {
        stuff(frame, at, &batch.bytes);
        at += batch.bytes.len();
    }

    let seed = place.seed();
    let body_sum = crc32c_append(seed, &frame[1 + HEAD..]);
    let mut bytes = [0; HEAD];
    bytes[4] = kind.byte();
    bytes[8..16].copy_from_slice(&first.0.to_le_bytes());
    bytes[16..24].copy_from_slice(&durable.0.to_le_bytes());
    bytes[24..28].copy_from_slice(&head.body.to_le_bytes());
    bytes[28..32].copy_from_slice(&count.to_le_bytes());
    bytes[32..36].copy_from_slice(&body_sum.to_le_bytes());
    let head_sum = crc32c_append(seed, &bytes[4..]);
    bytes[..4].copy_from_slice(&head_sum.to_le_bytes());
    frame[1..1 + HEAD].copy_from_slice(&bytes);
    head
}

/// Copies `part` between the guards of `frame`, from content byte `at` on.
fn stuff(frame: &mut [u8], mut at: usize, mut part: &[u8]) {
    while !part.is_empty() {
        let (sector, within) = (at / CONTENT, at % CONTENT);
        let (now, later) = part.split_at(part.len().min(CONTENT - within));
        let to = sector * SECTOR + 1 + within;
        frame[to..to + now.len()].copy_from_slice(now);
        at += now.len();
        part = later;
    }
}

/// What can be wrong with the bytes at a place where a frame may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// A sector was lost, torn or turned to noise before a sync covered it, or was never written.
    Unfinished,
    /// The first sector is complete, and one bit of the frame's head flipped.
    Head,
    /// All sectors are complete, and one bit of what they hold flipped.
    Body,
    /// It is a frame, and not one that this release writes.
    Senseless,
}

/// The head of the frame that begins `image[place.offset..]`, whatever became of its body, and the
/// checksum of its body.
pub(super) fn decode_head(image: &[u8], place: Place) -> Result<(FrameHead, u32), Bad> {
    let start = place.offset as usize;
    let Some(sector) = image.get(start..start + SECTOR) else { return Err(Bad::Unfinished) };
    let bytes = &sector[1..1 + HEAD];
    let sum = crc32c_append(place.seed(), &bytes[4..]);
    if half(bytes, 0) != sum {
        let flipped = is_written(sector)
            && (one_flip(HEAD - 4, sum ^ half(bytes, 0))
                || (sum ^ half(bytes, 0)).is_power_of_two());
        return Err(if flipped { Bad::Head } else { Bad::Unfinished });
    }
    // The checksum vouches for the place; a guard that changed since is a flipped bit.
    if sector[0] != GUARD_FIRST {
        return Err(if sector[0] == 0 { Bad::Unfinished } else { Bad::Head });
    }
    let kind = Kind::from_byte(bytes[4]).ok_or(Bad::Senseless)?;
    let (first, durable) = (Lsn(word(bytes, 8)), Lsn(word(bytes, 16)));
    let head = FrameHead { kind, first, durable, body: half(bytes, 24), count: half(bytes, 28) };
    let sane = durable < first && (kind == Kind::Records) == (head.count > 0);
    if sane { Ok((head, half(bytes, 32))) } else { Err(Bad::Senseless) }
}

/// The frame that begins `image[place.offset..]`; its records go to `body`.
pub(super) fn decode(image: &[u8], place: Place, body: &mut Vec<u8>) -> Result<FrameHead, Bad> {
    let (head, body_sum) = decode_head(image, place)?;
    let start = place.offset as usize;
    // A frame may outgrow its file's prewritten part, and then lose the end of the file.
    let Some(frame) = image.get(start..start + head.size()) else { return Err(Bad::Unfinished) };
    let sum = crc32c_append(place.seed(), &frame[1 + HEAD..]);
    if sum != body_sum {
        let written = frame.chunks_exact(SECTOR).all(is_written);
        let flipped = written && one_flip(frame.len() - 1 - HEAD, sum ^ body_sum);
        return Err(if flipped { Bad::Body } else { Bad::Unfinished });
    }
    body.clear();
    body.reserve(head.body as usize);
    let mut skip = HEAD;
    for sector in frame.chunks_exact(SECTOR) {
        let left = head.body as usize - body.len();
        let content = &sector[1 + skip..SECTOR - 1];
        body.extend_from_slice(&content[..content.len().min(left)]);
        skip = 0;
    }
    match records(body).try_fold(0, |n, r| r.map(|_| n + 1)) {
        Some(count) if count == head.count => Ok(head),
        _ => Err(Bad::Senseless),
    }
}

/// Whether a sector was written from end to end.
fn is_written(sector: &[u8]) -> bool {
    sector[0] != 0 && sector[SECTOR - 1] != 0
}

/// Whether one flipped bit somewhere in `len` bytes turns their checksum by `difference`.
///
/// A CRC is linear: what a flip changes depends on its distance from the end alone, and no two
/// distances below 2^31 bits change it alike. Other damage passes for a flip once in 2^32 / 8
/// `len`.
fn one_flip(len: usize, difference: u32) -> bool {
    // What each bit of the last byte changes; then of the byte before it, and so on.
    let mut bits: [u32; 8] = std::array::from_fn(|bit| crc_of_byte(1 << bit));
    for _ in 0..len {
        if bits.contains(&difference) {
            return true;
        }
        bits = bits.map(|state| (state >> 8) ^ crc_of_byte(state as u8));
    }
    false
}

/// The CRC-32C register after one byte, from zero and without the final inversion.
fn crc_of_byte(byte: u8) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut state, mut bit) = (byte as u32, 0);
            while bit < 8 {
                state = (state >> 1) ^ (0x82f6_3b78 * (state & 1));
                bit += 1;
            }
            table[byte] = state;
            byte += 1;
        }
        table
    };
    TABLE[byte as usize]
}

/// The records in `body`; a last `None` if they do not add up to it.
pub(super) fn records(body: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = Some(body);
    std::iter::from_fn(move || {
        let bytes = rest.take_if(|r| !r.is_empty())?;
        let record = bytes.split_at_checked(4).and_then(|(len, bytes)| {
            let (record, after) = bytes.split_at_checked(half(len, 0) as usize)?;
            Some((record, after))
        });
        rest = record.map(|(_, after)| after);
        Some(record.map(|(record, _)| record))
    })
}

/// The little-endian u32 at `bytes[at..]`.
pub(super) fn half(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

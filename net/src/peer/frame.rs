//! Frames out of bytes, and into bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{CHUNK, Channel, Kind, Malformed};

/// Bytes of a frame's head, length and checksum included.
pub const HEAD: usize = 20;
/// Bytes of length and checksum, which the length does not count.
const UNCOUNTED: usize = 8;
/// The form of the head. What versions say differently, they say in payloads.
const FORM: u8 = 1;
/// More of the message follows.
const MORE: u8 = 1;

/// One frame: a message, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it goes.
    pub channel: Channel,
    /// What its message is.
    pub kind: Kind,
    /// Whether the message ends with it.
    pub is_last: bool,
    /// Of its message.
    pub tag: u64,
    /// [`CHUNK`] bytes at most, and so many if the message goes on.
    pub payload: Bytes,
}

impl Frame {
    /// Appends it to `out`.
    ///
    /// # Panics
    /// When the payload is no part of a message.
    pub fn encode(&self, out: &mut BytesMut) {
        let payload = self.payload.len();
        assert!(payload == CHUNK || payload < CHUNK && self.is_last, "{payload} bytes");
        out.reserve(HEAD + payload);
        let start = out.len();
        out.put_u32_le((HEAD - UNCOUNTED + payload) as u32);
        out.put_u32_le(0);
        let flags = if self.is_last { 0 } else { MORE };
        out.put_slice(&[FORM, self.channel as u8, self.kind as u8, flags]);
        out.put_u64_le(self.tag);
        out.put_slice(&self.payload);
        let checksum = crc32c::crc32c(&out[start + UNCOUNTED..]);
        out[start + 4..start + UNCOUNTED].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// Cuts a stream into frames. One a connection.
#[derive(Debug)]
pub struct Decoder {
    most: usize,
    failed: Option<Malformed>,
}

impl Default for Decoder {
    /// Of frames as long as may be.
    fn default() -> Decoder {
        Decoder { most: CHUNK, failed: None }
    }
}

impl Decoder {
    /// Takes payloads of `most` bytes at most from the next frame on, and never longer ones than
    /// may be: who has not said hello shall not make the node hold much.
    pub fn set_most(&mut self, most: usize) {
        self.most = most.min(CHUNK);
    }

    /// Takes the first frame off the front of `input`, if all of it is there. Its payload shares
    /// the memory of `input`.
    ///
    /// # Errors
    /// [`Malformed`], again and again.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Malformed> {
        match self.failed {
            Some(malformed) => Err(malformed),
            None => self.take(input).inspect_err(|malformed| self.failed = Some(*malformed)),
        }
    }

    /// How many bytes are missing, as far as can be told, until there is a whole frame in `input`.
    pub fn missing(&self, input: &BytesMut) -> usize {
        let whole = input.first_chunk().map_or(HEAD, |length: &[u8; 4]| {
            UNCOUNTED + (u32::from_le_bytes(*length) as usize).min(HEAD - UNCOUNTED + self.most)
        });
        whole.saturating_sub(input.len())
    }

    fn take(&self, input: &mut BytesMut) -> Result<Option<Frame>, Malformed> {
        // A stream of another kind shall hear so, and not be waited for.
        let Some(length) = input.first_chunk() else { return Ok(None) };
        let bytes = u32::from_le_bytes(*length);
        let payload = (bytes as usize).checked_sub(HEAD - UNCOUNTED);
        let payload =
            payload.filter(|payload| *payload <= self.most).ok_or(Malformed::Length { bytes })?;
        if input.len() < HEAD + payload {
            return Ok(None);
        }
        let mut frame = input.split_to(HEAD + payload).freeze();
        frame.advance(4);
        if frame.get_u32_le() != crc32c::crc32c(&frame) {
            return Err(Malformed::Checksum);
        }
        let (form, channel) = (frame.get_u8(), frame.get_u8());
        let (kind, flags, tag) = (frame.get_u8(), frame.get_u8(), frame.get_u64_le());
        if form != FORM {
            return Err(Malformed::Form { form });
        }
        let kind = Kind::from_number(kind).ok_or(Malformed::Kind { kind })?;
        let known = Channel::from_number(channel)
            .filter(|known| *known == Channel::Control || kind.is_free());
        let channel = known.ok_or(Malformed::Channel { channel })?;
        let is_last = flags == 0;
        if !is_last && (flags != MORE || !kind.is_free() || payload != CHUNK) {
            return Err(Malformed::Flags { flags });
        }
        Ok(Some(Frame { channel, kind, is_last, tag, payload: frame }))
    }
}

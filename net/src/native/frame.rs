//! Frames out of bytes, and into bytes.
//!
//! A head is, little-endian: `u32` the bytes that follow these four, `u8` the kind, `u8` the
//! version, `u16` flags, `u64` the tag. The table begins behind it.

use std::fmt;

use bytes::{Buf, BytesMut};
use planus::Builder;

use super::{
    Message, VERSION,
    source::{Fault, Source},
};
use crate::envelope::{Code, Failure, MESSAGE_MAX};

/// Bytes of a frame's head, the length included.
pub const HEAD: usize = 16;
/// Bytes of the length, which does not count itself.
const LENGTH: usize = 4;
/// An encoder's buffer above this is given back.
const KEPT: usize = 64 << 10;

/// Why a stream cannot be cut further. Whoever sent it is told with a goodbye, and the connection
/// ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A frame is shorter than its head, or longer than may be.
    Length {
        /// What it says it has behind its length.
        bytes: u32,
    },
    /// A frame of another version of the protocol.
    Version {
        /// Which one.
        version: u8,
    },
    /// Flags that this version does not have.
    Flags {
        /// All.
        flags: u16,
    },
    /// What follows a head is not the table that the head tells of.
    Table {
        /// The kind in the head.
        kind: u8,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Length { bytes } => write!(f, "a frame of {bytes} bytes"),
            Malformed::Version { version } => write!(f, "a frame of version {version}"),
            Malformed::Flags { flags } => write!(f, "a frame with flags {flags:#06x}"),
            Malformed::Table { kind } => write!(f, "a frame of kind {kind} without its table"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Why the connection ends.
impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Failure {
        let reason = match malformed {
            Malformed::Length { .. } => "length",
            Malformed::Version { .. } => "version",
            Malformed::Flags { .. } => "flags",
            Malformed::Table { .. } => "table",
        };
        Failure::new(Code::Invalid, malformed.to_string()).with("reason", reason)
    }
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What an answer to it repeats.
    pub tag: u64,
    /// The number of its kind.
    pub kind: u8,
    /// What it says, or why that is refused; the stream goes on.
    pub message: Result<Message, Failure>,
}

/// Cuts a stream into frames. One per connection.
#[derive(Debug)]
pub struct Decoder {
    most: usize,
    failed: Option<Malformed>,
}

impl Default for Decoder {
    /// Of frames as long as may be.
    fn default() -> Decoder {
        Decoder { most: MESSAGE_MAX, failed: None }
    }
}

impl Decoder {
    /// Takes tables of `most` bytes at most from the next frame on, and never longer ones than may
    /// be: a client that has not said who it is shall not make the server hold much.
    pub fn set_most(&mut self, most: usize) {
        self.most = most.min(MESSAGE_MAX);
    }

    /// Takes the first frame off the front of `input`, if all of it is there. What it says shares
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
        let whole = input.first_chunk().map_or(HEAD, |length: &[u8; LENGTH]| {
            LENGTH + (u32::from_le_bytes(*length) as usize).min(HEAD - LENGTH + self.most)
        });
        whole.saturating_sub(input.len())
    }

    fn take(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Malformed> {
        let Some(head) = input.first_chunk::<HEAD>() else {
            // A stream of another kind shall hear so, and not be waited for.
            return input
                .first_chunk()
                .map_or(Ok(None), |length| self.check(u32::from_le_bytes(*length)).map(|_| None));
        };
        let [l0, l1, l2, l3, kind, version, f0, f1, tag @ ..] = *head;
        let table = self.check(u32::from_le_bytes([l0, l1, l2, l3]))?;
        if version != VERSION {
            return Err(Malformed::Version { version });
        }
        let flags = u16::from_le_bytes([f0, f1]);
        if flags != 0 {
            return Err(Malformed::Flags { flags });
        }
        if input.len() < HEAD + table {
            return Ok(None);
        }
        let tag = u64::from_le_bytes(tag);
        input.advance(HEAD);
        let table = input.split_to(table).freeze();
        let message = match Message::read(kind, &mut Source::new(&table)) {
            Ok(message) => Ok(message),
            Err(Fault::Refused(failure)) => Err(failure),
            Err(Fault::Table) => return Err(Malformed::Table { kind }),
        };
        Ok(Some(Frame { tag, kind, message }))
    }

    /// The bytes of the table.
    fn check(&self, bytes: u32) -> Result<usize, Malformed> {
        let table = (bytes as usize).checked_sub(HEAD - LENGTH);
        table.filter(|table| *table <= self.most).ok_or(Malformed::Length { bytes })
    }
}

/// A message that fits no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Of its table.
    pub bytes: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, where {MESSAGE_MAX} is the most", self.bytes)
    }
}

impl std::error::Error for TooLong {}

impl From<TooLong> for Failure {
    fn from(long: TooLong) -> Failure {
        Failure::new(Code::TooLarge, "longer than a frame")
            .with("bytes", long.bytes.to_string())
            .with("max_bytes", MESSAGE_MAX.to_string())
    }
}

/// Writes frames.
#[derive(Debug, Default)]
pub struct Encoder {
    builder: Builder,
}

impl Encoder {
    /// Appends a frame to `out`.
    ///
    /// # Errors
    /// [`TooLong`]; `out` is as it was.
    pub fn encode(
        &mut self,
        tag: u64,
        message: &Message,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        let table = message.write(&mut self.builder);
        let bytes = table.len();
        if bytes <= MESSAGE_MAX {
            out.reserve(HEAD + bytes);
            out.extend_from_slice(&((HEAD - LENGTH + bytes) as u32).to_le_bytes());
            out.extend_from_slice(&[message.kind() as u8, VERSION, 0, 0]);
            out.extend_from_slice(&tag.to_le_bytes());
            out.extend_from_slice(table);
        }
        match bytes <= KEPT {
            true => self.builder.clear(),
            false => self.builder = Builder::new(),
        }
        if bytes <= MESSAGE_MAX { Ok(()) } else { Err(TooLong { bytes }) }
    }
}

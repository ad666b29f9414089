//! What the nodes of a cluster say to each other: frames on one byte stream.
//!
//! Whoever dials asks and whoever accepts answers. The dialler's first frame is a [`Hello`], which
//! is answered by a [`Welcome`] or a [`Refusal`]. From then on requests and answers go on four
//! [`Channel`]s. A message that is longer than [`CHUNK`] goes in several frames, and frames of a
//! more urgent channel go between them, so no sign of life waits behind a long message.
//!
//! A frame, little-endian:
//!
//! | bytes | what | |
//! |---|---|---|
//! | 0..4 | length | of what follows the checksum: 12 to 12 + 65,536 |
//! | 4..8 | checksum | CRC-32C of what follows it |
//! | 8 | form | of the head: 1 |
//! | 9 | channel | see [`Channel`] |
//! | 10 | kind | see [`Kind`] |
//! | 11 | flags | bit 0: more of the message follows, and this frame is full |
//! | 12..20 | tag | an answer repeats its request's |
//! | 20.. | payload | |
//!
//! Nothing here waits or does I/O. What a peer may make a node hold is bounded by [`MESSAGE_MAX`]
//! and [`Window`], and before its hello by [`HELLO_MAX`].

mod frame;
mod hello;
mod message;
mod reception;

use std::fmt;

pub use frame::{Decoder, Frame, HEAD};
pub use hello::{Hello, Position, Reason, Refusal, Senseless, Welcome};
pub use message::{Inbox, Message, Outbox, Sent, Window};
pub use reception::{Member, Reception};

/// Most bytes of a payload.
pub const CHUNK: usize = 64 << 10;
/// Most bytes of a message: an entry of 64 MiB, and what is around it.
pub const MESSAGE_MAX: usize = (64 << 20) + CHUNK;
/// Most bytes of a payload before the hello.
pub const HELLO_MAX: usize = 4 << 10;
/// Most bytes of all requests of a channel that wait for their answers, unless it is one alone.
pub const WINDOW: usize = 64 << 20;

/// What goes in order, beside and ahead of other things. The least number is the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Channel {
    /// Votes, signs of life, and whatever else is short and urgent.
    Control = 0,
    /// Entries of the log.
    Append = 1,
    /// Clients' requests, on their way to the leader.
    Forward = 2,
    /// Snapshots.
    Snapshot = 3,
}

impl Channel {
    /// All, the most urgent first.
    pub const ALL: [Channel; 4] =
        [Channel::Control, Channel::Append, Channel::Forward, Channel::Snapshot];

    /// The channel with that number.
    pub fn from_number(number: u8) -> Option<Channel> {
        Channel::ALL.get(usize::from(number)).copied()
    }

    /// Most requests that wait for their answers.
    pub fn credits(self) -> usize {
        match self {
            Channel::Control | Channel::Append => 64,
            Channel::Forward => 256,
            Channel::Snapshot => 8,
        }
    }
}

/// What a message is. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// The dialler's first message.
    Hello = 1,
    /// To a hello: requests are listened to.
    Welcome = 2,
    /// To a hello, or to what is none: nothing follows.
    Refused = 3,
    /// The dialler asks for a sign of life.
    Ping = 4,
    /// It.
    Pong = 5,
    /// The dialler asks for something.
    Request = 6,
    /// To the request with the tag.
    Answer = 7,
    /// To the request with the tag: it has no answer; why, in UTF-8.
    Failed = 8,
}

impl Kind {
    /// All, in the order of their numbers.
    pub const ALL: [Kind; 8] = [
        Kind::Hello,
        Kind::Welcome,
        Kind::Refused,
        Kind::Ping,
        Kind::Pong,
        Kind::Request,
        Kind::Answer,
        Kind::Failed,
    ];

    /// The kind with that number.
    pub fn from_number(number: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Whether it may be long, and on any channel. Others are one frame of the first.
    fn is_free(self) -> bool {
        matches!(self, Kind::Request | Kind::Answer | Kind::Failed)
    }
}

/// Why a stream cannot be listened to any further. The connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A frame is shorter than its head, or longer than may be.
    Length {
        /// What it says.
        bytes: u32,
    },
    /// A frame is not as it was sent.
    Checksum,
    /// A head of another form.
    Form {
        /// Which one.
        form: u8,
    },
    /// There is no such channel, or its kind has no business there.
    Channel {
        /// Its number.
        channel: u8,
    },
    /// There is no such kind.
    Kind {
        /// Its number.
        kind: u8,
    },
    /// There are no such flags, or the frame is not full although more follows.
    Flags {
        /// All.
        flags: u8,
    },
    /// Another message begins before one has ended.
    Interleaved {
        /// Where.
        channel: Channel,
    },
    /// A message is longer than may be.
    TooLong,
    /// More requests, or bytes of them, wait for their answers than may.
    Window {
        /// Where.
        channel: Channel,
    },
    /// A request has the tag of another that waits for its answer.
    Tag {
        /// It.
        tag: u64,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Length { bytes } => write!(f, "a frame of {bytes} bytes"),
            Malformed::Checksum => f.write_str("a frame that is not as it was sent"),
            Malformed::Form { form } => write!(f, "a frame of form {form}"),
            Malformed::Channel { channel } => write!(f, "a frame astray on channel {channel}"),
            Malformed::Kind { kind } => write!(f, "a frame of kind {kind}"),
            Malformed::Flags { flags } => write!(f, "a frame with flags {flags:#04x}"),
            Malformed::Interleaved { channel } => {
                write!(f, "messages in each other on {channel:?}")
            }
            Malformed::TooLong => f.write_str("a message that is too long"),
            Malformed::Window { channel } => write!(f, "too many requests at once on {channel:?}"),
            Malformed::Tag { tag } => write!(f, "tag {tag} for a second time"),
        }
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests;

//! How much a client may send, and what is said when a stream is beyond repair.

use std::fmt;

/// What one connection may make the server hold. Sizes in bytes.
///
/// A client can make the server buffer at most `query` bytes, and at most `16 * query / 6` bytes of
/// bookkeeping beside them (an argument takes six bytes on the wire at least).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest argument, and so the longest value (`proto-max-bulk-len`).
    pub bulk: usize,
    /// The longest key. Longer ones are refused; the connection lives on.
    pub key: usize,
    /// The most arguments of one command, its name included.
    pub args: usize,
    /// The longest inline request, and the longest line anywhere.
    pub inline: usize,
    /// The most bytes one command may take in all (`client-query-buffer-limit`).
    pub query: usize,
    /// The most commands one call of [`Decoder::decode`](super::Decoder::decode) hands out.
    pub batch: usize,
}

impl Default for Limits {
    /// Redis's own limits, with keys as long as the storage engine takes with a deadline.
    fn default() -> Limits {
        Limits {
            bulk: 512 << 20,
            key: 65_520,
            args: 1 << 20,
            inline: 64 << 10,
            query: 1 << 30,
            batch: 4096,
        }
    }
}

impl Limits {
    /// What a client may send before it has authenticated: as in Redis, ten arguments of 16 KiB.
    /// One command at a time, because it may be the one that lifts the limits for the next.
    pub fn unauthenticated(self) -> Limits {
        Limits { bulk: self.bulk.min(16 << 10), args: self.args.min(10), batch: 1, ..self }
    }
}

/// The stream can no longer be cut into commands. The client gets the text as an error and the
/// connection is closed; commands before the fault are still answered.
///
/// `Display` is the error in Redis's words, without the `ERR` before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// `*` with no number, or more arguments than allowed.
    MultibulkLength,
    /// `*` and no end of line in sight.
    MultibulkLine,
    /// `$` with no number, a negative one, or a longer argument than allowed.
    BulkLength,
    /// `$` and no end of line in sight.
    BulkLine,
    /// An argument that does not begin with `$`.
    ExpectedBulk {
        /// What it begins with.
        got: u8,
    },
    /// An argument that is not followed by an end of line.
    BulkEnd,
    /// An inline request longer than allowed.
    InlineLength,
    /// A quote that is not closed, or closed in the middle of a word.
    UnbalancedQuotes,
    /// A zero byte in an inline request: the client speaks some binary protocol.
    InlineBinary,
    /// An HTTP request line: a browser is being used to reach the server.
    CrossProtocol,
    /// A command that is larger in all than allowed.
    QueryLength,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        f.write_str(match self {
            ProtocolError::MultibulkLength => "invalid multibulk length",
            ProtocolError::MultibulkLine => "too big mbulk count string",
            ProtocolError::BulkLength => "invalid bulk length",
            ProtocolError::BulkLine => "too big bulk count string",
            ProtocolError::ExpectedBulk { got } => {
                return write!(f, "expected '$', got '{}'", got.escape_ascii());
            }
            ProtocolError::BulkEnd => "expected CRLF after bulk",
            ProtocolError::InlineLength => "too big inline request",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::InlineBinary => "unexpected zero byte in inline request",
            ProtocolError::CrossProtocol => "possible cross-protocol scripting",
            ProtocolError::QueryLength => "query buffer limit exceeded",
        })
    }
}

impl std::error::Error for ProtocolError {}

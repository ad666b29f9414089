//! Replies out of bytes: what a client reads.
//!
//! As with requests, a reply is first found and then built: the first pass walks over headers and
//! keeps one counter per open aggregate, the second cuts the whole reply off the buffer and builds
//! the value, so nothing is allocated on a header's word before the bytes it promises are there.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::words::{HiddenValue, Real, parse_i64};

/// What a client is ready to take from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyLimits {
    /// The most bytes of one reply.
    pub bytes: usize,
    /// How deep aggregates may nest; 0 allows none.
    pub depth: usize,
    /// The longest line, in bytes: a status, an error, a number.
    pub line: usize,
}

impl Default for ReplyLimits {
    fn default() -> ReplyLimits {
        ReplyLimits { bytes: 1 << 30, depth: 32, line: 64 << 10 }
    }
}

/// One reply in either version of the protocol.
#[derive(Clone, PartialEq, Eq)]
pub enum Reply {
    /// `+`: a status.
    Simple(Bytes),
    /// `-` or `!`: an error, its code first.
    Error(Bytes),
    /// `:`: an integer.
    Int(i64),
    /// `$`: a byte string.
    Bulk(Bytes),
    /// `_`, `$-1` or `*-1`: nothing.
    Nil,
    /// `*`: replies in order.
    Array(Vec<Reply>),
    /// `%`: pairs.
    Map(Vec<(Reply, Reply)>),
    /// `~`: replies without order.
    Set(Vec<Reply>),
    /// `,`: a double.
    Double(Real),
    /// `#`: yes or no.
    Bool(bool),
    /// `(`: an integer of any size, in decimal.
    Big(Bytes),
    /// `=`: text, after three letters that name its format.
    Text([u8; 3], Bytes),
    /// `>`: a message that answers nothing.
    Push(Vec<Reply>),
    /// `|`: remarks about the reply that follows, and that reply.
    Attributed(Vec<(Reply, Reply)>, Box<Reply>),
}

impl Reply {
    /// The code and text of an error.
    pub fn error(&self) -> Option<&[u8]> {
        match self {
            Reply::Error(text) => Some(text),
            _ => None,
        }
    }
}

/// The stream is not RESP, or asks for more than the client takes. It cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// A reply begins with a byte that means nothing.
    Mark(u8),
    /// A length or number that is none, or is negative where that means nothing.
    Number,
    /// A boolean, null or double that is none.
    Scalar,
    /// A string that is not followed by an end of line, or a line by its line feed.
    End,
    /// A text without its format.
    Format,
    /// A reply larger than [`ReplyLimits::bytes`].
    Bytes,
    /// A line longer than [`ReplyLimits::line`].
    Line,
    /// Aggregates nested deeper than [`ReplyLimits::depth`].
    Depth,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::Mark(byte) => write!(f, "no reply begins with '{}'", byte.escape_ascii()),
            ReplyError::Number => f.write_str("a length or a number is not one"),
            ReplyError::Scalar => f.write_str("a boolean, a null or a double is not one"),
            ReplyError::End => f.write_str("a line or a string does not end with CRLF"),
            ReplyError::Format => f.write_str("a text does not name its format"),
            ReplyError::Bytes => f.write_str("a reply is larger than allowed"),
            ReplyError::Line => f.write_str("a line is longer than allowed"),
            ReplyError::Depth => f.write_str("a reply is nested deeper than allowed"),
        }
    }
}

impl std::error::Error for ReplyError {}

/// Cuts a byte stream into replies. One per connection.
#[derive(Debug)]
pub struct ReplyDecoder {
    limits: ReplyLimits,
    /// Everything before this offset has been walked over.
    at: usize,
    /// Everything before this offset has been searched for an end of line.
    searched: usize,
    /// Replies still missing in each open aggregate, outermost first.
    open: Vec<u64>,
    failed: Option<ReplyError>,
}

/// One header line: its mark, its text, and what follows it.
struct Head<'a> {
    mark: u8,
    text: &'a [u8],
    next: usize,
}

impl ReplyDecoder {
    /// A decoder at the beginning of a stream.
    pub fn new(limits: ReplyLimits) -> ReplyDecoder {
        ReplyDecoder { limits, at: 0, searched: 0, open: Vec::new(), failed: None }
    }

    /// Takes one complete reply off the front of `input`. `None` if it is not complete: the next
    /// call expects the same bytes, with more appended.
    ///
    /// # Errors
    ///
    /// [`ReplyError`] when the stream cannot be read. Later calls return the same error.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        // Nothing beyond the limit is looked at, or what it says would depend on when it came.
        let allowed = &input[..input.len().min(self.limits.bytes)];
        let whole = self.walk(allowed).and_then(|end| match end {
            None if input.len() > self.limits.bytes => Err(ReplyError::Bytes),
            None => Ok(None),
            Some(end) => {
                (self.at, self.searched) = (0, 0);
                let block = input.split_to(end).freeze();
                let mut builder = Builder { block: &block, at: 0 };
                builder.build().map(Some)
            }
        });
        whole.inspect_err(|error| self.failed = Some(*error))
    }

    /// Walks on until the reply at the front of `buf` ends, and returns where.
    fn walk(&mut self, buf: &[u8]) -> Result<Option<usize>, ReplyError> {
        loop {
            let Some(head) = head(buf, self.at, self.searched.max(self.at), self.limits.line)?
            else {
                self.searched = buf.len().saturating_sub(1).max(self.at);
                return Ok(None);
            };
            let mut next = head.next;
            // How many replies this one contains, or precedes.
            let inside = match head.mark {
                b'$' | b'!' | b'=' => {
                    if let Some(len) = length(&head)? {
                        let end = next.saturating_add(len).saturating_add(2);
                        if end > self.limits.bytes {
                            return Err(ReplyError::Bytes);
                        }
                        if end > buf.len() {
                            return Ok(None);
                        }
                        next = end;
                    }
                    0
                }
                b'*' | b'~' | b'>' => length(&head)?.unwrap_or(0) as u64,
                b'%' => length(&head)?.unwrap_or(0) as u64 * 2,
                b'|' => length(&head)?.unwrap_or(0) as u64 * 2 + 1,
                b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => 0,
                mark => return Err(ReplyError::Mark(mark)),
            };
            self.at = next;
            if matches!(head.mark, b'*' | b'~' | b'>' | b'%' | b'|')
                && self.open.len() >= self.limits.depth
            {
                return Err(ReplyError::Depth);
            }
            if inside > 0 {
                self.open.push(inside);
                continue;
            }
            // This reply is complete, and with it perhaps the aggregates it ends.
            loop {
                match self.open.last_mut() {
                    None => return Ok(Some(next)),
                    Some(left) => *left -= 1,
                }
                if self.open.last().is_some_and(|left| *left > 0) {
                    break;
                }
                self.open.pop();
            }
        }
    }
}

/// Reads the line at `at`, of which everything before `searched` holds no end.
fn head(
    buf: &[u8],
    at: usize,
    searched: usize,
    line_max: usize,
) -> Result<Option<Head<'_>>, ReplyError> {
    let Some(mark) = buf.get(at) else { return Ok(None) };
    if !b"+-:$*_,#(!=~%>|".contains(mark) {
        return Err(ReplyError::Mark(*mark));
    }
    let from = searched.max(at + 1).min(buf.len());
    let end = buf[from..].iter().position(|byte| *byte == b'\r').map(|end| from + end);
    if end.unwrap_or(buf.len()) - at > line_max {
        return Err(ReplyError::Line);
    }
    match end.map(|end| (end, buf.get(end + 1))) {
        None | Some((_, None)) => Ok(None),
        Some((end, Some(b'\n'))) => {
            Ok(Some(Head { mark: *mark, text: &buf[at + 1..end], next: end + 2 }))
        }
        Some(_) => Err(ReplyError::End),
    }
}

/// The length in a header, `None` for the -1 that means null.
fn length(head: &Head<'_>) -> Result<Option<usize>, ReplyError> {
    match parse_i64(head.text) {
        Some(-1) if matches!(head.mark, b'$' | b'*') => Ok(None),
        // No honest length is anywhere near this, and sums of such lengths cannot overflow.
        Some(len @ 0..0x1_0000_0000) => Ok(Some(len as usize)),
        _ => Err(ReplyError::Number),
    }
}

/// Builds one reply that is known to be whole.
struct Builder<'a> {
    block: &'a Bytes,
    at: usize,
}

impl Builder<'_> {
    /// Recursion is as deep as the reply nests, which the walk has bounded.
    fn build(&mut self) -> Result<Reply, ReplyError> {
        // The walk found every line, so none can be missing.
        let head = head(self.block, self.at, self.at, usize::MAX)?.ok_or(ReplyError::End)?;
        let line = self.at + 1..head.next - 2;
        self.at = head.next;
        let text = || self.block.slice(line.clone());
        Ok(match head.mark {
            b'+' => Reply::Simple(text()),
            b'-' => Reply::Error(text()),
            b':' => Reply::Int(parse_i64(head.text).ok_or(ReplyError::Number)?),
            b'(' => Reply::Big(big(text())?),
            b'_' if head.text.is_empty() => Reply::Nil,
            b'#' if head.text == b"t" => Reply::Bool(true),
            b'#' if head.text == b"f" => Reply::Bool(false),
            b',' => Reply::Double(double(head.text)?),
            b'$' => match length(&head)? {
                Some(len) => Reply::Bulk(self.string(len)?),
                None => Reply::Nil,
            },
            b'!' => Reply::Error(self.string(length(&head)?.unwrap_or(0))?),
            b'=' => {
                let string = self.string(length(&head)?.unwrap_or(0))?;
                match *string {
                    [a, b, c, b':', ..] => Reply::Text([a, b, c], string.slice(4..)),
                    _ => return Err(ReplyError::Format),
                }
            }
            b'*' => match length(&head)? {
                Some(len) => Reply::Array(self.list(len)?),
                None => Reply::Nil,
            },
            b'~' => Reply::Set(self.list(length(&head)?.unwrap_or(0))?),
            b'>' => Reply::Push(self.list(length(&head)?.unwrap_or(0))?),
            b'%' => Reply::Map(self.pairs(length(&head)?.unwrap_or(0))?),
            b'|' => {
                let remarks = self.pairs(length(&head)?.unwrap_or(0))?;
                Reply::Attributed(remarks, Box::new(self.build()?))
            }
            _ => return Err(ReplyError::Scalar),
        })
    }

    /// The string of `len` bytes after a header, and its end of line.
    fn string(&mut self, len: usize) -> Result<Bytes, ReplyError> {
        let end = self.at + len;
        if self.block.get(end..end + 2) != Some(b"\r\n") {
            return Err(ReplyError::End);
        }
        let string = self.block.slice(self.at..end);
        self.at = end + 2;
        Ok(string)
    }

    fn list(&mut self, len: usize) -> Result<Vec<Reply>, ReplyError> {
        (0..len).map(|_| self.build()).collect()
    }

    fn pairs(&mut self, len: usize) -> Result<Vec<(Reply, Reply)>, ReplyError> {
        (0..len).map(|_| Ok((self.build()?, self.build()?))).collect()
    }
}

/// Checks the digits of a big number.
fn big(text: Bytes) -> Result<Bytes, ReplyError> {
    let digits = text.strip_prefix(b"-").unwrap_or(&text);
    match !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        true => Ok(text),
        false => Err(ReplyError::Number),
    }
}

fn double(text: &[u8]) -> Result<Real, ReplyError> {
    let text = std::str::from_utf8(text).map_err(|_| ReplyError::Scalar)?;
    text.parse().map(Real).map_err(|_| ReplyError::Scalar)
}

/// Replies carry users' values, so a log line gets their lengths.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Simple(text) => write!(f, "Simple({})", text.escape_ascii()),
            Reply::Error(text) => write!(f, "Error({:?})", HiddenValue(text)),
            Reply::Int(_) => f.write_str("Int"),
            Reply::Bulk(bytes) => write!(f, "Bulk({:?})", HiddenValue(bytes)),
            Reply::Nil => f.write_str("Nil"),
            Reply::Array(items) => write!(f, "Array({})", items.len()),
            Reply::Map(pairs) => write!(f, "Map({})", pairs.len()),
            Reply::Set(items) => write!(f, "Set({})", items.len()),
            Reply::Double(_) => f.write_str("Double"),
            Reply::Bool(yes) => write!(f, "Bool({yes})"),
            Reply::Big(digits) => write!(f, "Big({:?})", HiddenValue(digits)),
            Reply::Text(_, text) => write!(f, "Text({:?})", HiddenValue(text)),
            Reply::Push(items) => write!(f, "Push({})", items.len()),
            Reply::Attributed(remarks, reply) => {
                write!(f, "Attributed({}, {reply:?})", remarks.len())
            }
        }
    }
}

#[cfg(test)]
mod tests;

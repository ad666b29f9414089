//! Requests out of bytes.
//!
//! Parsing is two passes over one read buffer. The first finds where commands and arguments begin
//! and end, as pairs of offsets in reused vectors. The second cuts the parsed bytes off the buffer
//! as one shared block and builds the words as slices of it. So a command costs no allocation of
//! its own unless it has a list of keys, and a partial command costs nothing until it is whole.

use std::mem::take;

use bytes::{Buf, BytesMut};

use super::inline;
use super::request::{Args, Request, push_request};
use super::{Limits, ProtocolError};
use crate::words::{Refusal, parse_i64};

/// The longest `*N` or `$N` line worth waiting for; the longest legal one has 12 bytes.
const HEADER_MAX: usize = 32;

/// Commands begin at or before this offset of a buffer and take no more bytes than this, so that
/// every offset fits 32 bits.
const OFFSET_MAX: usize = u32::MAX as usize / 2;

/// Arguments whose bookkeeping is kept for the next read, 8 bytes each.
const ARGS_KEPT: usize = 8192;

/// What is left in the buffer after a call of [`Decoder::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing, or the beginning of a command: read more.
    Wait {
        /// At least so many bytes are missing before the next command can be whole, 0 if the buffer
        /// is empty. This is what the client announced, not what it has sent: reserve accordingly,
        /// within reason.
        missing: usize,
    },
    /// The batch is full and more commands may be waiting: call again before reading.
    Full,
}

/// Cuts a byte stream into requests. One per connection.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// Offsets of every argument of the commands found, then of the partial command so far.
    args: Vec<(u32, u32)>,
    /// For each command found, where its arguments end in `args`.
    ends: Vec<u32>,
    partial: Partial,
    failed: Option<ProtocolError>,
}

/// Where to go on in the command at the front of the buffer.
#[derive(Clone, Copy, Debug, Default)]
struct Partial {
    /// Everything before this offset has been parsed, or searched for an end of line.
    at: usize,
    /// Arguments still to come of a multibulk command whose header has been read.
    left: usize,
}

/// How one command's scan ended.
enum Scan {
    /// The command ends before this offset.
    Whole(usize),
    /// More bytes are needed, at least so many.
    Cut { missing: usize },
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new(limits: Limits) -> Decoder {
        Decoder {
            limits: clamp(limits),
            args: Vec::new(),
            ends: Vec::new(),
            partial: Partial::default(),
            failed: None,
        }
    }

    /// Changes the limits from the next argument on, such as once a client has authenticated.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = clamp(limits);
    }

    /// Takes every complete command off the front of `input`, in order, up to [`Limits::batch`],
    /// and appends it to `out`: a request, or the refusal to answer in its place.
    ///
    /// What remains in `input` belongs to a command that is not complete; the next call expects the
    /// same bytes, with more appended.
    ///
    /// # Errors
    ///
    /// [`ProtocolError`] when the stream cannot be cut further. Commands before the fault are in
    /// `out` and must be answered first, then the error, then the connection is closed. Later calls
    /// return the same error and take nothing.
    pub fn decode(
        &mut self,
        input: &mut BytesMut,
        out: &mut Vec<Result<Request, Refusal>>,
    ) -> Result<Progress, ProtocolError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let (consumed, verdict) = self.scan(input);
        self.build(consumed, input, out);
        if let Err(error) = verdict {
            self.failed = Some(error);
        }
        verdict
    }

    /// Finds commands from the front of `buf`. Returns how many bytes the complete ones take, and
    /// what follows them.
    fn scan(&mut self, buf: &mut [u8]) -> (usize, Result<Progress, ProtocolError>) {
        // Locals, so that the loop keeps them in registers.
        let (mut args, mut ends) = (take(&mut self.args), take(&mut self.ends));
        let mut partial = take(&mut self.partial);
        let limits = self.limits;
        let mut start = 0;
        // Resume inside the command at the front, then take each further one from its start.
        let verdict = loop {
            if start == buf.len() {
                break Ok(Progress::Wait { missing: 0 });
            }
            if ends.len() >= limits.batch || start > OFFSET_MAX {
                break Ok(Progress::Full);
            }
            let known = args.len();
            if partial.left == 0 && buf[start] == b'*' {
                if let Some(end) = whole(buf, start, &limits, &mut args) {
                    ends.push(args.len() as u32);
                    start = end;
                    partial.at = end;
                    continue;
                }
                args.truncate(known);
            }
            let scanned = if buf[start] == b'*' {
                multibulk(buf, start, &limits, &mut partial, &mut args)
            } else {
                line(buf, start, &limits, &mut partial, &mut args)
            };
            match scanned {
                Ok(Scan::Whole(end)) => {
                    // An empty line and an empty array are no command and get no answer.
                    if args.len() > ends.last().map_or(0, |end| *end as usize) {
                        ends.push(args.len() as u32);
                    }
                    start = end;
                    partial = Partial { at: end, left: 0 };
                }
                Ok(Scan::Cut { missing }) => {
                    self.partial = Partial { at: partial.at - start, ..partial };
                    break Ok(Progress::Wait { missing });
                }
                Err(error) => {
                    args.truncate(known);
                    break Err(error);
                }
            }
        };
        (self.args, self.ends) = (args, ends);
        (start, verdict)
    }

    /// Cuts `consumed` bytes off `input` and turns the commands found in them into words.
    fn build(
        &mut self,
        consumed: usize,
        input: &mut BytesMut,
        out: &mut Vec<Result<Request, Refusal>>,
    ) {
        let Some(built) = self.ends.last().copied() else {
            // Only empty commands, if anything at all.
            input.advance(consumed);
            self.rebase(0, consumed);
            return;
        };
        let block = input.split_to(consumed).freeze();
        out.reserve(self.ends.len());
        let mut first = 0;
        for end in self.ends.drain(..) {
            let args = Args::new(&block, &self.args[first..end as usize]);
            push_request(args, self.limits.key, out);
            first = end as usize;
        }
        self.rebase(built as usize, consumed);
    }

    /// Forgets the first `built` arguments and counts the others from the new front of the buffer,
    /// which moved by `consumed` bytes. A command is moved at most once: afterwards it is in front.
    fn rebase(&mut self, built: usize, consumed: usize) {
        self.args.drain(..built);
        if self.args.is_empty() && self.args.capacity() > ARGS_KEPT {
            self.args = Vec::new();
        }
        if consumed > 0 {
            let consumed = consumed as u32;
            for (from, to) in &mut self.args {
                (*from, *to) = (*from - consumed, *to - consumed);
            }
        }
    }
}

/// Limits within what the decoder can count.
fn clamp(limits: Limits) -> Limits {
    Limits {
        bulk: limits.bulk.min(OFFSET_MAX),
        query: limits.query.min(OFFSET_MAX),
        inline: limits.inline.min(OFFSET_MAX),
        batch: limits.batch.max(1),
        ..limits
    }
}

/// The common case alone: a complete command within its limits, every byte in order.
/// Anything else is `None`, whatever was pushed to `args` being void, and [`multibulk`] finds out
/// what it is.
#[inline]
fn whole(buf: &[u8], start: usize, limits: &Limits, args: &mut Vec<(u32, u32)>) -> Option<usize> {
    let (count, mut at) = header(buf, start)?;
    if !(1..=limits.args as i64).contains(&count) {
        return None;
    }
    for _ in 0..count {
        if *buf.get(at)? != b'$' {
            return None;
        }
        let (len, next) = header(buf, at)?;
        if len as u64 > limits.bulk as u64 {
            return None;
        }
        let end = next + len as usize;
        if buf.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        args.push((next as u32, end as u32));
        at = end + 2;
    }
    (at - start <= limits.query).then_some(at)
}

/// Scans an array of bulk strings that begins at `start`.
#[inline(never)]
fn multibulk(
    buf: &[u8],
    start: usize,
    limits: &Limits,
    partial: &mut Partial,
    args: &mut Vec<(u32, u32)>,
) -> Result<Scan, ProtocolError> {
    let Partial { mut at, mut left } = *partial;
    if left == 0 {
        let Some((count, next)) = header(buf, start) else {
            if buf.len() - start >= HEADER_MAX {
                return Err(ProtocolError::MultibulkLine);
            }
            partial.at = start;
            return Ok(Scan::Cut { missing: 1 });
        };
        if count <= 0 {
            return match count {
                NOT_A_NUMBER => Err(ProtocolError::MultibulkLength),
                _ => Ok(Scan::Whole(next)),
            };
        }
        left = usize::try_from(count).unwrap_or(usize::MAX);
        if left > limits.args {
            return Err(ProtocolError::MultibulkLength);
        }
        at = next;
    }
    let (bulk_max, end_max) = (limits.bulk as u64, start + limits.query);
    while left > 0 {
        // Cutting the front off shows the compiler that no later index needs a check.
        let missing = match buf.get(at..).unwrap_or_default() {
            [] => 1,
            [b'$', ..] => match header(buf, at) {
                Some((len, next)) => {
                    // A negative length, and what is no number, is far too long as well.
                    if len as u64 > bulk_max {
                        return Err(ProtocolError::BulkLength);
                    }
                    let end = next + len as usize;
                    if end + 2 > end_max {
                        return Err(ProtocolError::QueryLength);
                    }
                    if let Some(tail) = buf.get(end..end + 2) {
                        if tail != b"\r\n" {
                            return Err(ProtocolError::BulkEnd);
                        }
                        args.push((next as u32, end as u32));
                        at = end + 2;
                        left -= 1;
                        continue;
                    }
                    end + 2 - buf.len()
                }
                None if buf.len() - at >= HEADER_MAX => return Err(ProtocolError::BulkLine),
                None => 1,
            },
            [got, ..] => return Err(ProtocolError::ExpectedBulk { got: *got }),
        };
        // Each further argument takes six bytes at least.
        *partial = Partial { at, left };
        return Ok(Scan::Cut { missing: missing + 6 * (left - 1) });
    }
    Ok(Scan::Whole(at))
}

/// Scans a line of words that begins at `start`.
fn line(
    buf: &mut [u8],
    start: usize,
    limits: &Limits,
    partial: &mut Partial,
    args: &mut Vec<(u32, u32)>,
) -> Result<Scan, ProtocolError> {
    let searched = partial.at.max(start);
    let newline = buf[searched..].iter().position(|byte| *byte == b'\n').map(|at| searched + at);
    if newline.unwrap_or(buf.len()) - start > limits.inline {
        return Err(ProtocolError::InlineLength);
    }
    let Some(newline) = newline else {
        partial.at = buf.len();
        return Ok(Scan::Cut { missing: 1 });
    };
    let end = if newline > start && buf[newline - 1] == b'\r' { newline - 1 } else { newline };
    inline::split(buf, start, end, args)?;
    Ok(Scan::Whole(newline + 1))
}

/// What [`header`] reports for a line that holds no number. No header's number is accepted near it.
const NOT_A_NUMBER: i64 = i64::MIN;

/// Reads the number of a `*N` or `$N` line at `at`. `None` if its end is not in sight within
/// [`HEADER_MAX`] bytes; otherwise the number, or [`NOT_A_NUMBER`], and where the line ends.
#[inline(always)]
fn header(buf: &[u8], at: usize) -> Option<(i64, usize)> {
    // Nearly every header has one digit, and most others two.
    if let Some([_, a, b, c, d]) = buf.get(at..at + 5).and_then(|head| head.first_chunk()) {
        let (tens, ones) = (a.wrapping_sub(b'0'), b.wrapping_sub(b'0'));
        if tens <= 9 && *b == b'\r' && *c == b'\n' {
            return Some((i64::from(tens), at + 4));
        }
        if (1..=9).contains(&tens) && ones <= 9 && *c == b'\r' && *d == b'\n' {
            return Some((i64::from(tens * 10 + ones), at + 5));
        }
    }
    header_slow(buf, at)
}

/// [`header`] for every length and every mistake.
#[inline(never)]
fn header_slow(buf: &[u8], at: usize) -> Option<(i64, usize)> {
    let line = &buf[at + 1..buf.len().min(at + HEADER_MAX)];
    let end = line.iter().position(|byte| *byte == b'\r')?;
    let next = at + 1 + end + 2;
    match line.get(end + 1) {
        None => None,
        Some(b'\n') => Some((parse_i64(&line[..end]).unwrap_or(NOT_A_NUMBER), next)),
        // A line that ends in a bare carriage return holds no number.
        Some(_) => Some((NOT_A_NUMBER, next)),
    }
}

#[cfg(test)]
mod tests;

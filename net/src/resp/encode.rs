//! Answers to bytes, in either version of the protocol.

use std::io::Write;

use super::ProtocolError;
use crate::words::{Answer, Key, Refusal, write_i64, write_u64};

/// The protocol a connection speaks. Every connection begins with RESP2 and may ask for RESP3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// Redis up to 5: status, error, integer, bulk string, array.
    #[default]
    Resp2,
    /// Redis from 6 on: also null, double, boolean, verbatim text, map, set, push.
    Resp3,
}

impl Version {
    /// The number HELLO uses.
    pub fn number(self) -> i64 {
        match self {
            Version::Resp2 => 2,
            Version::Resp3 => 3,
        }
    }
}

/// Appends `answer` to `out`.
///
/// In RESP2 a null is `$-1`, a map a flat list, a set a list, a boolean 1 or 0, a double and a text
/// bulk strings. The last [`Page`](Answer::Page) of a scan has the cursor 0; any other needs one
/// from [`Cursors::encode_page`](crate::Cursors::encode_page), and is refused here.
pub fn encode_answer(answer: &Answer, version: Version, out: &mut Vec<u8>) {
    match answer {
        Answer::Ok => out.extend_from_slice(b"+OK\r\n"),
        Answer::Nil => out.extend_from_slice(match version {
            Version::Resp2 => b"$-1\r\n",
            Version::Resp3 => b"_\r\n",
        }),
        Answer::Int(number) => write_integer(out, *number),
        Answer::Bulk(bytes) => write_bulk(out, bytes),
        Answer::List(items) => {
            write_head(out, b'*', items.len());
            items.iter().for_each(|item| encode_answer(item, version, out));
        }
        Answer::Page { next: None, keys } => write_page(out, 0, keys),
        Answer::Page { next: Some(_), .. } => write_error(out, Refusal::InvalidCursor),
        Answer::Error(refusal) => write_error(out, refusal),
        Answer::Simple(word) => {
            out.push(b'+');
            out.extend_from_slice(word.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        Answer::Text(text) => match version {
            Version::Resp2 => write_bulk(out, text),
            Version::Resp3 => {
                write_head(out, b'=', text.len() + 4);
                out.extend_from_slice(b"txt:");
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
        },
        Answer::Map(pairs) => {
            match version {
                Version::Resp2 => write_head(out, b'*', pairs.len() * 2),
                Version::Resp3 => write_head(out, b'%', pairs.len()),
            }
            for (name, value) in pairs {
                encode_answer(name, version, out);
                encode_answer(value, version, out);
            }
        }
        Answer::Set(items) => {
            let mark = if version == Version::Resp3 { b'~' } else { b'*' };
            write_head(out, mark, items.len());
            items.iter().for_each(|item| encode_answer(item, version, out));
        }
        Answer::Double(real) => write_double(out, real.0, version),
        Answer::Bool(yes) => out.extend_from_slice(match (version, yes) {
            (Version::Resp2, true) => b":1\r\n",
            (Version::Resp2, false) => b":0\r\n",
            (Version::Resp3, true) => b"#t\r\n",
            (Version::Resp3, false) => b"#f\r\n",
        }),
    }
}

/// Appends a message that answers nothing: `kind`, then `items`. RESP2 has no such messages and
/// sends an array.
pub fn encode_push(kind: &str, items: &[Answer], version: Version, out: &mut Vec<u8>) {
    let mark = if version == Version::Resp3 { b'>' } else { b'*' };
    write_head(out, mark, items.len() + 1);
    write_bulk(out, kind.as_bytes());
    items.iter().for_each(|item| encode_answer(item, version, out));
}

/// Appends the last thing a client hears before its connection is closed.
pub fn encode_protocol_error(error: ProtocolError, out: &mut Vec<u8>) {
    out.extend_from_slice(b"-ERR ");
    write_line(out, error);
}

/// Appends a request: what a client sends.
pub fn encode_request<A: AsRef<[u8]>>(args: &[A], out: &mut Vec<u8>) {
    write_head(out, b'*', args.len());
    args.iter().for_each(|arg| write_bulk(out, arg.as_ref()));
}

/// Appends a bulk string.
#[inline]
pub fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    // One reservation for all the pieces: a head is at most 23 bytes.
    out.reserve(bytes.len() + 25);
    write_head(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends what SCAN answers: a cursor as a string, and a list of keys.
pub(crate) fn write_page(out: &mut Vec<u8>, cursor: u64, keys: &[Key]) {
    out.extend_from_slice(b"*2\r\n");
    let mut digits = Vec::with_capacity(20);
    write_u64(&mut digits, cursor);
    write_bulk(out, &digits);
    write_head(out, b'*', keys.len());
    keys.iter().for_each(|key| write_bulk(out, key));
}

/// Appends a type mark, a number and the end of the line.
#[inline]
fn write_head(out: &mut Vec<u8>, mark: u8, number: usize) {
    out.push(mark);
    write_u64(out, number as u64);
    out.extend_from_slice(b"\r\n");
}

#[inline]
fn write_integer(out: &mut Vec<u8>, number: i64) {
    out.push(b':');
    write_i64(out, number);
    out.extend_from_slice(b"\r\n");
}

fn write_error(out: &mut Vec<u8>, error: impl std::fmt::Display) {
    out.push(b'-');
    write_line(out, error);
}

/// Appends text that must be one line: a line break in it would let a client forge an answer.
fn write_line(out: &mut Vec<u8>, text: impl std::fmt::Display) {
    let from = out.len();
    // Writing to a vector cannot fail, and no Display here does.
    let _ = write!(out, "{text}");
    for byte in &mut out[from..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a double in the shortest form that reads back as the same number.
fn write_double(out: &mut Vec<u8>, real: f64, version: Version) {
    let magnitude = real.abs();
    let text = if real.is_nan() {
        "nan".to_owned()
    } else if real.is_infinite() {
        if real > 0.0 { "inf".to_owned() } else { "-inf".to_owned() }
    } else if magnitude != 0.0 && !(1e-5..1e17).contains(&magnitude) {
        format!("{real:e}")
    } else {
        format!("{real}")
    };
    match version {
        Version::Resp2 => write_bulk(out, text.as_bytes()),
        Version::Resp3 => {
            out.push(b',');
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests;

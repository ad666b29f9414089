//! Texts on a byte stream: one a line, or one a frame of WebSocket, as the first byte says.
//!
//! Bytes come in with [`Wire::feed`], texts come out of [`Wire::next`]; texts go in with
//! [`Wire::write`], and bytes come out behind whatever stands in `out`. Nothing here waits or does
//! I/O, and what one client may make it hold is bounded.

mod handshake;
mod lines;
mod socket;

use bytes::Bytes;

use handshake::Handshake;
use lines::Lines;
use socket::Socket;

use crate::envelope::{Code, Failure};

/// A stream of texts.
#[derive(Debug)]
pub struct Wire {
    form: Form,
    /// Most bytes of one text.
    max: usize,
}

#[derive(Debug)]
enum Form {
    /// Nothing has come in.
    Unknown,
    Lines(Lines),
    Handshake(Handshake),
    Socket(Box<Socket>),
    /// Nothing more comes in.
    Over,
}

/// What comes out of a wire.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A whole text.
    Text(Bytes),
    /// Nothing before more bytes come in.
    Wait,
    /// The client has said goodbye, and has been answered.
    Closed,
    /// What came in cannot be cut into texts. The client is told why, and nothing more is read.
    Broken(Failure, Goodbye),
    /// It was refused in words of its own, which stand in `out`; nothing more is to be written.
    Refused,
}

/// Why the server closes, as WebSocket's close codes (RFC 6455, section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// 1000: all is said.
    Normal,
    /// 1001: the node is about to stop.
    Away,
    /// 1002: the client's frames break the protocol.
    Protocol,
    /// 1003: the client's frame is no text.
    Unsupported,
    /// 1007: the client's text is no request.
    Malformed,
    /// 1008: the client reads too slowly, or is one too many.
    Policy,
    /// 1009: the client's text is too long.
    TooLarge,
    /// 1011: the node cannot go on.
    Internal,
}

impl Wire {
    /// A stream of which nothing is known, with texts of `max` bytes at most.
    pub fn new(max: usize) -> Wire {
        Wire { form: Form::Unknown, max }
    }

    /// A stream of lines, of `max` bytes at most.
    pub fn lines(max: usize) -> Wire {
        Wire { form: Form::Lines(Lines::default()), max }
    }

    /// Has texts of `max` bytes at most from now on.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
        if let Form::Socket(socket) = &mut self.form {
            socket.set_max(max);
        }
    }

    /// Takes what came in.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Some(first) = bytes.first() else { return };
        if matches!(self.form, Form::Unknown) {
            // No line of JSON begins with a letter that a method of HTTP does.
            self.form = match first.is_ascii_uppercase() {
                true => Form::Handshake(Handshake::default()),
                false => Form::Lines(Lines::default()),
            };
        }
        match &mut self.form {
            Form::Lines(lines) => lines.feed(bytes),
            Form::Handshake(handshake) => handshake.feed(bytes),
            Form::Socket(socket) => socket.feed(bytes),
            Form::Unknown | Form::Over => {}
        }
    }

    /// The next text. What the protocol itself has to say is put behind `out`.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Next {
        let next = loop {
            break match &mut self.form {
                Form::Unknown => return Next::Wait,
                Form::Over => return Next::Closed,
                Form::Lines(lines) => lines.next(self.max),
                Form::Socket(socket) => socket.next(out),
                Form::Handshake(handshake) => match handshake.next(out) {
                    None => Next::Wait,
                    Some(Err(())) => Next::Refused,
                    Some(Ok(behind)) => {
                        self.form = Form::Socket(Box::new(Socket::new(behind, self.max)));
                        continue;
                    }
                },
            };
        };
        match &next {
            Next::Refused | Next::Closed => self.form = Form::Over,
            // A socket is closed in order when the reason has been told.
            Next::Broken(..) | Next::Text(_) | Next::Wait => {}
        }
        next
    }

    /// What stands behind the last line when the stream is over.
    pub fn rest(&mut self) -> Option<Bytes> {
        match &mut self.form {
            Form::Lines(lines) => lines.rest(),
            _ => None,
        }
    }

    /// Puts a text without line ends behind `out`.
    pub fn write(&mut self, text: &str, out: &mut Vec<u8>) {
        match &mut self.form {
            Form::Unknown | Form::Lines(_) => {
                out.extend_from_slice(text.as_bytes());
                out.push(b'\n');
            }
            Form::Socket(socket) => socket.write(text, out),
            Form::Handshake(_) | Form::Over => {}
        }
    }

    /// Says goodbye, as far as the form has words for it. Nothing is read or written after it.
    pub fn close(&mut self, why: Goodbye, reason: &'static str, out: &mut Vec<u8>) {
        if let Form::Socket(socket) = &mut self.form {
            socket.close(why, reason, out);
        }
        self.form = Form::Over;
    }

    /// Turns a client away, in whichever form it has begun to speak.
    pub fn turn_away(&mut self, text: &str, out: &mut Vec<u8>) {
        match &self.form {
            Form::Handshake(_) => handshake::refuse("503 Service Unavailable", "", text, out),
            _ => self.write(text, out),
        }
        self.form = Form::Over;
    }
}

fn too_large(max: usize) -> Failure {
    Failure::new(Code::TooLarge, "longer than what is taken").with("max_bytes", max.to_string())
}

#[cfg(test)]
mod tests;

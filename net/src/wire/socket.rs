//! One text a frame of WebSocket, the server's side. Servers mask nothing, so no random number is
//! drawn.

use std::io::{self, Read, Write};

use bytes::{Buf, BytesMut};
use tungstenite::{
    Error, Message,
    protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext, frame::coding::CloseCode},
};

use super::{Goodbye, Next, too_large};
use crate::envelope::{Code, Failure};

/// Room that a connection at rest takes for what comes in.
const ROOM: usize = 4 << 10;

/// A connection behind its handshake.
#[derive(Debug)]
pub(super) struct Socket {
    context: WebSocketContext,
    input: BytesMut,
    max: usize,
}

/// Both directions as the codec sees them: reading ends where the input does, writing never waits.
struct Ends<'a> {
    input: &'a mut BytesMut,
    output: &'a mut Vec<u8>,
}

impl Read for Ends<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = room.len().min(self.input.len());
        self.input.copy_to_slice(&mut room[..len]);
        Ok(len)
    }
}

impl Write for Ends<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket {
    /// `input` stood behind the handshake.
    pub(super) fn new(input: BytesMut, max: usize) -> Socket {
        let config = WebSocketConfig::default()
            .read_buffer_size(ROOM)
            .write_buffer_size(0)
            .max_message_size(Some(max))
            .max_frame_size(Some(max));
        Socket { context: WebSocketContext::new(Role::Server, Some(config)), input, max }
    }

    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max;
        self.context.set_config(|config| {
            config.max_message_size = Some(max);
            config.max_frame_size = Some(max);
        });
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    pub(super) fn next(&mut self, output: &mut Vec<u8>) -> Next {
        let broken = |what: String, goodbye| {
            let failure = Failure::new(Code::Invalid, what).with("reason", "malformed");
            Next::Broken(failure, goodbye)
        };
        loop {
            let mut ends = Ends { input: &mut self.input, output };
            match self.context.read(&mut ends) {
                Ok(Message::Text(text)) => return Next::Text(text.into()),
                Ok(Message::Binary(_)) => {
                    return broken("a request is a frame of text".to_owned(), Goodbye::Unsupported);
                }
                // A ping is answered, and a close is, by the next call.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => {}
                Ok(Message::Frame(_)) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Next::Wait;
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Next::Closed,
                Err(Error::Capacity(_)) => {
                    return Next::Broken(too_large(self.max), Goodbye::TooLarge);
                }
                Err(Error::Utf8(_)) => {
                    return broken("the text is not UTF-8".to_owned(), Goodbye::Malformed);
                }
                Err(error) => return broken(error.to_string(), Goodbye::Protocol),
            }
        }
    }

    pub(super) fn write(&mut self, text: &str, output: &mut Vec<u8>) {
        let mut ends = Ends { input: &mut self.input, output };
        // It refuses what comes after a goodbye, which nobody waits for.
        let _ = self.context.write(&mut ends, Message::text(text));
    }

    pub(super) fn close(&mut self, why: Goodbye, reason: &'static str, output: &mut Vec<u8>) {
        let code = match why {
            Goodbye::Normal => CloseCode::Normal,
            Goodbye::Away => CloseCode::Away,
            Goodbye::Protocol => CloseCode::Protocol,
            Goodbye::Unsupported => CloseCode::Unsupported,
            Goodbye::Malformed => CloseCode::Invalid,
            Goodbye::Policy => CloseCode::Policy,
            Goodbye::TooLarge => CloseCode::Size,
            Goodbye::Internal => CloseCode::Error,
        };
        let frame = CloseFrame { code, reason: reason.into() };
        let mut ends = Ends { input: &mut self.input, output };
        let _ = self.context.close(&mut ends, Some(frame));
    }
}

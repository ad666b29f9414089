//! The request of HTTP by which a client asks for WebSocket (RFC 6455, section 4).

use bytes::BytesMut;
use tungstenite::{
    Error,
    error::ProtocolError,
    handshake::{
        machine::TryParse,
        server::{Request, create_response, write_response},
    },
};

/// Most bytes of the request.
const HEAD_MAX: usize = 16 << 10;

/// A request that has begun.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    input: BytesMut,
}

impl Handshake {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Answers the request once it is whole: what stands behind it, or nothing if it was refused.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> Option<Result<BytesMut, ()>> {
        let head = &self.input[..self.input.len().min(HEAD_MAX)];
        let (len, request) = match Request::try_parse(head) {
            Ok(Some(parsed)) => parsed,
            Ok(None) if self.input.len() < HEAD_MAX => return None,
            Ok(None) => {
                let status = "431 Request Header Fields Too Large";
                refuse(status, "", "a request of 16 KiB at most", out);
                return Some(Err(()));
            }
            Err(error) => {
                refuse_for(&error, out);
                return Some(Err(()));
            }
        };
        if !is_at_home(&request) {
            let what = "pages of other origins may not connect";
            refuse("403 Forbidden", "", what, out);
            return Some(Err(()));
        }
        match create_response(&request).and_then(|response| write_response(&mut *out, &response)) {
            Ok(()) => Some(Ok(self.input.split_off(len))),
            Err(error) => {
                refuse_for(&error, out);
                Some(Err(()))
            }
        }
    }
}

/// Whether no page of a browser asks, or one that came from here. A browser lets any page connect
/// anywhere and says only where the page is from; a page may also have the name of its own host
/// point here, so that name has to be an address, or `localhost`.
fn is_at_home(request: &Request) -> bool {
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    let Some(origin) = header("origin") else { return true };
    let home = origin.split_once("://").map(|(_, home)| home);
    let Some((home, host)) = home.zip(header("host")) else { return false };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    home == host && (is_address || name == "localhost")
}

fn refuse_for(error: &Error, out: &mut Vec<u8>) {
    let (status, header) = match error {
        Error::Protocol(ProtocolError::WrongHttpMethod) => {
            ("405 Method Not Allowed", "Allow: GET\r\n")
        }
        Error::Protocol(ProtocolError::WrongHttpVersion) => ("505 HTTP Version Not Supported", ""),
        Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader
            | ProtocolError::MissingSecWebSocketVersionHeader,
        ) => ("426 Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
        _ => ("400 Bad Request", ""),
    };
    let what = "this port speaks WebSocket (RFC 6455), or one JSON object a line";
    refuse(status, header, what, out);
}

/// Puts an answer of HTTP that refuses behind `out`. `headers` end with a line end each.
pub(super) fn refuse(status: &str, headers: &str, text: &str, out: &mut Vec<u8>) {
    let len = text.len() + 1;
    let answer = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {len}\r\n{headers}\r\n{text}\n"
    );
    out.extend_from_slice(answer.as_bytes());
}

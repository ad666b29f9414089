//! Both forms of a wire, cut in every way.

use proptest::prelude::*;

use super::*;

/// The example of RFC 6455, section 1.2, with what a request needs.
fn hello(more: &str) -> Vec<u8> {
    format!(
        "GET /chat HTTP/1.1\r\nHost: localhost:7000\r\nUpgrade: websocket\r\n\
         Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n{more}\r\n"
    )
    .into_bytes()
}

const WELCOME: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                       upgrade: websocket\r\n\
                       sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A frame as clients send them, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len @ ..65536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Everything that comes of `bytes` in pieces, and what the wire had to say.
fn run(bytes: &[u8], piece: usize, max: usize) -> (Vec<Next>, Vec<u8>) {
    let (mut wire, mut found, mut out) = (Wire::new(max), Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        wire.feed(piece);
        loop {
            match wire.next(&mut out) {
                Next::Wait => break,
                Next::Text(text) => found.push(Next::Text(text)),
                Next::Broken(failure, why) => {
                    wire.close(why, "reason", &mut out);
                    found.push(Next::Broken(failure, why));
                    return (found, out);
                }
                last @ (Next::Closed | Next::Refused) => {
                    found.push(last);
                    return (found, out);
                }
            }
        }
    }
    found.extend(wire.rest().map(Next::Text));
    (found, out)
}

fn texts(of: &[&str]) -> Vec<Next> {
    of.iter().map(|text| Next::Text(text.to_string().into())).collect()
}

#[test]
fn lines_are_texts_and_so_is_what_stands_behind_the_last() {
    for piece in 1..20 {
        let (found, out) = run(b"{}\r\n\n  \n{\"a\":1}\n\n{\"b\"}", piece, 100);
        assert_eq!(found, texts(&["{}\r", "{\"a\":1}", "{\"b\"}"]), "in pieces of {piece}");
        assert!(out.is_empty());
    }
    let mut out = Vec::new();
    Wire::new(9).write("{}", &mut out);
    assert_eq!(out, b"{}\n");
    let mut lines = Wire::lines(9);
    lines.feed(b"GET\n");
    assert_eq!(lines.next(&mut out), Next::Text("GET".into()), "whatever it begins with");
}

#[test]
fn a_line_too_long_is_told_before_it_ends() {
    for text in ["12345", "12345\n", "1234\n12345"] {
        let (found, _) = run(text.as_bytes(), 2, 4);
        let Some(Next::Broken(failure, Goodbye::TooLarge)) = found.last() else {
            panic!("{text:?}: {found:?}")
        };
        assert_eq!((failure.code, failure.detail("max_bytes")), (Code::TooLarge, Some("4")));
    }
    assert_eq!(run(b"1234\n1234", 3, 4).0, texts(&["1234", "1234"]));
}

#[test]
fn golden_conversation() {
    let mut bytes = hello("");
    bytes.extend(frame(0x81, b"Hello"));
    bytes.extend(frame(0x01, b"Hel"));
    bytes.extend(frame(0x89, b"ping"));
    bytes.extend(frame(0x80, b"lo"));
    bytes.extend(frame(0x8a, b"pong nobody asked for"));
    bytes.extend(frame(0x88, &[0x03, 0xe8, b'b', b'y', b'e']));
    for piece in 1..100 {
        let (mut found, out) = run(&bytes, piece, 100);
        assert_eq!(found.pop(), Some(Next::Closed), "in pieces of {piece}");
        assert_eq!(found, texts(&["Hello", "Hello"]));
        let golden = [WELCOME.as_bytes(), b"\x8a\x04ping", b"\x88\x05\x03\xe8bye"].concat();
        assert_eq!(out, golden, "{}", String::from_utf8_lossy(&out));
    }
    let (mut wire, mut out) = (Wire::new(9), Vec::new());
    wire.feed(&hello(""));
    assert_eq!(wire.next(&mut out), Next::Wait);
    out.clear();
    wire.write("{}", &mut out);
    wire.close(Goodbye::Away, "stops", &mut out);
    wire.write("{}", &mut out);
    assert_eq!(out, b"\x81\x02{}\x88\x07\x03\xe9stops");
    wire.feed(&frame(0x81, b"{}"));
    assert_eq!(wire.next(&mut out), Next::Closed);
}

#[test]
fn broken_frames_are_told_why() {
    let cases: [(Vec<u8>, Goodbye); 9] = [
        (frame(0x82, b"binary"), Goodbye::Unsupported),
        (frame(0x81, b"\xff"), Goodbye::Malformed),
        (frame(0x81, &[b'x'; 101]), Goodbye::TooLarge),
        ([frame(0x01, &[b'x'; 60]), frame(0x80, &[b'x'; 60])].concat(), Goodbye::TooLarge),
        (frame(0xc1, b"reserved bit"), Goodbye::Protocol),
        (frame(0x83, b"reserved kind"), Goodbye::Protocol),
        (frame(0x80, b"continues nothing"), Goodbye::Protocol),
        (frame(0x09, b"a cut ping"), Goodbye::Protocol),
        (b"\x81\x02no".to_vec(), Goodbye::Protocol),
    ];
    for (bytes, why) in cases {
        let (found, out) = run(&[hello(""), bytes.clone()].concat(), 7, 100);
        let [Next::Broken(_, goodbye)] = &found[..] else { panic!("{bytes:?}: {found:?}") };
        assert_eq!(*goodbye, why, "{bytes:?}");
        assert!(out.ends_with(b"reason"), "{bytes:?}");
    }
    // An announcement alone is told, too.
    let (found, _) = run(&[hello(""), b"\x81\xff\0\0\0\x01\0\0\0\0mask".to_vec()].concat(), 7, 100);
    assert!(matches!(found[..], [Next::Broken(_, Goodbye::TooLarge)]), "{found:?}");
}

#[test]
fn what_asks_for_no_websocket_is_refused_in_http() {
    let status = |bytes: &[u8]| {
        let (found, out) = run(bytes, 5, 100);
        assert_eq!(found, [Next::Refused]);
        let out = String::from_utf8(out).expect("text");
        let (head, body) = out.split_once("\r\n\r\n").expect("head and body");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{out}");
        out["HTTP/1.1 ".len()..][..3].to_owned()
    };
    assert_eq!(status(b"POST / HTTP/1.1\r\n\r\n{}"), "405");
    assert_eq!(status(b"GET / HTTP/1.0\r\n\r\n"), "505");
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "426");
    assert_eq!(status(b"GET / HTTP/1.1\nbad header\r\n\r\n"), "400");
    assert_eq!(status(&[b"GET / HTTP/1.1\r\nX: ", &[b'x'; 20_000][..]].concat()), "431");
    let old = String::from_utf8(hello("")).expect("text").replace(": 13", ": 8");
    assert_eq!(status(old.as_bytes()), "426");
}

#[test]
fn pages_from_elsewhere_may_not_connect() {
    let welcomed = |more: &str| run(&hello(more), 1000, 100).1.starts_with(b"HTTP/1.1 101");
    assert!(welcomed("Origin: http://localhost:7000\r\n"));
    for origin in ["http://localhost:7001", "https://example.com", "null", "localhost:7000"] {
        assert!(!welcomed(&format!("Origin: {origin}\r\n")), "{origin}");
    }
    let named = String::from_utf8(hello("Origin: http://evil.example\r\n")).expect("text");
    let named = named.replace("Host: localhost:7000", "Host: evil.example");
    assert!(run(named.as_bytes(), 1000, 100).1.starts_with(b"HTTP/1.1 403"));
    let address = named.replace("evil.example", "[::1]:80");
    assert!(run(address.as_bytes(), 1000, 100).1.starts_with(b"HTTP/1.1 101"));
}

#[test]
fn who_is_turned_away_hears_it_in_its_own_form() {
    let away = |bytes: &[u8]| {
        let (mut wire, mut out) = (Wire::new(9), Vec::new());
        wire.feed(bytes);
        wire.turn_away("full", &mut out);
        String::from_utf8(out).expect("text")
    };
    assert_eq!(away(b""), "full\n");
    assert_eq!(away(b"{"), "full\n");
    assert!(away(b"GE").starts_with("HTTP/1.1 503 "));
}

proptest! {
    /// However bytes are cut, they mean the same; and none make the wire panic.
    #[test]
    fn cuts_do_not_matter(
        says_hello in any::<bool>(),
        frames in proptest::collection::vec(
            (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..200)), 0..6),
        tail in proptest::collection::vec(any::<u8>(), 0..30),
        piece in 1_usize..50,
    ) {
        let mut bytes = if says_hello { hello("") } else { Vec::new() };
        for (first, payload) in frames {
            // Mostly what may be.
            let first = if first % 4 == 0 { first } else { 0x81 };
            bytes.extend(frame(first, &payload));
        }
        bytes.extend(tail);
        let whole = run(&bytes, usize::MAX >> 1, 150);
        prop_assert_eq!(run(&bytes, piece, 150), whole);
    }
}

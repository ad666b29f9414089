use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::words::{Real, parse_i64};

fn encode(answer: &Answer, version: Version) -> String {
    let mut out = b"before".to_vec();
    encode_answer(answer, version, &mut out);
    let text = String::from_utf8(out).expect("text");
    text.strip_prefix("before").expect("appended").to_owned()
}

/// The bytes of every answer in both versions. These are the protocol: they may not change.
#[test]
fn golden_bytes() {
    let real = |number| Answer::Double(Real(number));
    let bulk = Answer::text;
    let cases: [(Answer, &str, &str); 30] = [
        (Answer::Ok, "+OK\r\n", "+OK\r\n"),
        (Answer::Nil, "$-1\r\n", "_\r\n"),
        (Answer::Int(0), ":0\r\n", ":0\r\n"),
        (Answer::Int(-42), ":-42\r\n", ":-42\r\n"),
        (Answer::Int(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
        (bulk(""), "$0\r\n\r\n", "$0\r\n\r\n"),
        (bulk("a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"),
        (Answer::Simple("PONG"), "+PONG\r\n", "+PONG\r\n"),
        (Answer::List(vec![]), "*0\r\n", "*0\r\n"),
        (
            Answer::List(vec![Answer::Nil, Answer::List(vec![Answer::Int(1)])]),
            "*2\r\n$-1\r\n*1\r\n:1\r\n",
            "*2\r\n_\r\n*1\r\n:1\r\n",
        ),
        (Answer::Set(vec![Answer::Int(1)]), "*1\r\n:1\r\n", "~1\r\n:1\r\n"),
        (
            Answer::Map(vec![(bulk("a"), Answer::Int(1)), (bulk("b"), Answer::Nil)]),
            "*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n$-1\r\n",
            "%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n_\r\n",
        ),
        (Answer::Bool(true), ":1\r\n", "#t\r\n"),
        (Answer::Bool(false), ":0\r\n", "#f\r\n"),
        (Answer::Text(Bytes::from_static(b"a:b")), "$3\r\na:b\r\n", "=7\r\ntxt:a:b\r\n"),
        (real(0.0), "$1\r\n0\r\n", ",0\r\n"),
        (real(-0.0), "$2\r\n-0\r\n", ",-0\r\n"),
        (real(3.0), "$1\r\n3\r\n", ",3\r\n"),
        (real(0.1), "$3\r\n0.1\r\n", ",0.1\r\n"),
        (real(-1.5e300), "$8\r\n-1.5e300\r\n", ",-1.5e300\r\n"),
        (real(5e-324), "$6\r\n5e-324\r\n", ",5e-324\r\n"),
        (real(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n"),
        (real(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
        (real(f64::NAN), "$3\r\nnan\r\n", ",nan\r\n"),
        (
            Answer::Page { next: None, keys: vec![Bytes::from_static(b"k")] },
            "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n",
            "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n",
        ),
        (
            Answer::Page { next: Some(Bytes::from_static(b"k")), keys: vec![] },
            "-ERR invalid cursor\r\n",
            "-ERR invalid cursor\r\n",
        ),
        (Refusal::Syntax.into(), "-ERR syntax error\r\n", "-ERR syntax error\r\n"),
        (
            Refusal::WrongType.into(),
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        ),
        (
            Refusal::unknown_command(b"a\r\n+OK", &[Bytes::from_static(b"b\n\xff")]).into(),
            "-ERR unknown command 'a  +OK', with args beginning with: 'b \u{fffd}' \r\n",
            "-ERR unknown command 'a  +OK', with args beginning with: 'b \u{fffd}' \r\n",
        ),
        (
            Refusal::AuthNotConfigured.into(),
            "-ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?\r\n",
            "-ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?\r\n",
        ),
    ];
    for (answer, two, three) in cases {
        assert_eq!(encode(&answer, Version::Resp2), two);
        assert_eq!(encode(&answer, Version::Resp3), three);
    }
}

#[test]
fn golden_bytes_without_a_question() {
    let mut out = Vec::new();
    encode_push("invalidate", &[Answer::List(vec![Answer::text("k")])], Version::Resp3, &mut out);
    encode_push("message", &[Answer::text("c")], Version::Resp2, &mut out);
    encode_protocol_error(ProtocolError::ExpectedBulk { got: b'\n' }, &mut out);
    encode_request(&["GET", ""], &mut out);
    assert_eq!(
        String::from_utf8(out).expect("text"),
        ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n*2\r\n$7\r\nmessage\r\n$1\r\nc\r\n\
         -ERR Protocol error: expected '$', got '\\n'\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n"
    );
}

proptest! {
    /// Integers are written as the standard library writes them, and read back.
    #[test]
    fn integers_round_trip(number in any::<i64>(), shift in 0..64) {
        let number = number >> shift;
        let mut out = Vec::new();
        write_i64(&mut out, number);
        prop_assert_eq!(&out, &number.to_string().into_bytes());
        prop_assert_eq!(parse_i64(&out), Some(number));
    }

    /// What reads as an integer is exactly what one would be written as.
    #[test]
    fn only_canonical_integers_are_read(text in "[-+ 0-9]{0,21}") {
        let canonical = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
        prop_assert_eq!(parse_i64(text.as_bytes()), canonical);
    }
}

#[test]
fn integers_at_their_edges() {
    for number in [i64::MIN, i64::MIN + 1, -1, 0, 9, 10, 99, 100, i64::MAX] {
        assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
    }
    for text in
        ["9223372036854775808", "-9223372036854775809", "-0", "-", "", "00", "99999999999999999999"]
    {
        assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
    }
}

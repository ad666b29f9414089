use proptest::prelude::*;

use super::*;
use crate::resp::encode_request;

/// Decodes `wire` in pieces that end at `cuts`. Returns every outcome in words, and the error.
fn decode(wire: &[u8], cuts: &[usize], limits: Limits) -> (Vec<String>, Option<ProtocolError>) {
    let mut decoder = Decoder::new(limits);
    let mut input = BytesMut::new();
    let mut words = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([wire.len()]) {
        input.extend_from_slice(&wire[from..to]);
        from = to;
        let mut out = Vec::new();
        loop {
            let progress = decoder.decode(&mut input, &mut out);
            match progress {
                Ok(Progress::Full) => continue,
                Ok(Progress::Wait { missing }) => {
                    assert_eq!(missing == 0, input.is_empty(), "{missing} of {}", input.len());
                    break;
                }
                Err(error) => {
                    words.extend(out.iter().map(reveal));
                    assert_eq!(decoder.decode(&mut input, &mut out), Err(error), "it stays failed");
                    return (words, Some(error));
                }
            }
        }
        words.extend(out.iter().map(reveal));
    }
    (words, None)
}

fn reveal(outcome: &Result<Request, Refusal>) -> String {
    match outcome {
        Ok(Request::Data(command)) => command.reveal().to_string(),
        Ok(Request::Scan { cursor, count, .. }) => format!("scan {cursor} {count}"),
        Ok(Request::Local(local)) => format!("local {}", local.name()),
        Err(refusal) => format!("-{refusal}"),
    }
}

/// The arguments of every complete command, as the scan finds them.
fn arguments(wire: &[u8]) -> (Vec<Vec<Vec<u8>>>, usize) {
    let mut decoder = Decoder::new(Limits::default());
    let mut buf = wire.to_vec();
    let (consumed, verdict) = decoder.scan(&mut buf);
    verdict.expect("well formed");
    let mut first = 0;
    let commands = decoder.ends.iter().map(|end| {
        let places = &decoder.args[first..*end as usize];
        first = *end as usize;
        places.iter().map(|(from, to)| buf[*from as usize..*to as usize].to_vec()).collect()
    });
    (commands.collect(), consumed)
}

/// Multibulk and inline requests, empty ones, quoting, every length of header.
fn pipeline() -> Vec<u8> {
    let mut wire = Vec::new();
    encode_request(&["SET", "key", "value"], &mut wire);
    wire.extend_from_slice(b"PING\r\n\r\n*0\r\n*-1\r\nget \"a\\x41\\n\" \n");
    encode_request(&["get", ""], &mut wire);
    encode_request(&["SeT", "k", &"v".repeat(123), "pX", "5", "nx", "GET"], &mut wire);
    wire.extend_from_slice(b" set 'it\\'s' \"\" \r\n");
    encode_request(&["MGET", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"], &mut wire);
    encode_request(&["nonsense", "a", "b"], &mut wire);
    encode_request(&["get"], &mut wire);
    encode_request(&["SCAN", "17", "COUNT", "3"], &mut wire);
    wire
}

const MEANING: [&str; 10] = [
    r#"set "key" "value""#,
    "local ping",
    r#"get "aA\n""#,
    r#"get """#,
    "SET",
    r#"set "it\'s" """#,
    r#"mget "a" "b" "c" "d" "e" "f" "g" "h" "i" "j" "k""#,
    "-ERR unknown command 'nonsense', with args beginning with: 'a' 'b' ",
    "-ERR wrong number of arguments for 'get' command",
    "scan 17 3",
];

fn meaning() -> Vec<String> {
    let set = format!(r#"set "k" "{}" in 5ms if Absent get"#, "v".repeat(123));
    MEANING.iter().map(|m| if *m == "SET" { set.clone() } else { m.to_string() }).collect()
}

/// Every cut in two, and every cut into single bytes, means the same as one piece.
#[test]
fn no_split_changes_the_meaning() {
    let wire = pipeline();
    let limits = Limits::default();
    assert_eq!(decode(&wire, &[], limits), (meaning(), None));
    for cut in 0..wire.len() {
        assert_eq!(decode(&wire, &[cut], limits), (meaning(), None), "cut at {cut}");
    }
    let bytes: Vec<usize> = (0..wire.len()).collect();
    assert_eq!(decode(&wire, &bytes, limits), (meaning(), None), "byte by byte");
    for batch in 1..12 {
        assert_eq!(decode(&wire, &[100], Limits { batch, ..limits }), (meaning(), None), "{batch}");
    }
}

/// Every pair of cuts of a short pipeline means the same.
#[test]
fn no_two_splits_change_the_meaning() {
    let wire = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nv\r\n$1\r\n*1\r\n$\r\n\
        PING 'a b'\r\n*1\r\n$4\r\nPING\r\n";
    let expected = decode(wire, &[], Limits::default());
    assert_eq!(expected.0[0], r#"set "k" "v\r\n$1\r\n*1\r\n$""#);
    assert_eq!(expected.0.len(), 3);
    for a in 0..wire.len() {
        for b in a..wire.len() {
            assert_eq!(decode(wire, &[a, b], Limits::default()), expected, "cuts {a} {b}");
        }
    }
}

/// What Redis says, word for word, and that commands before the fault are still there.
#[test]
fn a_lost_stream_says_why_however_it_is_cut() {
    let long = "x".repeat(40);
    let faults: [(&str, &str); 22] = [
        ("*abc\r\n", "invalid multibulk length"),
        ("*03\r\n", "invalid multibulk length"),
        ("*1 \r\n", "invalid multibulk length"),
        ("*\r\n", "invalid multibulk length"),
        ("*1\rX$4\r\nPING\r\n", "invalid multibulk length"),
        ("*3000000000\r\n", "invalid multibulk length"),
        ("*1048577\r\n", "invalid multibulk length"),
        ("*99999999999999999999\r\n", "invalid multibulk length"),
        (&format!("*{long}"), "too big mbulk count string"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$abc\r\n", "invalid bulk length"),
        ("*1\r\n$\r\n", "invalid bulk length"),
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n", "invalid bulk length"),
        ("*1\r\n$536870913\r\n", "invalid bulk length"),
        (&format!("*1\r\n${long}"), "too big bulk count string"),
        ("*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"),
        ("*1\r\nfoo\r\n", "expected '$', got 'f'"),
        ("*1\r\n\0", "expected '$', got '\\x00'"),
        ("*1\r\n$4\r\nPINGPONG\r\n", "expected CRLF after bulk"),
        ("set \"\"\"test-key\"\"\" test-value\r\n", "unbalanced quotes in request"),
        ("get 'abc\r\n", "unbalanced quotes in request"),
        ("get \"abc\\\"\r\n", "unbalanced quotes in request"),
    ];
    let more: [(&str, &str); 4] = [
        ("\0\x01\x02\n", "unexpected zero byte in inline request"),
        ("POST / HTTP/1.1\r\n", "possible cross-protocol scripting"),
        ("host: localhost\r\n", "possible cross-protocol scripting"),
        (&"a".repeat((64 << 10) + 1), "too big inline request"),
    ];
    for (fault, text) in faults.into_iter().chain(more) {
        let wire = [b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n", fault.as_bytes()].concat();
        // Cutting a very long line at each byte shows nothing more than cutting its beginning.
        for cut in 0..wire.len().min(300) {
            let (words, error) = decode(&wire, &[cut], Limits::default());
            assert_eq!(words, [r#"get "a""#], "{fault:.60} cut at {cut}");
            let error = error.map(|error| error.to_string());
            assert_eq!(error, Some(format!("Protocol error: {text}")), "{fault:.60} cut at {cut}");
        }
    }
}

#[test]
fn limits_are_kept_and_just_within_them_is_fine() {
    let limits = Limits { bulk: 10, key: 4, args: 3, inline: 20, query: 40, batch: usize::MAX };
    let ok = |wire: &str| {
        let (words, error) = decode(wire.as_bytes(), &[], limits);
        assert_eq!(error, None, "{wire}");
        words.join("; ")
    };
    let fails = |wire: &str| decode(wire.as_bytes(), &[], limits).1.expect(wire);
    assert_eq!(ok("*2\r\n$4\r\nPING\r\n$10\r\n0123456789\r\n"), "local ping");
    assert_eq!(fails("*2\r\n$4\r\nPING\r\n$11\r\n"), ProtocolError::BulkLength);
    assert_eq!(fails("*4\r\n"), ProtocolError::MultibulkLength);
    assert_eq!(ok("ping 56789012345678\r\n"), "local ping");
    assert_eq!(ok("ping 567890123456789\n"), "local ping");
    assert_eq!(fails("ping 56789012345678901"), ProtocolError::InlineLength);
    assert_eq!(fails("ping 56789012345678901\n"), ProtocolError::InlineLength);
    // 4 + 9 + 10 + 17 bytes are the limit; one less, and the last header announces too much.
    assert_eq!(ok("*3\r\n$3\r\nset\r\n$4\r\nabcd\r\n$10\r\n0123456789\r\n"), {
        r#"set "abcd" "0123456789""#
    });
    let query = Limits { query: 39, ..limits };
    let wire = b"*3\r\n$3\r\nset\r\n$4\r\nabcd\r\n$10\r\n";
    assert_eq!(decode(wire, &[], query).1, Some(ProtocolError::QueryLength));
    assert_eq!(ok("get abcde\r\nget abcd\r\n"), {
        "-ERR key of 5 bytes exceeds the maximum of 4; get \"abcd\""
    });
    assert_eq!(ok("mset a b abcde c\r\n").get(..4), Some("-ERR"));
}

#[test]
fn a_waiting_decoder_says_how_much_is_missing() {
    let missing = |wire: &[u8]| {
        let mut input = BytesMut::from(wire);
        match Decoder::new(Limits::default()).decode(&mut input, &mut Vec::new()) {
            Ok(Progress::Wait { missing }) => missing,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(missing(b""), 0);
    assert_eq!(missing(b"*1"), 1);
    assert_eq!(missing(b"pin"), 1);
    assert_eq!(missing(b"*1\r\n$1000\r\n"), 1002);
    assert_eq!(missing(b"*2\r\n$4\r\nPING\r\n$1000\r\nabc"), 999);
    assert_eq!(missing(b"*3\r\n$3\r\nSET\r\n"), 7);
    // Whatever is announced, no more is claimed than the command can still need.
    for cut in 0..20 {
        let wire = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n";
        assert!(missing(&wire[..cut]) <= wire.len() - cut, "cut at {cut}");
    }
}

/// A value a megabyte long that trickles in is neither searched again nor moved for every read.
#[test]
fn a_slow_large_value_costs_no_more_per_byte() {
    let value = vec![b'v'; 1 << 20];
    let mut wire = Vec::new();
    encode_request(&[&b"SET"[..], b"k", &value], &mut wire);
    let mut decoder = Decoder::new(Limits::default());
    let (mut input, mut out) = (BytesMut::with_capacity(wire.len()), Vec::new());
    for piece in wire.chunks(16) {
        input.extend_from_slice(piece);
        decoder.decode(&mut input, &mut out).expect("well formed");
        assert!(decoder.args.len() < 3);
    }
    let Some(Ok(Request::Data(crate::words::Command::Set { value: stored, .. }))) = out.pop()
    else {
        panic!("the command arrived")
    };
    assert!(stored == value);
}

/// A million arguments in small reads: bookkeeping moves once, not once for each read.
#[test]
fn a_command_of_many_arguments_can_trickle_in() {
    let keys: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
    let mut line = vec!["MGET".to_owned()];
    line.extend(keys);
    let mut wire = b"PING\r\n".to_vec();
    encode_request(&line, &mut wire);
    let cuts: Vec<usize> = (0..wire.len()).step_by(7).collect();
    let (words, error) = decode(&wire, &cuts, Limits::default());
    assert_eq!((words.len(), error), (2, None));
    assert!(words[1].ends_with(r#""99998" "99999""#));
    let (_, error) = decode(&wire, &cuts, Limits { args: 100_000, ..Limits::default() });
    assert_eq!(error, Some(ProtocolError::MultibulkLength));
}

/// Quoting by the rules of `sdssplitargs`; `None` is an unbalanced quote.
#[test]
fn inline_words_are_split_as_redis_does() {
    let cases: [(&str, Option<&[&str]>); 13] = [
        ("a b\tc", Some(&["a", "b", "c"])),
        ("  a  ", Some(&["a"])),
        ("", Some(&[])),
        (r#""a b" 'c d'"#, Some(&["a b", "c d"])),
        (r#""\x41\x4g\t\\\"" x"#, Some(&["Ax4g\t\\\"", "x"])),
        (r#"'\n\'' y"#, Some(&["\\n'", "y"])),
        (r#"foo"bar" z"#, Some(&["foobar", "z"])),
        (r#""""#, Some(&[""])),
        (r#""\x" "#, Some(&["x"])),
        (r#"a"b c"'' q"#, None),
        (r#""a"b"#, None),
        (r#"'a"#, None),
        (r#""a\""#, None),
    ];
    for (line, words) in cases {
        let (mut buf, mut places) = (line.as_bytes().to_vec(), Vec::new());
        let split = inline::split(&mut buf, 0, line.len(), &mut places);
        let found: Vec<&[u8]> =
            places.iter().map(|(from, to)| &buf[*from as usize..*to as usize]).collect();
        match words {
            None => assert_eq!(split, Err(ProtocolError::UnbalancedQuotes), "{line}"),
            Some(words) => {
                assert_eq!(split, Ok(()), "{line}");
                let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
                assert_eq!(found, words, "{line}");
            }
        }
    }
}

proptest! {
    /// Any commands, encoded and scanned, come back as they were.
    #[test]
    fn requests_round_trip(
        commands in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..130), 1..20),
            0..10,
        )
    ) {
        let mut wire = Vec::new();
        commands.iter().for_each(|args| encode_request(args, &mut wire));
        let (found, consumed) = arguments(&wire);
        prop_assert_eq!(found, commands);
        prop_assert_eq!(consumed, wire.len());
    }

    /// Hostile bytes, near enough to the protocol to get somewhere: no panic, and no cut matters.
    #[test]
    fn cuts_never_matter(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let wire = pieces.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        cuts.sort_unstable();
        let limits = Limits { bulk: 40, key: 9, args: 12, inline: 30, query: 90, batch: 3 };
        prop_assert_eq!(decode(&wire, &[], limits), decode(&wire, &cuts, limits));
    }
}

const PIECES: &[&[u8]] = &[
    b"*",
    b"$",
    b"\r\n",
    b"\n",
    b"\r",
    b"0",
    b"1",
    b"2",
    b"3",
    b"10",
    b"-1",
    b"*1\r\n",
    b"*2\r\n",
    b"*3\r\n",
    b"$3\r\nGET\r\n",
    b"$3\r\nset\r\n",
    b"$1\r\na\r\n",
    b"$12\r\n0123456789ab\r\n",
    b"$0\r\n\r\n",
    b"get a\r\n",
    b"ping 'x y'\r\n",
    b"\"",
    b"'",
    b"\\x4",
    b"\\",
    b" ",
    b"\0",
    b"*1\r\n$4\r\nPING\r\n",
    b"x",
    b"0123456789012345678901234567890123456789",
];

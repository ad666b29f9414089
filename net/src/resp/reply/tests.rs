use proptest::prelude::*;

use super::*;
use crate::resp::{Version, encode_answer};
use crate::words::{Answer, Refusal};

/// A reply in full: tests are no log.
fn show(reply: &Reply) -> String {
    let text = |bytes: &Bytes| bytes.escape_ascii().to_string();
    let list = |items: &[Reply]| items.iter().map(show).collect::<Vec<_>>().join(" ");
    let pairs = |pairs: &[(Reply, Reply)]| {
        pairs.iter().map(|(a, b)| format!("{}={}", show(a), show(b))).collect::<Vec<_>>().join(" ")
    };
    match reply {
        Reply::Simple(line) => format!("+{}", text(line)),
        Reply::Error(line) => format!("-{}", text(line)),
        Reply::Int(number) => format!("{number}"),
        Reply::Bulk(bytes) => format!("\"{}\"", text(bytes)),
        Reply::Nil => "nil".to_owned(),
        Reply::Array(items) => format!("[{}]", list(items)),
        Reply::Map(items) => format!("{{{}}}", pairs(items)),
        Reply::Set(items) => format!("~[{}]", list(items)),
        Reply::Double(real) => format!("{:?}", real.0),
        Reply::Bool(yes) => format!("{yes}"),
        Reply::Big(digits) => format!("({}", text(digits)),
        Reply::Text(format, bytes) => format!("{}:{}", format.escape_ascii(), text(bytes)),
        Reply::Push(items) => format!(">[{}]", list(items)),
        Reply::Attributed(remarks, reply) => format!("|{{{}}}{}", pairs(remarks), show(reply)),
    }
}

fn decode(wire: &[u8], cuts: &[usize], limits: ReplyLimits) -> (Vec<String>, Option<ReplyError>) {
    let mut decoder = ReplyDecoder::new(limits);
    let mut input = BytesMut::new();
    let mut replies = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([wire.len()]) {
        input.extend_from_slice(&wire[from..to]);
        from = to;
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(reply)) => replies.push(show(&reply)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut input), Err(error), "it stays failed");
                    return (replies, Some(error));
                }
            }
        }
    }
    (replies, None)
}

const WIRE: &[u8] = b"+OK\r\n-ERR no\r\n:-5\r\n$3\r\na\r\n\r\n$0\r\n\r\n$-1\r\n*-1\r\n_\r\n*0\r\n\
    *2\r\n*1\r\n:1\r\n$1\r\nx\r\n%2\r\n+a\r\n:1\r\n+b\r\n*0\r\n\
    ~1\r\n#t\r\n#f\r\n,1.5\r\n,inf\r\n,-1e9\r\n\
    (-123456789012345678901234567890\r\n=7\r\ntxt:a b\r\n!5\r\nERR x\r\n>2\r\n+p\r\n:1\r\n\
    |1\r\n+ttl\r\n:3\r\n*1\r\n|1\r\n+x\r\n+y\r\n:7\r\n";

const MEANING: [&str; 21] = [
    "+OK",
    "-ERR no",
    "-5",
    r#""a\r\n""#,
    r#""""#,
    "nil",
    "nil",
    "nil",
    "[]",
    r#"[[1] "x"]"#,
    "{+a=1 +b=[]}",
    "~[true]",
    "false",
    "1.5",
    "inf",
    "-1000000000.0",
    "(-123456789012345678901234567890",
    "txt:a b",
    "-ERR x",
    ">[+p 1]",
    "|{+ttl=3}[|{+x=+y}7]",
];

#[test]
fn no_split_changes_the_meaning() {
    let wire = WIRE;
    let limits = ReplyLimits::default();
    let expected = (MEANING.map(str::to_owned).to_vec(), None);
    assert_eq!(decode(wire, &[], limits), expected);
    for a in 0..wire.len() {
        assert_eq!(decode(wire, &[a], limits), expected, "cut at {a}");
        for b in a..wire.len().min(a + 12) {
            assert_eq!(decode(wire, &[a, b], limits), expected, "cuts at {a} {b}");
        }
    }
    let bytes: Vec<usize> = (0..wire.len()).collect();
    assert_eq!(decode(wire, &bytes, limits), expected, "byte by byte");
}

#[test]
fn what_is_not_resp_is_refused_however_it_is_cut() {
    let limits = ReplyLimits { bytes: 100, depth: 2, line: 30 };
    for (wire, error) in [
        (&b"x\r\n"[..], ReplyError::Mark(b'x')),
        (b"\r\n", ReplyError::Mark(b'\r')),
        (b":a\r\n", ReplyError::Number),
        (b":01\r\n", ReplyError::Number),
        (b"$-2\r\n", ReplyError::Number),
        (b"$x\r\n", ReplyError::Number),
        (b"%-1\r\n", ReplyError::Number),
        (b"*4294967296\r\n", ReplyError::Number),
        (b"*99999999999999999999\r\n", ReplyError::Number),
        (b"(12a\r\n", ReplyError::Number),
        (b"(-\r\n", ReplyError::Number),
        (b"_x\r\n", ReplyError::Scalar),
        (b"#x\r\n", ReplyError::Scalar),
        (b",1.5x\r\n", ReplyError::Scalar),
        (b",\xff\r\n", ReplyError::Scalar),
        (b"$1\r\nabc", ReplyError::End),
        (b"+a\rb", ReplyError::End),
        (b"=2\r\nab\r\n", ReplyError::Format),
        (b"=4\r\nabcd\r\n", ReplyError::Format),
        (b"$95\r\n", ReplyError::Bytes),
        (b"$4294967295\r\n", ReplyError::Bytes),
        (b"+0123456789012345678901234567890", ReplyError::Line),
        (b"*1\r\n*1\r\n*1\r\n", ReplyError::Depth),
        (b"|0\r\n|0\r\n|0\r\n", ReplyError::Depth),
        (
            b"*9\r\n$20\r\n01234567890123456789\r\n$20\r\n01234567890123456789\r\n\
           $20\r\n01234567890123456789\r\n$20\r\n",
            ReplyError::Bytes,
        ),
        // The nonsense lies beyond the limit, where nobody looks.
        (
            b"*9\r\n$40\r\n0123456789012345678901234567890123456789\r\n$40\r\n\
           0123456789012345678901234567890123456789\r\n*x\r\n",
            ReplyError::Bytes,
        ),
    ] {
        let wire = [b"+OK\r\n", wire].concat();
        for cut in 0..=wire.len() {
            let shown = wire.escape_ascii();
            let expected = (vec!["+OK".to_owned()], Some(error));
            assert_eq!(decode(&wire, &[cut], limits), expected, "{shown} cut at {cut}");
        }
    }
}

/// A header may promise four billion elements: nothing is reserved on its word.
#[test]
fn promises_cost_nothing() {
    let wire = b"*4000000000\r\n%4000000000\r\n~4000000000\r\n:1\r\n";
    let mut decoder = ReplyDecoder::new(ReplyLimits::default());
    let mut input = BytesMut::from(&wire[..]);
    assert_eq!(decoder.decode(&mut input), Ok(None));
    assert_eq!(decoder.open, [4_000_000_000, 8_000_000_000, 3_999_999_999]);
}

#[test]
fn a_log_line_shows_no_values() {
    let mut input = BytesMut::from(&b"*2\r\n$7\r\nhunter2\r\n:31337\r\n"[..]);
    let mut decoder = ReplyDecoder::new(ReplyLimits::default());
    let reply = decoder.decode(&mut input).expect("well formed").expect("whole");
    let Reply::Array(items) = &reply else { panic!("an array") };
    let shown = format!("{reply:?} {items:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("31337"), "{shown}");
}

/// Any answer a server can give.
fn answers() -> impl Strategy<Value = Answer> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let leaf = prop_oneof![
        Just(Answer::Ok),
        Just(Answer::Nil),
        any::<i64>().prop_map(Answer::Int),
        bytes().prop_map(|bytes| Answer::Bulk(bytes.into())),
        bytes().prop_map(Answer::Text),
        any::<f64>().prop_map(|real| Answer::Double(Real(real))),
        any::<bool>().prop_map(Answer::Bool),
        bytes().prop_map(|name| Refusal::unknown_command(&name, &[]).into()),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Answer::List),
            prop::collection::vec(inner.clone(), 0..6).prop_map(Answer::Set),
            prop::collection::vec((inner.clone(), inner), 0..4).prop_map(Answer::Map),
        ]
    })
}

/// What a client must see of an answer.
fn expected(answer: &Answer, version: Version) -> Reply {
    let three = version == Version::Resp3;
    let each = |items: &[Answer]| items.iter().map(|item| expected(item, version)).collect();
    match answer {
        Answer::Ok => Reply::Simple(Bytes::from_static(b"OK")),
        Answer::Nil => Reply::Nil,
        Answer::Int(number) => Reply::Int(*number),
        Answer::Text(bytes) if three => Reply::Text(*b"txt", bytes.clone()),
        Answer::Bulk(blob) => Reply::Bulk(blob.clone().into()),
        Answer::Text(bytes) => Reply::Bulk(bytes.clone()),
        Answer::List(items) => Reply::Array(each(items)),
        Answer::Set(items) if three => Reply::Set(each(items)),
        Answer::Set(items) => Reply::Array(each(items)),
        Answer::Map(pairs) => {
            let pairs = pairs.iter().map(|(a, b)| (expected(a, version), expected(b, version)));
            match three {
                true => Reply::Map(pairs.collect()),
                false => Reply::Array(pairs.flat_map(|(a, b)| [a, b]).collect()),
            }
        }
        Answer::Error(refusal) => Reply::Error(refusal.to_string().into()),
        Answer::Bool(yes) if three => Reply::Bool(*yes),
        Answer::Bool(yes) => Reply::Int((*yes).into()),
        Answer::Double(real) if three => Reply::Double(*real),
        Answer::Double(_) => Reply::Nil, // Compared as a number below.
        other => panic!("not generated: {other:?}"),
    }
}

fn same(found: &Reply, expected: &Reply) -> bool {
    match (found, expected) {
        // Every NaN is one NaN on the wire.
        (Reply::Double(a), Reply::Double(b)) => a == b || (a.0.is_nan() && b.0.is_nan()),
        (Reply::Array(a), Reply::Array(b)) | (Reply::Set(a), Reply::Set(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Reply::Map(a), Reply::Map(b)) => {
            let same =
                |((a, x), (b, y)): (&(Reply, Reply), &(Reply, Reply))| same(a, b) && same(x, y);
            a.len() == b.len() && a.iter().zip(b).all(same)
        }
        // A double in RESP2 is text.
        (Reply::Bulk(text), Reply::Nil) => {
            std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok())
        }
        (found, expected) => found == expected,
    }
}

proptest! {
    #[test]
    fn answers_round_trip(answer in answers(), three in any::<bool>()) {
        let version = if three { Version::Resp3 } else { Version::Resp2 };
        let mut wire = Vec::new();
        encode_answer(&answer, version, &mut wire);
        let mut input = BytesMut::from(&wire[..]);
        let reply = ReplyDecoder::new(ReplyLimits::default()).decode(&mut input);
        let reply = reply.expect("well formed").expect("whole");
        prop_assert!(input.is_empty());
        prop_assert!(same(&reply, &expected(&answer, version)), "{}", show(&reply));
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
        let limits = ReplyLimits { bytes: 60, depth: 3, line: 20 };
        prop_assert_eq!(decode(&wire, &[], limits), decode(&wire, &cuts, limits));
    }
}

const PIECES: &[&[u8]] = &[
    b"+",
    b"-",
    b":",
    b"$",
    b"*",
    b"_\r\n",
    b",",
    b"#t\r\n",
    b"(",
    b"!",
    b"=",
    b"~",
    b"%",
    b">",
    b"|",
    b"\r\n",
    b"\r",
    b"\n",
    b"0",
    b"1",
    b"-1",
    b"12",
    b"*1\r\n",
    b"%1\r\n",
    b"$1\r\na\r\n",
    b"+OK\r\n",
    b"=5\r\ntxt:x\r\n",
    b"|1\r\n",
    b"abcdefghijklmnopqrst",
    b":5\r\n",
];

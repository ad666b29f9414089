//! The rules of the envelope, and that the canonical form is one form.

use core::time::Duration;

use proptest::prelude::*;

use super::{canonical::*, *};
use crate::{Answer, Blob, Command, Condition, Deadline, Expiry, resp::Limits};

fn get() -> Envelope {
    Envelope::new(Command::Get { key: "k".into() })
}

fn full() -> Envelope {
    Envelope::new(Command::Set {
        key: "k".into(),
        value: "v".into(),
        expiry: Expiry::By(Deadline::In(Duration::from_secs(1))),
        condition: Some(Condition::Absent),
        get: true,
    })
    .id("id")
    .session("s")
    .after("a")
    .after("b")
    .if_session_version(7)
    .idempotency_key("key")
    .timeout(Duration::from_secs(2))
}

fn refused(envelope: &Envelope) -> (Code, String) {
    let failure = envelope.validate(&Limits::default()).expect_err("it breaks a rule");
    (failure.code, failure.detail("field").unwrap_or_default().to_owned())
}

#[test]
fn each_rule_is_refused_by_its_field() {
    full().validate(&Limits::default()).expect("it keeps the rules");
    let invalid = |field: &str| (Code::Invalid, field.to_owned());
    assert_eq!(refused(&get().id("")), invalid("id"));
    assert_eq!(refused(&get().id(" \t ")), invalid("id"));
    assert_eq!(refused(&get().id("x".repeat(257))), invalid("id"));
    assert_eq!(refused(&get().id("anon:7")), invalid("id"));
    assert_eq!(refused(&get().session("")), invalid("session"));
    assert_eq!(refused(&get().session("s".repeat(257))), invalid("session"));
    assert_eq!(refused(&get().idempotency_key(" ")), invalid("idempotency_key"));
    assert_eq!(refused(&get().after("a")), invalid("depends_on"));
    assert_eq!(refused(&get().id("a").after("a")), invalid("depends_on"));
    assert_eq!(refused(&get().id("a").after("")), invalid("depends_on"));
    let many = (0..33).fold(get().id("a"), |envelope, i| envelope.after(format!("b{i}")));
    assert_eq!(refused(&many), invalid("depends_on"));
    assert_eq!(refused(&get().if_session_version(0)), invalid("if_session_version"));
    assert_eq!(refused(&get().timeout(Duration::ZERO)), invalid("timeout"));
    assert_eq!(refused(&Envelope::new(Call::CreateSession)), invalid("session"));
    assert_eq!(refused(&Envelope::new(Command::MGet { keys: vec![] })), invalid("keys"));
    let limits = Limits { key: 3, bulk: 5, ..Limits::default() };
    let long = Envelope::new(Command::Get { key: "long".into() });
    assert_eq!(long.validate(&limits).expect_err("too long").code, Code::TooLarge);
    get().id("x".repeat(256)).validate(&Limits::default()).expect("as long as may be");
}

#[test]
fn a_fingerprint_is_of_what_is_asked() {
    let one = fingerprint(&full());
    assert_eq!(one, fingerprint(&Envelope { id: None, idempotency_key: None, ..full() }));
    assert_eq!(one, fingerprint(&full().id("other").idempotency_key("other")));
    assert_ne!(one, fingerprint(&full().session("other")));
    assert_ne!(one, fingerprint(&full().if_session_version(8)));
    assert_ne!(one, fingerprint(&full().after("c")));
    assert_ne!(one, fingerprint(&Envelope { durability: Some(Safety::Strict), ..full() }));
    assert_ne!(
        fingerprint(&get()),
        fingerprint(&Envelope::new(Command::StrLen { key: "k".into() }))
    );
}

fn row() -> Row {
    Row {
        session: Some("s".into()),
        lane_sequence: 4,
        before: 300,
        at: UnixMs(1_000),
        record: Record::Whole {
            id: "id".into(),
            envelope: Box::new(full()),
            outcome: Outcome {
                end: End::Ok(Answer::List(vec![Answer::Bulk(Blob::new(b"v")), Answer::Nil])),
                session_version: Some(8),
                replayed: false,
            },
        },
        withheld: None,
    }
}

#[test]
fn golden_bytes_of_a_row() {
    let mut bytes = Vec::new();
    encode_row(&row(), &mut bytes);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = concat!(
        "01",
        "010173",
        "04",
        "ac02",
        "e807",
        "03",
        "026964",
        "01026964",
        "010173",
        "0201610162",
        "0107",
        "01036b6579",
        "01d00f",
        "00",
        "0002016b0176",
        "0200e807",
        "01",
        "01",
        "00040203017601",
        "0108",
        "00",
    );
    assert_eq!(hex, golden);
    assert_eq!(decode_row(&bytes), Ok(row()));
}

#[test]
fn golden_bytes_of_what_is_withheld() {
    let fields = redaction::Field::ALL.to_vec();
    let withheld = Withheld { fingerprint: [0xab; 32], fields };
    let row = Row { withheld: Some(Box::new(withheld)), ..row() };
    let (mut bytes, mut plain) = (Vec::new(), Vec::new());
    encode_row(&row, &mut bytes);
    encode_row(&Row { withheld: None, ..row.clone() }, &mut plain);
    plain[0] = 2;
    plain.extend([0xab; 32]);
    plain.extend([2, 1, 2]);
    assert_eq!(bytes, plain);
    assert_eq!(decode_row(&bytes), Ok(row));
    for senseless in [[2, 2, 1], [2, 1, 1], [2, 1, 3]] {
        let end = bytes.len() - 3;
        bytes[end..].copy_from_slice(&senseless);
        assert_eq!(decode_row(&bytes), Err(Malformed::Kind));
    }
}

#[test]
fn every_cut_and_every_other_byte_is_an_error_or_another_row() {
    let mut bytes = Vec::new();
    encode_row(&row(), &mut bytes);
    for end in 0..bytes.len() {
        assert!(decode_row(&bytes[..end]).is_err(), "cut at {end}");
    }
    for at in 0..bytes.len() {
        for byte in 0..=u8::MAX {
            let mut other = bytes.clone();
            other[at] = byte;
            if let Ok(decoded) = decode_row(&other) {
                let mut again = Vec::new();
                encode_row(&decoded, &mut again);
                assert_eq!(again, other, "one row has one form");
            }
        }
    }
    bytes.push(0);
    assert_eq!(decode_row(&bytes), Err(Malformed::Surplus));
}

#[test]
fn codes_have_numbers_and_names_of_their_own() {
    for (at, code) in Code::ALL.into_iter().enumerate() {
        assert_eq!(code as usize, at + 1);
        assert_eq!(Code::from_number(code as u8), Some(code));
        assert_eq!(code.name(), format!("{code:?}"));
    }
    assert_eq!(Code::from_number(0), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        bytes.insert(0, VERSION);
        if let Ok(row) = decode_row(&bytes) {
            let mut again = Vec::new();
            encode_row(&row, &mut again);
            prop_assert_eq!(again, bytes.clone());
        }
        let _ = decode_envelope(&bytes);
        let _ = decode_outcome(&bytes);
    }
}

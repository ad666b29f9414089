use super::*;

fn reception() -> Reception {
    let member = |name: &str, term| Member { name: name.to_owned(), term };
    let members = [(1, member("n1", 0)), (2, member("n2", 0)), (3, member("n3", 7))];
    Reception {
        cluster: [9; 32],
        id: 1,
        name: "n1".to_owned(),
        incarnation: 11,
        release: "0.1.0".to_owned(),
        entries: (1, 2),
        members: members.into(),
        removed: [4].into(),
    }
}

fn hello() -> Hello {
    let other = Reception { id: 3, name: "n3".to_owned(), incarnation: 33, ..reception() };
    other.hello(1, 7, Some(Position { term: 6, index: 258 }))
}

#[test]
fn the_bytes_are_these_for_ever() {
    let golden = [
        &b"orlojpee\x01\0\x01\0"[..],
        &[9; 32],
        b"\x03\0\0\0\0\0\0\0\x02\0n3\x21\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x05\x000.1.0\x01\x02",
        b"\x07\0\0\0\0\0\0\0\x01\x06\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0",
    ];
    assert_eq!(&hello().encode()[..], golden.concat());
    let welcome = reception().judge(&hello(), None).unwrap();
    let golden = b"\x01\0\x01\0\0\0\0\0\0\0\x02\0n1\x0b\0\0\0\0\0\0\0\x05\x000.1.0\x01\x02";
    assert_eq!(&welcome.encode()[..], golden);
    let refusal = Refusal { reason: Reason::WrongNode, text: "no".to_owned() };
    assert_eq!(&refusal.encode()[..], b"\x04\x02\0no");
    for (at, reason) in Reason::ALL.iter().enumerate() {
        let number = *reason as u8;
        assert_eq!((usize::from(number), Reason::from_number(number)), (at + 1, Some(*reason)));
    }
}

#[test]
fn what_was_said_is_heard_and_what_is_cut_or_longer_is_not() {
    let nothing_yet = Hello { last: None, ..hello() };
    for said in [hello(), nothing_yet] {
        let bytes = said.encode();
        assert_eq!(Hello::decode(&bytes), Ok(said));
        (0..bytes.len()).for_each(|len| assert_eq!(Hello::decode(&bytes[..len]), Err(Senseless)));
        assert_eq!(Hello::decode(&[&bytes[..], b"x"].concat()), Err(Senseless));
    }
    let welcome = reception().judge(&hello(), None).unwrap();
    let bytes = welcome.encode();
    assert_eq!(Welcome::decode(&bytes), Ok(welcome));
    (0..bytes.len()).for_each(|len| assert_eq!(Welcome::decode(&bytes[..len]), Err(Senseless)));
    for reason in Reason::ALL {
        let refusal = Refusal { reason, text: "words".to_owned() };
        assert_eq!(Refusal::decode(&refusal.encode()), Ok(refusal));
    }
    assert_eq!(Refusal::decode(b"\x09\0\0"), Err(Senseless));
    // A long name is cut at a character.
    let long = Hello { name: "ö".repeat(1_000), ..hello() };
    assert_eq!(Hello::decode(&long.encode()).unwrap().name, "ö".repeat(512));
}

#[test]
fn every_refusal_has_its_name() {
    let judge = |hello: Hello, connected| {
        reception().judge(&hello, connected).map_err(|refusal| refusal.reason)
    };
    assert!(judge(hello(), None).is_ok());
    assert!(judge(hello(), Some(33)).is_ok(), "it may connect once more");
    let wrong = |hello| judge(hello, None).unwrap_err();
    assert_eq!(wrong(Hello { versions: (2, 3), ..hello() }), Reason::Version);
    assert_eq!(wrong(Hello { versions: (0, 0), ..hello() }), Reason::Version);
    assert_eq!(wrong(Hello { entries: (3, 4), ..hello() }), Reason::Version);
    assert_eq!(wrong(Hello { cluster: [8; 32], ..hello() }), Reason::WrongCluster);
    assert_eq!(wrong(Hello { to: 2, ..hello() }), Reason::WrongNode);
    assert_eq!(wrong(Hello { id: 4, ..hello() }), Reason::Removed);
    assert_eq!(wrong(Hello { id: 5, ..hello() }), Reason::UnknownNode);
    assert_eq!(wrong(Hello { id: 2, ..hello() }), Reason::DuplicateId);
    assert_eq!(wrong(Hello { id: 1, name: "n1".to_owned(), ..hello() }), Reason::DuplicateId);
    assert_eq!(judge(hello(), Some(34)), Err(Reason::DuplicateId));
    assert_eq!(wrong(Hello { term: 6, ..hello() }), Reason::Rewound);
    // A later release is spoken to as long as it goes on speaking this version.
    assert_eq!(judge(Hello { versions: (1, 9), ..hello() }, None).unwrap().version, 1);
}

//! Who is not let in, and what that costs.

use orloj_kernel::Stream;
use orloj_net::peer::{HEAD, HELLO_MAX, Hello, Inbox, Kind, Message, Outbox, Refusal};
use orloj_sim::Crash;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[test]
fn every_refusal_reaches_the_dialler_by_its_name() {
    type Change = fn(&mut Reception);
    let cases: [(Reason, Change); 7] = [
        (Reason::Version, |own| own.entries = (2, 3)),
        (Reason::WrongCluster, |own| own.cluster = [8; 32]),
        (Reason::DuplicateId, |own| own.name = "n7".to_owned()),
        (Reason::DuplicateId, |own| (own.id, own.name) = (2, "n2".to_owned())),
        (Reason::UnknownNode, |own| own.id = 4),
        (Reason::Removed, |own| own.id = 9),
        // It is node 3, and node 2 has heard from it in term 5.
        (Reason::Rewound, |own| (own.id, own.name) = (3, "n3".to_owned())),
    ];
    for (reason, change) in cases {
        run(move |at| async move {
            let [_, two, _] = three(at).await;
            let third = Links::new(at[2], reception(at[2], 3), disk(5));
            let line = third.line(2, &peer(2));
            assert!(ask(at[2], &line, Channel::Control, &b"x"[..]).await.is_some());
            Control.crash("n3", Crash::Process);
            at[0].sleep(2_000 * MS).await;

            let mut own = reception(at[0], 1);
            change(&mut own);
            let stranger = Links::new(at[0], own, disk(4));
            let line = stranger.line(2, &peer(2));
            let answer = ask(at[0], &line, Channel::Append, &b"let me in"[..]).await;
            let Some(Err(AskError::Down(why))) = answer else { panic!("{answer:?}") };
            assert!(why.contains(&format!("{reason:?}")), "{why}");
            let refusal = stranger.status()[&2].refusal.clone().expect("it is told");
            assert_eq!(refusal.reason, reason, "{refusal}");
            // It tries again, and people see why it is not let in.
            at[0].sleep(20_000 * MS).await;
            assert_eq!(stranger.status()[&2].refusal.clone().map(|it| it.reason), Some(reason));
            drop((two, third, line));
        });
    }
}

async fn twins(at: [Context; 3]) {
    let [_, _, first] = three(at).await;
    let line = first.line(2, &peer(2));
    assert!(ask(at[2], &line, Channel::Control, &b"x"[..]).await.is_some());
    // On another machine, with the same name and id.
    let twin = Links::new(at[0], reception(at[0], 3), blank());
    let other = twin.line(2, &peer(2));
    let answer = ask(at[0], &other, Channel::Control, &b"x"[..]).await;
    assert!(matches!(answer, Some(Err(AskError::Down(_)))), "{answer:?}");
    let refusal = twin.status()[&2].refusal.clone().map(|refusal| refusal.reason);
    assert_eq!(refusal, Some(Reason::DuplicateId));
    assert!(first.status()[&2].is_up);
    // The first is gone, as if restarted: the next of that id is let in.
    Control.crash("n3", Crash::Process);
    until(at[0], "the other is let in", 8_000 * MS, || twin.status()[&2].is_up).await;
}

#[test]
fn of_two_with_one_id_the_first_stays_until_it_goes() {
    run(twins);
}

#[test]
fn a_node_that_trusts_a_hello_is_found_out() {
    let mutant = Some("cluster.hello_trusts_id");
    let (mut sim, at) = world(Config { mutant, ..Config::seed(1) });
    let failure = sim.run(at[0], twins(at)).unwrap_err();
    // The second of the two is answered.
    assert!(failure.evidence.contains("Some(Ok("), "{}", failure.evidence);
}

/// Writes until the other end does not want any more. How many bytes it took, and what it said.
async fn pour(cx: Context, stream: &mut Stream, bytes: &[u8]) -> (usize, Vec<u8>) {
    let mut poured = 0;
    while poured < bytes.len() {
        match cx.timeout(6_000 * MS, stream.write(&bytes[poured..])).await {
            Ok(Ok(n)) => poured += n,
            _ => break,
        }
    }
    let mut said = Vec::new();
    let _ = cx.timeout(6_000 * MS, stream.read_to_end(&mut said)).await;
    (poured, said)
}

fn first_message(said: &[u8]) -> Option<Message> {
    Inbox::default().next(&mut said.into()).unwrap()
}

#[test]
fn garbage_costs_little_and_is_called_so() {
    run(|at| async move {
        let [one, ..] = three(at).await;
        let line = one.line(3, &peer(3));
        let noise: Vec<u8> =
            std::iter::repeat_with(|| at[0].entropy() as u8).take(1 << 20).collect();
        let mut frame = (12 + HELLO_MAX as u32).to_le_bytes().to_vec();
        frame.extend_from_slice(&noise);
        let mut outbox = Outbox::default();
        outbox.push(Message::short(Kind::Ping, 1, Bytes::new()));
        let mut ping = bytes::BytesMut::new();
        outbox.next(&mut ping);
        let cases: [&[u8]; 5] =
            [&noise, b"GET / HTTP/1.1\r\n\r\n", b"*1\r\n$4\r\nPING\r\n", &frame, &ping];
        for case in cases {
            let begun = at[1].now();
            let mut stream = at[1].connect("n3:7400").await.unwrap();
            let (poured, said) = pour(at[1], &mut stream, case).await;
            // What is under way, and what the node has read.
            assert!(poured <= 2 * (64 << 10) + HEAD + HELLO_MAX, "{poured} bytes");
            let took = at[1].now().since(begun);
            assert!(took < 100 * MS, "{took:?}");
            // A reset may overtake it if not all was read.
            if let Some(message) = first_message(&said) {
                assert_eq!(message.kind, Kind::Refused);
                let refusal = Refusal::decode(&message.payload).unwrap();
                assert_eq!(refusal.reason, Reason::NotPeer);
            } else {
                assert!(case.len() > 1_000, "{:?}", Bytes::copy_from_slice(case));
            }
        }
        let answer = ask(at[0], &line, Channel::Control, &b"x"[..]).await;
        assert!(answer.is_some_and(|answer| answer.is_ok()));
    });
}

#[test]
fn who_says_nothing_has_five_seconds() {
    run(|at| async move {
        let _all = three(at).await;
        let hello = Hello { id: 1, ..reception(at[0], 1).hello(2, 0, None) };
        let mut outbox = Outbox::default();
        outbox.push(Message::short(Kind::Hello, 0, hello.encode()));
        let mut bytes = bytes::BytesMut::new();
        outbox.next(&mut bytes);
        // Nothing, half a hello, and one that comes byte by byte.
        for (len, pause) in [(0, 0), (bytes.len() / 2, 0), (bytes.len(), 100)] {
            let begun = at[0].now();
            let mut stream = at[0].connect("n2:7400").await.unwrap();
            let mut said = Vec::new();
            for byte in &bytes[..len] {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                at[0].sleep(pause * MS).await;
            }
            let _ = stream.read_to_end(&mut said).await;
            let took = at[0].now().since(begun);
            assert!(took > 4_900 * MS && took < bytes.len() as u32 * 100 * MS, "{took:?}");
            let refusal = first_message(&said).expect("it is told");
            assert_eq!(Refusal::decode(&refusal.payload).unwrap().reason, Reason::NotPeer);
        }
    });
}

#[test]
fn a_peer_that_breaks_the_rules_is_let_go_of() {
    run(|at| async move {
        let _all = three(at).await;
        let hello = reception(at[0], 1).hello(2, 0, None).encode();
        let request = |channel, tag, len: usize| Message {
            channel,
            kind: Kind::Request,
            tag,
            payload: if len == 0 { Bytes::from_static(HANG) } else { vec![0; len].into() },
        };
        let many: Vec<Message> = (0..65).map(|tag| request(Channel::Append, tag, 0)).collect();
        let cases = [
            vec![Message::short(Kind::Welcome, 0, Bytes::new())],
            vec![Message::short(Kind::Hello, 0, hello.clone())],
            vec![request(Channel::Append, 1, 0), request(Channel::Append, 1, 0)],
            many,
        ];
        for messages in cases {
            let mut outbox = Outbox::default();
            outbox.push(Message::short(Kind::Hello, 0, hello.clone()));
            messages.into_iter().for_each(|message| outbox.push(message));
            let mut bytes = bytes::BytesMut::new();
            while outbox.next(&mut bytes).is_some() {}
            let mut stream = at[0].connect("n2:7400").await.unwrap();
            let (_, said) = pour(at[0], &mut stream, &bytes).await;
            let welcome = first_message(&said).map(|message| message.kind);
            assert!(matches!(welcome, None | Some(Kind::Welcome)), "{welcome:?}");
            // Before the node would let go of somebody silent.
            let mut more = [0];
            assert!(stream.read(&mut more).await.map_or(true, |n| n == 0));
        }
    });
}

//! Goal: a program that waits has its commands done once by the real daemon, killed or not.
//! Method: the blocking client against a daemon that is killed and started again meanwhile.

use std::{thread, time::Duration};

use orloj::client::{Client, ClientConfig};
use orloj_net::{
    Answer, Command,
    envelope::{Call, Code, End, Envelope, Finding, Question},
};

use crate::orlojd::Orlojd;

fn incr() -> Envelope {
    Envelope::new(Command::Incr { key: "k".into(), by: 1 })
}

#[test]
fn a_program_that_waits_is_served() {
    let dir = tempfile::tempdir().expect("room for a test");
    let mut node = Orlojd::start(dir.path(), &[]);
    let client = Client::new(ClientConfig::new(node.native())).expect("a runtime");
    let mut events = client.subscribe(Some("s".into())).expect("it stands");
    let create = Envelope::new(Call::CreateSession).session("s");
    assert_eq!(client.send(create).expect("it is made").end, End::Ok(Answer::Int(0)));
    let end = client.send(incr().session("s")).expect("it is done").end;
    assert_eq!(end, End::Ok(Answer::Int(1)));
    for sequence in 1..=6 {
        assert_eq!(events.next_event().expect("its life").lane_sequence, sequence);
    }
    match client.ask(Question::Health) {
        Ok(Finding::Health(health)) => assert_eq!(health.durability, "strict"),
        other => panic!("{other:?}"),
    }
    // Whoever speaks RESP sees the same keys.
    assert_eq!(node.connect().ask("GET k"), "1");
    node.signal("TERM");
    assert_eq!(node.end().0, Some(0));
    let failure = client.send(incr()).expect_err("nobody is there");
    assert_eq!(failure.code, Code::Unavailable);
}

#[test]
fn retries_are_done_once_though_the_daemon_is_killed() {
    let dir = tempfile::tempdir().expect("room for a test");
    let mut node = Orlojd::start(dir.path(), &[]);
    let native = node.native().to_owned();
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let config = ClientConfig { retries: 40, ..ClientConfig::new(&native) };
            thread::spawn(move || {
                let client = Client::new(config).expect("a runtime");
                for _ in 0..150 {
                    let outcome = client.send(incr()).expect("it is done in the end");
                    assert!(outcome.end.is_ok(), "{outcome:?}");
                }
            })
        })
        .collect();
    for kills in 0..5 {
        thread::sleep(Duration::from_millis(80));
        if kills > 0 && writers.iter().all(thread::JoinHandle::is_finished) {
            break;
        }
        node.kill();
        node = Orlojd::start(dir.path(), &["--native", &native]);
    }
    for writer in writers {
        writer.join().expect("each was done");
    }
    assert_eq!(node.connect().ask("GET k"), "450");
}

#[test]
fn it_can_be_off() {
    let dir = tempfile::tempdir().expect("room for a test");
    let node = Orlojd::start(dir.path(), &["--native", "off"]);
    assert_eq!(node.native(), "off");
}

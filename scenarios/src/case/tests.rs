//! Goal: a case is what its text says, and the text what the case is.

use bytes::Bytes;
use orloj_invariants::Request;
use orloj_net::{Command, Deadline, Expiry, UnixMs};

use super::*;

const TEXT: &str = r#"# What happened,
# in words.
law = "acked-is-durable"
mutant = "journal.ack_before_sync"
scheduler = "fifo"

[history]
commit = "abc"
scenario = "crash-anywhere"
seed = 6

[world]
buggify = false
duration = "0"
settle = "10s"

[world.disk]
lost-write = "100%"

[[clock]]
drift-ppb = 0
host = "node"
offset-us = -250000

[[client]]
patience = "1s"
ops = [
    "* SET h0 c0.1",
    "after 1500us, leave: GET h0",
    'with: ECHO "a: b"',
]
closing = [
    "INCR h1",
]

[[client]]
patience = "2ms"
slow = true
ops = [
    '* with, together, keep 2, walk away 1ms: {"type":"get","key":"k"}',
]

[[strike]]
after = "c0 hears 1"
down = "4ms"
how = "power"
kind = "crash"
necessary = true
wait = "250us"

[[strike]]
after = "node syncs 3"
kind = "pause"
last = "1s"
whom = "c1"
"#;

#[test]
fn a_case_is_written_as_it_is_read() {
    let case = Case::parse("some", TEXT).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(case.write(), TEXT);
    assert_eq!((case.ops(), case.faults(), case.hosts()), (5, 4, 3));
    let step = &case.clients[0].steps[1];
    assert_eq!((step.after, step.leave, &*step.text), (1_500_000, true, "GET h0"));
    assert!(case.clients[0].steps[3].closing && case.clients[0].steps[0].necessary);
    assert_eq!(case.clients[1].steps[0].walk_away, Some(1_000_000));
    assert_eq!(case.strikes[0].after, Anchor::Hears(case.clients[0].steps[0].id));
    assert_eq!(case.strikes[1].after, Anchor::Syncs(3));
}

#[test]
fn what_a_case_leaves_out_is_calm() {
    let case = Case::parse("some", TEXT).unwrap_or_else(|error| panic!("{error}"));
    let scenario = case.scenario().unwrap_or_else(|error| panic!("{error}"));
    let plan = case.plan(&scenario);
    assert_eq!((plan.disk.lost_write, plan.disk.torn, plan.slowness), (1_000_000, 0, 1));
    assert_eq!(plan.clocks, [(-250_000, 0), (0, 0), (0, 0)]);
    assert!(!plan.buggify && plan.strikes.is_empty() && plan.chaos.is_zero());
    assert!(plan.clients[1].slow && !plan.clients[0].slow);
}

#[test]
fn a_step_that_goes_leaves_the_rest_in_order() {
    let case = Case::parse("some", TEXT).unwrap_or_else(|error| panic!("{error}"));
    // The head of a batch goes: the next of it leads it.
    let second = case.clients[0].steps[1].id;
    let without = case.keeping(|step| step.id != second, |_| true);
    let echo = &without.clients[0].steps[1];
    assert_eq!((echo.with, echo.after), (false, 1_500_000));
    // A client with nothing to do goes, and what struck it.
    let of_one: Vec<u32> = case.clients[1].steps.iter().map(|step| step.id).collect();
    let without = case.keeping(|step| !of_one.contains(&step.id), |_| true);
    assert_eq!((without.clients.len(), without.strikes.len()), (1, 1));
    // What was anchored to it is anchored to what came before.
    let first = case.clients[0].steps[0].id;
    let without = case.keeping(|step| step.id != first, |_| true);
    assert_eq!(without.strikes[0].after, Anchor::Start);
}

#[test]
fn what_is_wrong_with_a_case_is_said() {
    let refused = |from: &str, to: &str| {
        Case::parse("some", &TEXT.replace(from, to)).unwrap_err().to_string()
    };
    assert!(refused("c0 hears 1", "c7 hears 1").contains("is not \"start\""));
    assert!(refused("settle = \"10s\"", "settled = \"10s\"").contains("settled"));
    assert!(refused("patience = \"1s\"", "patiense = \"1s\"").contains("patiense"));
    assert!(refused("\"fifo\"", "\"chance\"").contains("chance"));
}

#[test]
fn requests_are_read_as_they_were_spelled() {
    let wall = UnixMs(1_700_000_000_123);
    let key = Bytes::from_static(b"h1");
    let set = |value: &[u8], expiry| {
        Request::Store(Command::Set {
            key: key.clone(),
            value: Bytes::copy_from_slice(value),
            expiry,
            condition: None,
            get: true,
        })
    };
    let long = [b"c0.7".as_slice(), &[b'-'; 900]].concat();
    let at = |ms| Expiry::By(Deadline::At(UnixMs(ms)));
    for (request, words) in [
        (set(b"x y", Expiry::Keep), "SET h1 \"x y\" GET KEEPTTL"),
        (set(b"", Expiry::None), "SET h1 \"\" GET"),
        (set(&long, Expiry::None), "SET h1 <904:c0.7> GET"),
        (set(b"\x00\"", Expiry::None), "SET h1 \"\\x00\\x22\" GET"),
        (set(b"v", at(wall.0 + 250)), "SET h1 v GET PXAT now+250"),
        (set(b"v", at(1_700_000_000_000)), "SET h1 v GET PXAT now-123"),
        (
            Request::Store(Command::Expire {
                key: key.clone(),
                deadline: Deadline::At(UnixMs(1_700_000_001_000)),
                condition: None,
            }),
            "PEXPIREAT h1 now+877",
        ),
        (Request::Echo(Bytes::from_static(b"a: b")), "ECHO \"a: b\""),
    ] {
        assert_eq!(spell(&request, wall), words);
        let read = read(words, wall).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(read.request, request);
        assert!(!read.resumes);
    }
    assert!(read("SCAN next COUNT 5", wall).is_ok_and(|words| words.resumes));
    assert!(read("FROBNICATE x", wall).is_err());
}

//! Goal: the model means what Redis's documentation says. Method: a table of small programs.

use std::{slice, time::Duration};

use orloj_net::{Deadline, Expiry};

use super::*;
use crate::testing::*;

/// Runs commands at one instant and returns the last answer.
fn run(commands: &[Command]) -> Answer {
    let mut model = Model::new();
    commands.iter().map(|command| model.apply(command, NOW)).last().expect("at least one command")
}

const NOW: UnixMs = UnixMs(1_000_000);

fn expire(key: &str, ms: i64, condition: Option<ExpireCondition>) -> Command {
    let at = UnixMs(NOW.0.saturating_add_signed(ms));
    Command::Expire { key: bytes(key), deadline: Deadline::At(at), condition }
}

fn set_with(key: &str, expiry: Expiry, condition: Option<Condition>, get: bool) -> Command {
    Command::Set { key: bytes(key), value: bytes("new"), expiry, condition, get }
}

fn ttl(key: &str, form: TimeForm) -> Command {
    Command::Ttl { key: bytes(key), form }
}

#[test]
fn strings_are_set_read_and_removed() {
    assert_eq!(run(&[get("k")]), Answer::Nil);
    assert_eq!(run(&[set("k", "a"), get("k")]), bulk("a"));
    assert_eq!(run(&[set("k", ""), get("k")]), bulk(""));
    assert_eq!(run(&[set("k", "a"), Command::GetDel { key: bytes("k") }]), bulk("a"));
    assert_eq!(run(&[set("k", "a"), del(&["k", "k", "x"])]), Answer::Int(1));
    assert_eq!(run(&[set("k", "a"), Command::FlushAll, Command::DbSize]), Answer::Int(0));
    let exists = Command::Exists { keys: vec![bytes("k"), bytes("k"), bytes("x")] };
    assert_eq!(run(&[set("k", "a"), exists]), Answer::Int(2));
    assert_eq!(run(&[append("k", "ab"), append("k", "c")]), Answer::Int(3));
    assert_eq!(run(&[append("k", ""), Command::DbSize]), Answer::Int(1));
    assert_eq!(run(&[set("k", "abc"), Command::StrLen { key: bytes("k") }]), Answer::Int(3));
    let pairs = vec![(bytes("a"), bytes("1")), (bytes("b"), bytes("2")), (bytes("a"), bytes("3"))];
    let mget = Command::MGet { keys: vec![bytes("a"), bytes("x"), bytes("b")] };
    let list = Answer::List(vec![bulk("3"), Answer::Nil, bulk("2")]);
    assert_eq!(run(&[Command::MSet { pairs }, mget]), list);
}

#[test]
fn set_obeys_its_condition_and_tells_what_was() {
    let absent = Some(Condition::Absent);
    let present = Some(Condition::Present);
    assert_eq!(run(&[set_with("k", Expiry::None, absent, false)]), Answer::Ok);
    assert_eq!(run(&[set("k", "a"), set_with("k", Expiry::None, absent, false)]), Answer::Nil);
    assert_eq!(run(&[set_with("k", Expiry::None, present, false)]), Answer::Nil);
    assert_eq!(run(&[set("k", "a"), set_with("k", Expiry::None, present, false)]), Answer::Ok);
    assert_eq!(run(&[set("k", "a"), set_with("k", Expiry::None, None, true)]), bulk("a"));
    assert_eq!(run(&[set("k", "a"), set_with("k", Expiry::None, absent, true)]), bulk("a"));
    assert_eq!(run(&[set_with("k", Expiry::None, absent, true)]), Answer::Nil);
    assert_eq!(run(&[set_with("k", Expiry::None, absent, true), get("k")]), bulk("new"));
}

#[test]
fn numbers_have_one_spelling_and_an_end() {
    assert_eq!(run(&[incr("k", 5), incr("k", -7)]), Answer::Int(-2));
    let max = i64::MAX.to_string();
    let overflow = Answer::Error(Refusal::Overflow);
    assert_eq!(run(&[set("k", &max), incr("k", 1)]), overflow);
    assert_eq!(run(&[set("k", &max), incr("k", 1), get("k")]), bulk(&max));
    assert_eq!(run(&[set("k", "0"), incr("k", i64::MIN)]), Answer::Int(i64::MIN));
    for wrong in ["", " 1", "1 ", "+1", "01", "-0", "1.0", "abc", "9223372036854775808"] {
        let answer = run(&[set("k", wrong), incr("k", 1)]);
        assert_eq!(answer, Answer::Error(Refusal::NotAnInteger), "{wrong:?}");
    }
}

#[test]
fn a_key_is_gone_from_its_deadline_on() {
    let mut model = Model::new();
    let px = Expiry::By(Deadline::In(Duration::from_millis(10)));
    model.apply(&set_with("k", px, None, false), NOW);
    assert_eq!(model.apply(&get("k"), UnixMs(NOW.0 + 9)), bulk("new"));
    assert_eq!(model.apply(&ttl("k", TimeForm::MillisLeft), UnixMs(NOW.0 + 9)), Answer::Int(1));
    assert_eq!(model.entries(UnixMs(NOW.0 + 10)).count(), 0);
    assert_eq!(model.apply(&Command::DbSize, UnixMs(NOW.0 + 10)), Answer::Int(0));
    assert_eq!(model.apply(&ttl("k", TimeForm::MillisLeft), UnixMs(NOW.0 + 10)), Answer::Int(-2));
    let past = Expiry::By(Deadline::At(NOW));
    assert_eq!(run(&[set("k", "a"), set_with("k", past, None, false)]), Answer::Ok);
    assert_eq!(run(&[set("k", "a"), set_with("k", past, None, false), get("k")]), Answer::Nil);
    assert_eq!(run(&[set("k", "a"), expire("k", 0, None)]), Answer::Int(1));
    assert_eq!(run(&[set("k", "a"), expire("k", 0, None), get("k")]), Answer::Nil);
}

#[test]
fn deadlines_are_kept_cleared_and_reported() {
    let left = ttl("k", TimeForm::MillisLeft);
    let started = [set("k", "1"), expire("k", 1_500, None)];
    let with = |more: &[Command]| run(&[&started[..], more].concat());
    assert_eq!(with(slice::from_ref(&left)), Answer::Int(1_500));
    assert_eq!(with(&[ttl("k", TimeForm::SecondsLeft)]), Answer::Int(2));
    assert_eq!(with(&[expire("k", 1_499, None), ttl("k", TimeForm::SecondsLeft)]), Answer::Int(1));
    assert_eq!(with(&[ttl("k", TimeForm::UnixMillis)]), Answer::Int(1_001_500));
    assert_eq!(with(&[ttl("k", TimeForm::UnixSeconds)]), Answer::Int(1_002));
    assert_eq!(with(&[incr("k", 1), left.clone()]), Answer::Int(1_500));
    assert_eq!(with(&[append("k", "1"), left.clone()]), Answer::Int(1_500));
    assert_eq!(with(&[set_with("k", Expiry::Keep, None, false), left.clone()]), Answer::Int(1_500));
    assert_eq!(with(&[set("k", "2"), left.clone()]), Answer::Int(-1));
    let mset = Command::MSet { pairs: vec![(bytes("k"), bytes("2"))] };
    assert_eq!(with(&[mset, left.clone()]), Answer::Int(-1));
    let persist = Command::Persist { key: bytes("k") };
    assert_eq!(with(slice::from_ref(&persist)), Answer::Int(1));
    assert_eq!(with(&[persist.clone(), left]), Answer::Int(-1));
    assert_eq!(with(&[persist.clone(), persist]), Answer::Int(0));
    assert_eq!(run(&[ttl("k", TimeForm::UnixMillis)]), Answer::Int(-2));
}

#[test]
fn expire_obeys_its_condition() {
    use ExpireCondition::{Absent, Earlier, Later, Present, PresentEarlier};
    let eternal = |condition| run(&[set("k", "a"), expire("k", 50, Some(condition))]);
    let mortal = |ms, condition| {
        run(&[set("k", "a"), expire("k", 50, None), expire("k", ms, Some(condition))])
    };
    assert_eq!(run(&[expire("k", 50, None)]), Answer::Int(0));
    assert_eq!((eternal(Absent), mortal(60, Absent)), (Answer::Int(1), Answer::Int(0)));
    assert_eq!((eternal(Present), mortal(60, Present)), (Answer::Int(0), Answer::Int(1)));
    assert_eq!((eternal(Later), mortal(60, Later)), (Answer::Int(0), Answer::Int(1)));
    assert_eq!((mortal(50, Later), mortal(40, Later)), (Answer::Int(0), Answer::Int(0)));
    assert_eq!((eternal(Earlier), mortal(40, Earlier)), (Answer::Int(1), Answer::Int(1)));
    assert_eq!((mortal(50, Earlier), mortal(60, Earlier)), (Answer::Int(0), Answer::Int(0)));
    assert_eq!(
        (eternal(PresentEarlier), mortal(40, PresentEarlier)),
        (Answer::Int(0), Answer::Int(1))
    );
}

fn scan(after: Option<&str>, pattern: Option<&str>, count: u32) -> Command {
    Command::Scan { after: after.map(bytes), pattern: pattern.map(bytes), count }
}

fn page(next: Option<&str>, keys: &[&str]) -> Answer {
    Answer::Page { next: next.map(bytes), keys: keys.iter().map(|key| bytes(key)).collect() }
}

#[test]
fn a_scan_walks_the_keys_in_order() {
    let keys = ["a1", "a2", "b1", "b2", "c1"].map(|key| set(key, ""));
    let with = |scan: Command| run(&[&keys[..], &[scan]].concat());
    assert_eq!(with(scan(None, None, 2)), page(Some("a2"), &["a1", "a2"]));
    assert_eq!(with(scan(Some("a2"), None, 2)), page(Some("b2"), &["b1", "b2"]));
    assert_eq!(with(scan(Some("b2"), None, 2)), page(None, &["c1"]));
    assert_eq!(with(scan(Some("a9"), None, 9)), page(None, &["b1", "b2", "c1"]));
    assert_eq!(with(scan(None, Some("b*"), 2)), page(Some("a2"), &[]));
    assert_eq!(with(scan(None, Some("?1"), 9)), page(None, &["a1", "b1", "c1"]));
    assert_eq!(with(scan(Some("z"), None, 9)), page(None, &[]));
}

#[test]
fn a_scan_may_stop_early_and_may_not_skip() {
    let mut model = Model::new();
    for key in ["a", "b", "c"] {
        model.apply(&set(key, ""), NOW);
    }
    let mut judge = |asked: &Command, given: &Answer| model.judge(asked, NOW, given).is_ok();
    assert!(judge(&scan(None, None, 3), &page(Some("a"), &["a"])), "a page may be short");
    assert!(judge(&scan(None, None, 3), &page(Some("c"), &["a", "b", "c"])), "an end may be late");
    assert!(judge(&scan(None, Some("x"), 3), &page(Some("b"), &[])), "a page may be empty");
    assert!(!judge(&scan(None, None, 3), &page(Some("b"), &["b"])), "a key was skipped");
    assert!(!judge(&scan(None, None, 3), &page(None, &["a", "b"])), "the walk ended too early");
    assert!(!judge(&scan(None, None, 2), &page(None, &["a", "b", "c"])), "more than was asked");
    assert!(!judge(&scan(Some("a"), None, 2), &page(Some("a"), &[])), "the walk does not move");
}

#[test]
fn only_changes_count_as_changes() {
    let mut model = Model::new();
    let mut changed = |command: &Command| {
        let before = model.changes();
        model.apply(command, NOW);
        model.changes() > before
    };
    assert!(!changed(&Command::FlushAll));
    assert!(changed(&set("k", "a")));
    assert!(!changed(&get("k")));
    assert!(!changed(&incr("k", 1)), "a refusal changes nothing");
    assert!(!changed(&set_with("k", Expiry::None, Some(Condition::Absent), false)));
    assert!(!changed(&del(&["x"])));
    assert!(!changed(&Command::Persist { key: bytes("k") }));
    assert!(changed(&expire("k", 10, None)));
    assert!(changed(&Command::Persist { key: bytes("k") }));
    assert!(changed(&Command::FlushAll));
}

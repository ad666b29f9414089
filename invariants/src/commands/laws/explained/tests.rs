use std::time::Duration;

use orloj_net::{
    UnixMs,
    envelope::{Code, End, Failure, Finding, Question},
};

use super::LAW;
use crate::{
    Ending,
    commands::{Told, What, testing::*},
};

#[test]
fn an_answer_that_the_store_does_not_give_is_found() {
    let mut h = strict();
    h.does(&data(incr("n", 1)), int(1));
    h.plain(get("n"), bulk("1"));
    h.does(&data(incr("n", 1)), int(2));
    h.holds();
    let mut plain = h.clone();
    plain.plain(get("n"), bulk("1"));
    plain.breaks(LAW.name, "the model expected the answer 2");
    h.does(&data(incr("n", 1)), int(2));
    h.breaks(LAW.name, "the model expected ok 3");
}

#[test]
fn a_refusal_of_the_store_is_a_failure_and_has_no_effect() {
    let mut h = strict();
    h.does(&data(set("k", "a")), ok());
    let mut well = h.clone();
    h.runs(&data(incr("k", 1)), failed(Code::Invalid, &[("reason", "not_an_integer")]));
    h.does(&data(get("k")), bulk("a"));
    h.holds();
    well.runs(&data(incr("k", 1)), End::Ok(int(1)));
    well.breaks(LAW.name, "the model expected Invalid, reason=not_an_integer");
}

#[test]
fn a_failure_of_what_could_be_done_is_found() {
    let mut h = strict();
    h.runs(&data(incr("k", 1)), failed(Code::Invalid, &[("reason", "not_an_integer")]));
    h.breaks(LAW.name, "the model expected ok 1");
}

#[test]
fn sessions_are_made_once_and_found_while_they_are_there() {
    let mut h = strict();
    let absent = [("reason", "unknown_session")];
    h.runs(&load("s"), failed(Code::Invalid, &absent));
    h.runs(&data(set("k", "a")).session("s"), failed(Code::Invalid, &absent));
    let actual = [("actual", "absent")];
    let wanted = data(set("k", "a")).session("s").if_session_version(0);
    h.runs(&wanted, failed(Code::VersionMismatch, &actual));
    h.does(&create("s"), int(0));
    h.runs(&create("s"), failed(Code::Conflict, &[("reason", "session_exists")]));
    h.does(&wanted, ok());
    h.runs(&wanted, failed(Code::VersionMismatch, &[("actual", "1")]));
    h.does(&load("s"), int(1));
    h.does(&delete("s"), ok());
    h.runs(&delete("s"), failed(Code::Invalid, &absent));
    h.holds();

    let mut twice = strict();
    twice.does(&create("s"), int(0));
    twice.does(&create("s"), int(0));
    twice.breaks(LAW.name, "the model expected Conflict, reason=session_exists");

    let mut loose = strict();
    loose.does(&create("s"), int(0));
    loose.does(&data(set("k", "a")).session("s").if_session_version(1), ok());
    loose.breaks(LAW.name, "the model expected VersionMismatch, actual=0");
}

#[test]
fn a_repetition_is_told_by_what_is_asked() {
    let first = data(set("k", "a")).id("a").idempotency_key("key");
    let story = || {
        let mut h = strict();
        let row = h.does(&first, ok());
        (h, row)
    };
    let conflict = || failure(Code::Conflict, &[]);
    let (mut h, row) = story();
    h.repeats(&first, row);
    h.repeats(&data(set("k", "a")).id("b").idempotency_key("key"), row);
    h.repeats(&data(set("k", "a")).id("a").idempotency_key("another"), row);
    h.refuses(&data(set("k", "b")).id("a"), conflict());
    h.refuses(&data(set("k", "b")).id("c").idempotency_key("key"), conflict());
    h.does(&data(set("k", "b")).idempotency_key("key").session("s").id("d"), ok());
    h.breaks(LAW.name, "the model expected Invalid, reason=unknown_session");

    let (mut h, row) = story();
    h.repeats(&data(set("k", "b")).id("a"), row);
    h.breaks(LAW.name, "the model expected Conflict with a, row 1");

    let (mut h, _) = story();
    h.does(&data(set("k", "a")).id("b").idempotency_key("key"), ok());
    h.breaks(LAW.name, "the model expected a repetition of a, row 1");

    let (mut h, _) = story();
    h.refuses(&data(set("k", "a")).id("b"), conflict());
    h.breaks(LAW.name, "the model expected its acceptance, not Conflict");
}

#[test]
fn an_idempotency_key_is_known_for_its_time_and_no_longer() {
    let first = data(incr("n", 1)).idempotency_key("key");
    let mut h = strict();
    let row = h.does(&first, int(1));
    h.wait_ms(600_000 - 20);
    h.repeats(&first, row);
    let mut early = h.clone();
    early.does(&first, int(2));
    early.breaks(LAW.name, "the model expected a repetition of anon:1, row 1");
    h.wait_ms(20);
    let mut late = h.clone();
    h.does(&first, int(2));
    h.holds();
    late.repeats(&first, row);
    late.breaks(LAW.name, "the model expected its acceptance");
}

#[test]
fn an_invalid_command_and_a_surplus_one_are_refused() {
    let mut h = strict();
    let invalid = data(set("k", "a")).id("anon:7");
    h.refuses(&invalid, failure(Code::Invalid, &[("field", "id")]));
    h.turn();
    for _ in 0..4 {
        h.sends(&data(set("k", "a")));
    }
    let mut taken = h.clone();
    h.refuses(&data(set("k", "b")), failure(Code::Busy, &[]));
    // A session can be made and deleted all the same.
    let mut tidied = h.clone();
    tidied.runs(&create("s"), End::Ok(int(0)));
    tidied.holds();
    h.refuses(&create("s"), failure(Code::Busy, &[]));
    h.breaks(LAW.name, "the model expected its acceptance, not Busy");
    taken.sends(&data(set("k", "b")));
    taken.breaks(LAW.name, "the model expected Busy");

    let mut h = strict();
    h.does(&invalid, ok());
    h.breaks(LAW.name, "the model expected Invalid, for its id");
    let mut h = strict();
    h.refuses(&data(set("k", "b")), failure(Code::Busy, &[]));
    h.breaks(LAW.name, "the model expected its acceptance, not Busy");
}

#[test]
fn what_a_command_depends_on_decides_how_it_ends() {
    let mut h = strict();
    let unknown = [("on", "x")];
    h.runs(&data(set("k", "a")).id("a").after("x"), failed(Code::DependencyUnknown, &unknown));
    let on = [("on", "a"), ("outcome", "failed")];
    h.runs(&data(set("k", "a")).id("b").after("a"), failed(Code::DependencyFailed, &on));
    h.turn();
    let own = h.sends(&data(set("k", "a")).id("c").after("d"));
    let behind = h.sends(&data(set("k", "a")).id("d"));
    h.starts(own);
    let same = [("on", "d"), ("reason", "same_lane")];
    h.ends(own, failed(Code::DependencyFailed, &same));
    h.starts(behind);
    h.ends(behind, End::Ok(ok()));
    h.holds();

    let mut h = strict();
    h.runs(&data(set("k", "a")).id("a").after("x"), End::Ok(ok()));
    h.breaks(LAW.name, "the model expected DependencyUnknown, on=x");
}

/// `b` on the server's lane waits for `a` of a session.
fn waiting() -> (Tale, u64, u64) {
    let mut h = strict();
    h.does(&create("s"), int(0));
    h.turn();
    let b = h.sends(&data(set("k", "b")).id("b").after("a").timeout(Duration::from_secs(90)));
    let a = h.sends(&data(set("k", "a")).id("a").session("s").timeout(Duration::from_secs(90)));
    h.starts(b);
    (h, a, b)
}

#[test]
fn a_wait_ends_with_what_is_waited_for_or_with_its_time() {
    let (mut h, a, b) = waiting();
    h.turn();
    h.starts(a);
    h.ends(a, End::Ok(ok()));
    h.ends(b, End::Ok(ok()));
    h.holds();

    let timeout = failed(Code::DependencyTimeout, &[("on", "a")]);
    let (mut h, _, b) = waiting();
    h.wait_ms(30_000);
    h.turn();
    h.ends(b, timeout.clone());
    h.holds();

    let (mut h, _, b) = waiting();
    h.wait_ms(20_000);
    h.turn();
    h.ends(b, timeout);
    h.breaks(LAW.name, "the model expected it to wait to 1030010");

    let (mut h, _, b) = waiting();
    h.ends(b, End::Ok(ok()));
    h.breaks(LAW.name, "the model expected it to wait for a");
}

#[test]
fn whoever_has_waited_may_look_again_when_it_goes_on() {
    let story = |meanwhile: bool| {
        let mut h = strict();
        h.does(&create("s"), int(0));
        h.turn();
        let brief = Duration::from_millis(9);
        let b = h.sends(&data(set("k", "b")).id("b").after("a").after("c"));
        let a = h.sends(&data(set("k", "a")).id("a").session("s"));
        let c = h.sends(&data(set("k", "c")).id("c").timeout(brief));
        h.starts(b);
        h.starts(a);
        h.ends(a, End::Ok(ok()));
        h.wait_ms(9);
        h.turn();
        if meanwhile {
            h.ends(c, timed_out());
        }
        (h, b)
    };
    let same = failed(Code::DependencyFailed, &[("on", "c"), ("reason", "same_lane")]);
    let late = failed(Code::DependencyFailed, &[("on", "c"), ("outcome", "timed_out")]);
    for (meanwhile, end) in [(false, &same), (true, &same), (true, &late)] {
        let (mut h, b) = story(meanwhile);
        h.ends(b, end.clone());
        h.holds();
    }
    let (mut h, b) = story(false);
    h.ends(b, late);
    h.breaks(LAW.name, "the model expected DependencyFailed, on=c, reason=same_lane");
}

#[test]
fn who_waits_for_what_came_later_waits_no_longer_for_it() {
    let story = |ms: u64| {
        let mut h = strict();
        h.does(&create("s"), int(0));
        h.turn();
        let b = h.sends(&data(set("k", "b")).id("b").session("s").after("a").after("c"));
        let a = h.sends(&data(set("k", "a")).id("a"));
        h.starts(b);
        h.starts(a);
        h.ends(a, End::Ok(ok()));
        h.turn();
        h.sends(&data(set("k", "c")).id("c"));
        h.wait_ms(ms);
        h.turn();
        h.ends(b, failed(Code::DependencyTimeout, &[("on", "c")]));
        h
    };
    story(30_000).holds();
    story(20_000).breaks(LAW.name, "the model expected it to wait to");
}

/// `a` on the server's lane and `b` of a session wait for each other.
fn circle() -> (Tale, u64, u64) {
    let mut h = strict();
    h.does(&create("s"), int(0));
    h.turn();
    let a = h.sends(&data(set("k", "a")).id("a").after("b"));
    let b = h.sends(&data(set("k", "b")).id("b").after("a").session("s"));
    h.starts(a);
    h.starts(b);
    (h, a, b)
}

#[test]
fn of_a_circle_the_youngest_fails() {
    let cycle = failed(Code::DependencyCycle, &[("cycle", "a -> b")]);
    let (mut h, a, b) = circle();
    h.ends(b, cycle.clone());
    h.ends(a, failed(Code::DependencyFailed, &[("on", "b"), ("outcome", "failed")]));
    h.turn();
    h.holds();

    let (mut h, a, _) = circle();
    h.ends(a, cycle.clone());
    h.breaks(LAW.name, "the model expected DependencyCycle of b, which is younger");

    let (mut h, ..) = circle();
    let absent = failed(Code::Invalid, &[("reason", "unknown_session")]);
    for _ in 0..4 {
        h.runs(&data(set("j", "a")).session("t"), absent.clone());
        h.wait_ms(90);
    }
    h.breaks(LAW.name, "the model expected DependencyCycle of b");

    let (mut h, _, b) = waiting();
    h.ends(b, failed(Code::DependencyCycle, &[("cycle", "a -> b")]));
    h.breaks(LAW.name, "is younger");
}

#[test]
fn a_circle_may_lead_through_queues() {
    let mut h = strict();
    h.does(&create("s"), int(0));
    h.turn();
    let a1 = h.sends(&data(set("k", "1")).id("a1").after("b2"));
    let b1 = h.sends(&data(set("k", "2")).id("b1").after("a2").session("s"));
    let a2 = h.sends(&data(set("k", "3")).id("a2"));
    let b2 = h.sends(&data(set("k", "4")).id("b2").session("s"));
    h.starts(a1);
    h.starts(b1);
    h.ends(b1, failed(Code::DependencyCycle, &[("cycle", "a1 -> b1")]));
    h.starts(b2);
    h.ends(b2, End::Ok(ok()));
    h.ends(a1, End::Ok(ok()));
    h.starts(a2);
    h.ends(a2, End::Ok(ok()));
    h.holds();
}

#[test]
fn a_timeout_comes_neither_early_nor_too_late() {
    let short = data(set("k", "a")).timeout(Duration::from_millis(10));
    let story = |wait| {
        let mut h = strict();
        h.turn();
        let row = h.sends(&short);
        h.wait_ms(wait);
        h.turn();
        (h, row)
    };
    let (mut h, row) = story(10);
    h.ends(row, timed_out());
    h.holds();
    let (mut h, row) = story(5);
    h.ends(row, timed_out());
    h.breaks(LAW.name, "the model expected no timeout at");
    let (mut h, row) = story(10);
    h.starts(row);
    h.ends(row, End::Ok(ok()));
    h.breaks(LAW.name, "the model expected its timeout, which was at");
}

#[test]
fn a_session_that_is_deleted_is_not_to_be_stopped() {
    let mut h = strict();
    h.does(&create("s"), int(0));
    h.turn();
    let row = h.sends(&delete("s").id("d"));
    let question = Question::Cancel("d".into());
    h.asks_beside(question, Ok(Finding::Cancelled(true)));
    h.ends(row, cancelled());
    h.breaks(LAW.name, "the model expected no cancellation of this type");
}

#[test]
fn a_restart_fails_what_was_started_and_runs_the_rest() {
    let story = || {
        let (mut h, a, b) = waiting();
        h.dies(Ending::Crash);
        h.recovers(2);
        h.turn();
        (h, a, b)
    };
    let (mut h, a, b) = story();
    h.ends(b, restarted());
    h.starts(a);
    h.ends(a, End::Ok(ok()));
    h.holds();

    let (mut h, a, _) = story();
    h.starts(a);
    h.breaks(LAW.name, "the model expected first the failure of b, row 2");

    let (mut h, _, b) = story();
    h.ends(b, End::Ok(ok()));
    h.breaks(LAW.name, "the model expected failed, reason=restart_in_flight");

    // A full disk lets nobody end them; what needs no writing is answered meanwhile.
    let (mut h, a, b) = story();
    let full = failure(Code::StorageFailure, &[("reason", "journal_failed")]);
    h.refuses(&data(set("k", "c")).id("c"), full);
    h.turn();
    h.ends(b, restarted());
    h.starts(a);
    h.ends(a, End::Ok(ok()));
    h.holds();

    // And if nobody knows of that failure after another crash, it comes again.
    let (mut h, a, b) = story();
    h.ends(b, restarted());
    h.dies(Ending::PowerLoss);
    h.recovers(2);
    h.turn();
    h.ends(b, restarted());
    h.starts(a);
    h.ends(a, End::Ok(ok()));
    h.holds();
}

#[test]
fn a_failure_of_a_restart_without_a_restart_is_found() {
    let (mut h, _, b) = waiting();
    h.ends(b, restarted());
    h.breaks(LAW.name, "the model expected it to wait for a");
}

#[test]
fn effects_of_what_was_undone_are_gone() {
    let story = |seen| {
        let mut h = strict();
        h.does(&data(set("k", "a")), ok());
        h.runs(&data(set("k", "b")).id("b"), End::Ok(ok()));
        h.undoes(2);
        h.does(&data(get("k")), bulk(seen));
        h
    };
    story("a").holds();
    story("b").breaks(LAW.name, "the model expected ok a");
}

#[test]
fn an_outcome_is_its_own() {
    let mut h = strict();
    h.does(&data(set("k", "a")), ok());
    h.last_outcome().replayed = true;
    h.breaks(LAW.name, "the model expected an outcome of its own");
}

#[test]
fn a_timeout_and_a_cancellation_have_their_codes() {
    let mut h = strict();
    let row = h.sends(&data(set("k", "a")).id("a"));
    let question = Question::Cancel("a".into());
    h.asks_beside(question, Ok(Finding::Cancelled(true)));
    h.ends(row, End::Cancelled(Failure::new(Code::Timeout, "late")));
    h.breaks(LAW.name, "the model expected the code Cancelled, not Timeout");
}

#[test]
fn a_row_is_never_given_twice() {
    let mut h = strict();
    let row = h.does(&data(set("k", "a")), ok());
    let envelope = data(set("k", "b"));
    h.asks(&envelope);
    let told = Told {
        turn: 2,
        at: UnixMs(2_000_000),
        lane_sequence: 4,
        seen: h.last().seen,
        what: What::Accepted { row, id: "anon:1".into(), envelope: Box::new(envelope) },
    };
    h.history.lives[0].told.push(told);
    h.breaks(LAW.name, "the model expected a row behind 1");
}

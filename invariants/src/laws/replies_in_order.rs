//! Law: the replies of a connection come in the order of its requests, each carrying the answer
//! that the store gave to that very request.
//!
//! Source: the pipelining contract of the Redis protocol: the n-th reply answers the n-th request.
//!
//! Broken, a client reads one key and is shown another's value.

use std::collections::BTreeMap;

use orloj_net::Answer;

use super::{Broken, Law, is_gate};
use crate::{End, Moment, OpId, Operation, Request, Timeline, show_answer};

pub(super) const LAW: Law = Law {
    name: "replies-in-order",
    promise: "The n-th reply of a connection answers its n-th request.",
    check,
};

fn check(timeline: &Timeline<'_>) -> Result<(), Broken> {
    let mut latest: BTreeMap<(u32, u32), (Moment, OpId)> = BTreeMap::new();
    for op in &timeline.history.ops {
        let End::Answered { at, answer } = &op.end else { continue };
        let line = (op.id.client, op.connection);
        if let Some((before, earlier)) = latest.insert(line, (*at, op.id))
            && *at < before
        {
            let evidence =
                format!("{} was answered at {at}, {earlier} before it at {before}", op.id);
            return Err(Broken::new(*at, evidence).op([earlier, op.id]));
        }
        let Some(given) = given(timeline, op) else { continue };
        // The journal may refuse a batch whose reads the store had answered. What of it was
        // executed and may not be taken back is `refusal-is-definite`'s matter.
        if !reads_as(&given, answer) && !is_gate(answer) {
            let mut evidence = format!(
                "{} heard {}; the answer given to it was {}",
                op.id,
                show_answer(answer),
                show_answer(&given)
            );
            let mut broken = Broken::new(*at, String::new()).op([op.id]);
            if let Some(other) = owner(timeline, op, answer) {
                evidence += &format!(". What it heard was given to {other}");
                broken = broken.op([other]);
            }
            return Err(Broken { evidence, ..broken });
        }
    }
    Ok(())
}

/// What the node answered to this request. Nothing, if it was refused before it reached the store.
fn given(timeline: &Timeline<'_>, op: &Operation) -> Option<Answer> {
    match &op.request {
        Request::Echo(bytes) => Some(Answer::Bulk(bytes.clone().into())),
        Request::Store(_) => {
            timeline.places(op.id).first().map(|place| timeline.executed(*place).answer.clone())
        }
    }
}

/// Whether a client that was sent `given` reads `heard`. The position of a scan reaches a client as
/// a number of the session's choosing; what it can tell is whether there is more.
fn reads_as(given: &Answer, heard: &Answer) -> bool {
    match (given, heard) {
        (Answer::Page { next, keys }, Answer::Page { next: heard_next, keys: heard_keys }) => {
            keys == heard_keys && next.is_some() == heard_next.is_some()
        }
        _ => given == heard,
    }
}

/// Another request of the same connection to which `heard` was the answer.
fn owner(timeline: &Timeline<'_>, op: &Operation, heard: &Answer) -> Option<OpId> {
    let line = |o: &Operation| (o.id.client, o.connection);
    let others = timeline.history.ops.iter().filter(|o| line(o) == line(op) && o.id != op.id);
    let mut owners = others.filter(|o| given(timeline, o).is_some_and(|g| reads_as(&g, heard)));
    owners.next().map(|o| o.id)
}

#[cfg(test)]
mod tests {
    use orloj_net::{Answer, Refusal};

    use super::LAW;
    use crate::testing::*;

    #[test]
    fn a_pipeline_answered_in_order_holds() {
        let mut h = strict();
        let first = h.op(0, set("k", "a")).runs(1, ok()).id();
        let second = h.op(0, get("k")).runs(1, bulk("a")).id();
        let third = h.echo(0, "hello").id();
        h.again(first).answers(ok());
        h.again(second).answers(bulk("a"));
        h.again(third).answers(bulk("hello"));
        h.holds(&LAW);
    }

    #[test]
    fn swapped_replies_are_found_and_their_owner_named() {
        let mut h = strict();
        let first = h.op(0, get("a")).runs(0, bulk("1")).id();
        let second = h.op(0, get("b")).runs(0, bulk("2")).id();
        h.again(first).answers(bulk("2"));
        h.again(second).answers(bulk("1"));
        h.breaks(
            &LAW,
            "heard 2; the answer given to it was 1. What it heard was given to client 0, request 1",
        );
    }

    #[test]
    fn an_echo_of_something_else_is_found() {
        let mut h = strict();
        h.echo(0, "hello").answers(bulk("world"));
        h.breaks(&LAW, "heard world; the answer given to it was hello");
    }

    #[test]
    fn a_reply_before_its_predecessors_is_found() {
        let mut h = strict();
        let first = h.op(0, get("a")).runs(0, nil()).id();
        h.op(0, get("b")).runs(0, nil()).answers(nil());
        h.again(first).answers(nil());
        h.breaks(&LAW, "client 0, request 0 before it");
    }

    #[test]
    fn a_node_that_cannot_go_on_may_refuse_what_it_had_read() {
        let mut h = strict();
        h.op(0, get("a")).runs(0, bulk("1")).answers(Answer::Error(Refusal::JournalFailed));
        h.holds(&LAW);
        h.op(0, get("a")).runs(0, bulk("1")).answers(not_an_integer());
        h.breaks(&LAW, "heard (ERR value is not an integer");
    }

    #[test]
    fn the_position_of_a_scan_may_have_another_name() {
        let mut h = strict();
        h.op(0, scan(1)).runs(0, page(Some("a"), &["a"])).answers(page(Some("17"), &["a"]));
        h.holds(&LAW);
        h.op(0, scan(1)).runs(0, page(Some("a"), &["a"])).answers(page(None, &["a"]));
        h.breaks(&LAW, "the end");
    }
}

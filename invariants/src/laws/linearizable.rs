//! Law: what clients asked of each key has an order that explains all they were answered, whatever
//! the node says of itself.
//!
//! The other laws believe the versions the node gives and hold them against each other; this one
//! sees calls and answers alone, so a node whose account and answers are wrong in the same way is
//! found. Commands of several keys count for each key apart, as far as their answers say something
//! of it. When a deadline passes is not known here, so a value with one may be gone at any moment.
//! It asks for strict mode; the others may take back what they have shown.
//!
//! The search has a budget. Where it ends the law holds, and the others have to do.
//!
//! Source: Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects",
//! TOPLAS 1990; it is local, so keys are judged one by one.
//!
//! Broken, two users see a key change in different orders.

mod key;

use std::collections::BTreeMap;

use orloj_net::{Answer, Command, Key};

use self::key::{Asked, OneKey};
use super::{Broken, Law};
use crate::{
    Durability, End, History, OpId, Request, Timeline,
    checkers::linearizability::{Budget, Call, Verdict, linearizable},
};

pub(super) const LAW: Law = Law {
    name: "linearizable",
    promise: "Some order of the commands of a key explains every answer.",
    check,
};

/// Steps of the search for one key, and for each call: most need one or two.
const STEPS: (u64, u64) = (400, 4);

/// The calls of a key, and whose they are.
type Calls<'h> = Vec<(Call<Asked<'h>, Answer>, Option<OpId>)>;

fn check(timeline: &Timeline<'_>) -> Result<(), Broken> {
    let history = timeline.history;
    if history.durability != Durability::Strict {
        return Ok(());
    }
    let (processes, keys) = by_key(history);
    for (key, it) in keys {
        let (calls, ops): (Vec<_>, Vec<_>) = it.into_iter().unzip();
        let model = OneKey { key, processes: &processes };
        let verdict =
            linearizable(&model, &calls, &mut Budget(STEPS.0 + STEPS.1 * calls.len() as u64));
        let Verdict::Violated(witness) = verdict else { continue };
        let when = calls[witness.stuck].answered.unwrap_or_default();
        // The last few of the order say how it came to the state that does not fit.
        let recent = witness.before.iter().rev().take(4);
        let about = recent.chain([&witness.stuck]).filter_map(|at| ops[*at]);
        return Err(Broken::new(crate::Moment(when), witness.words).op(about).keys([key]));
    }
    Ok(())
}

/// Every process as client and connection, and the calls of every key.
fn by_key(history: &History) -> (Vec<(u32, u32)>, BTreeMap<&Key, Calls<'_>>) {
    let mut keys: BTreeMap<&Key, Calls<'_>> = BTreeMap::new();
    let mut processes: Vec<(u32, u32)> = Vec::new();
    let mut numbers: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    let mut flushes = Vec::new();
    for op in &history.ops {
        let Request::Store(command) = &op.request else { continue };
        let (answered, answer) = match &op.end {
            End::Answered { at, answer } => (Some(at.0), Some(answer)),
            End::Open | End::Lost { .. } => (None, None),
        };
        // A refusal says that nothing happened; of INCR it says why.
        let is_told =
            matches!(command, Command::Incr { .. }) && !answer.is_some_and(super::is_gate);
        if matches!(answer, Some(Answer::Error(_))) && !is_told {
            continue;
        }
        let line = (op.id.client, op.connection);
        let process = *numbers.entry(line).or_insert_with(|| {
            processes.push(line);
            processes.len() as u32 - 1
        });
        let call = |input, output: Option<&Answer>| {
            let (called, output) = (op.invoked.0, output.cloned());
            Call { process, input, called, answered, output }
        };
        if *command == Command::FlushAll {
            flushes.push((op.id, call(Asked::Gone, None)));
            continue;
        }
        for (key, asked, output) in key::parts(command, answer) {
            keys.entry(key).or_default().push((call(asked, output), Some(op.id)));
        }
    }
    let next = processes.len() as u32;
    for (key, it) in &mut keys {
        for (id, flush) in &flushes {
            it.push((flush.clone(), Some(*id)));
        }
        put_dumps(history, key, it, next);
        // The order of calls is that of each connection; flushes came last.
        it.sort_by_key(|(call, op)| (call.called, op.map(|op| op.number)));
    }
    (processes, keys)
}

/// Full reads in the quiet phase are reads of every key.
fn put_dumps<'h>(history: &'h History, key: &Key, it: &mut Calls<'h>, process: u32) {
    let Some(quiet) = history.quiet else { return };
    for dump in &history.dumps {
        let at = dump.entries.binary_search_by(|entry| entry.key.cmp(key));
        let value = at.map(|at| Answer::Bulk(dump.entries[at].value.clone().into()));
        let (called, answered) = (quiet.began.0, Some(dump.seen.0));
        let output = Some(value.unwrap_or(Answer::Nil));
        it.push((Call { process, input: Asked::Read, called, answered, output }, None));
    }
}

#[cfg(test)]
mod tests {
    use orloj_net::{Answer, Command, Deadline, Refusal, UnixMs};

    use super::LAW;
    use crate::{Loss, testing::*};

    #[test]
    fn a_history_of_several_clients_holds() {
        let mut h = strict();
        let slow = h.op(0, set("k", "a")).id();
        h.op(1, get("k")).answers(nil());
        h.op(2, get("k")).answers(bulk("a"));
        h.again(slow).answers(ok());
        h.op(1, incr("n", 2)).answers(int(2));
        h.op(2, incr("k", 2)).answers(not_an_integer());
        h.op(2, append("k", "b")).answers(int(2));
        h.op(0, del(&["k", "n"])).answers(int(2));
        h.op(0, get("n")).answers(nil());
        h.holds(&LAW);
    }

    #[test]
    fn a_stale_read_is_found_without_a_word_of_the_node() {
        let mut h = strict();
        h.op(0, set("k", "a")).answers(ok());
        h.op(0, set("k", "b")).answers(ok());
        h.op(1, get("k")).answers(bulk("a"));
        h.breaks(
            &LAW,
            "client 1, connection 0: GET k: a (0.005 000 to 0.006 000) fits nowhere: in every \
             order of what came before, the state is b; one of them ends with client 0, \
             connection 0: SET k a: OK",
        );
    }

    #[test]
    fn two_counts_that_were_given_the_same_number_are_found() {
        let mut h = strict();
        let one = h.op(0, incr("n", 1)).id();
        h.op(1, incr("n", 1)).answers(int(1));
        h.again(one).answers(int(1));
        h.breaks(&LAW, "INCRBY n 1: 1");
    }

    #[test]
    fn an_acknowledged_write_that_a_crash_took_is_found() {
        let mut h = strict();
        h.op(0, set("k", "a")).answers(ok());
        h.power_loss().recovers(0);
        h.op(0, get("k")).answers(nil());
        h.breaks(&LAW, "GET k: nil");
        let mut h = buffered(100);
        h.op(0, set("k", "a")).answers(ok());
        h.power_loss().recovers(0);
        h.op(0, get("k")).answers(nil());
        h.holds(&LAW);
    }

    #[test]
    fn a_lost_write_may_come_late_but_only_once() {
        let lost = |answers: &[Answer]| {
            let mut h = strict();
            h.op(0, append("k", "a")).loses(Loss::TimedOut);
            answers.iter().for_each(|answer| {
                h.op(1, get("k")).answers(answer.clone());
            });
            h
        };
        lost(&[nil(), bulk("a"), bulk("a")]).holds(&LAW);
        lost(&[nil(), nil()]).holds(&LAW);
        lost(&[bulk("a"), nil()]).breaks(&LAW, "GET k: nil");
        lost(&[bulk("aa")]).breaks(&LAW, "nobody knows of client 0, connection 0: APPEND k a: ?");
    }

    #[test]
    fn a_refusal_is_no_operation_and_a_flush_one_of_every_key() {
        let mut h = strict();
        h.op(0, set("k", "a")).answers(Answer::Error(Refusal::JournalFailed));
        h.op(0, get("k")).answers(nil());
        h.op(0, set("k", "b")).answers(ok());
        h.op(0, Command::FlushAll).answers(ok());
        h.clone().op(0, get("k")).answers(bulk("b")).breaks(&LAW, "GET k: b");
        h.op(0, get("k")).answers(nil());
        h.holds(&LAW);
    }

    #[test]
    fn a_value_with_a_deadline_may_be_gone_and_comes_not_back() {
        let mut h = strict();
        let (key, deadline) = (bytes("k"), Deadline::At(UnixMs(9)));
        h.op(0, set("k", "a")).answers(ok());
        h.op(0, Command::Expire { key, deadline, condition: None }).answers(int(1));
        h.op(0, get("k")).answers(bulk("a"));
        h.op(0, get("k")).answers(nil());
        h.holds(&LAW);
        h.op(0, get("k")).answers(bulk("a"));
        h.breaks(&LAW, "GET k: a");
    }

    #[test]
    fn the_final_read_counts() {
        let mut h = strict();
        h.op(0, set("k", "a")).answers(ok());
        h.quiet(100);
        h.clone().dump(0, &[("k", "a")]).holds(&LAW);
        h.dump(0, &[]).breaks(&LAW, "at the end: k read among others: nil");
    }
}

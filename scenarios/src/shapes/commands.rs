//! What clients that ask in envelopes mean to make.

use std::collections::{BTreeMap, BTreeSet};

use orloj_invariants::commands::{End, History, Operation};
use orloj_net::{
    Command, Key,
    envelope::{Call, Envelope, Id},
};

use super::{Shapes, Sizes, beginnings, shape};
use crate::Met;

/// The shapes of one run.
pub(crate) fn of_commands(history: &History) -> Vec<Met> {
    let ops = &history.ops;
    let count = |is: &dyn Fn(&Envelope) -> bool| ops.iter().filter(|op| is(&op.envelope)).count();
    let calls = |call: Call| count(&|envelope| envelope.call == call);
    let mut dependencies = Sizes::default();
    ops.iter().for_each(|op| dependencies.add(op.envelope.depends_on.len()));
    let lost = ops.iter().filter(|op| matches!(op.end, End::Lost { .. })).count();
    let commands = || ops.iter().filter_map(|op| data(&op.envelope));
    let keys: BTreeSet<&Key> = commands().flat_map(Command::keys).collect();

    let mut shapes = Shapes::default();
    shape!(shapes, "commands: on a session's lane", count(&|e| e.session.is_some()));
    shape!(shapes, "commands: on the server's lane", count(&|e| e.session.is_none()));
    shape!(shapes, "commands: with an id", count(&|e| e.id.is_some()));
    shape!(shapes, "commands: without an id", count(&|e| e.id.is_none()));
    shape!(shapes, "commands: after nothing", dependencies.0[0]);
    shape!(shapes, "commands: after one", dependencies.0[1]);
    shape!(shapes, "commands: after many", dependencies.0[2]);
    shape!(shapes, "commands: a circle of two", circles(ops));
    shape!(shapes, "commands: an id sent again", repeated(ops));
    shape!(shapes, "commands: an idempotency key used again", keys_used_again(ops));
    shape!(shapes, "commands: with a timeout", count(&|e| e.timeout_ms.is_some()));
    shape!(shapes, "commands: with the shortest timeout", count(&|e| e.timeout_ms == Some(1)));
    shape!(shapes, "commands: with a version", count(&|e| e.if_session_version.is_some()));
    shape!(shapes, "commands: a session made", calls(Call::CreateSession));
    shape!(shapes, "commands: a session loaded", calls(Call::LoadSession));
    shape!(shapes, "commands: a session deleted", calls(Call::DeleteSession));
    shape!(shapes, "commands: an answer that was lost", lost);
    shape!(shapes, "commands: a question", history.inquiries.len());
    shape!(shapes, "commands: a subscription", history.subscriptions.len());
    shape!(shapes, "commands: a key that another begins with", beginnings(&keys));
    let sets_nothing = |c: &&Command| matches!(c, Command::Set { value, .. } if value.is_empty());
    shape!(shapes, "commands: an empty value", commands().filter(sets_nothing).count());
    let many = |c: &&Command| matches!(c, Command::MSet { pairs } if pairs.len() > 1);
    shape!(shapes, "commands: a write of many keys", commands().filter(many).count());
    shapes.0
}

fn data(envelope: &Envelope) -> Option<&Command> {
    match &envelope.call {
        Call::Data(command) => Some(command),
        _ => None,
    }
}

/// Commands of which each is after the other.
fn circles(ops: &[Operation]) -> usize {
    let after: BTreeMap<&Id, &[Id]> = ops
        .iter()
        .filter_map(|op| Some((op.envelope.id.as_ref()?, &*op.envelope.depends_on)))
        .collect();
    let is_after = |one: &Id, other: &Id| after.get(one).is_some_and(|ids| ids.contains(other));
    after.iter().filter(|(id, ids)| ids.iter().any(|on| on != **id && is_after(on, id))).count()
}

fn repeated(ops: &[Operation]) -> usize {
    let ids: Vec<&Id> = ops.iter().filter_map(|op| op.envelope.id.as_ref()).collect();
    ids.len() - ids.iter().collect::<BTreeSet<_>>().len()
}

fn keys_used_again(ops: &[Operation]) -> usize {
    let keys: Vec<&Id> = ops.iter().filter_map(|op| op.envelope.idempotency_key.as_ref()).collect();
    keys.len() - keys.iter().collect::<BTreeSet<_>>().len()
}

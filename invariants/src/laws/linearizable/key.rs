//! What commands mean for one key, where nobody knows the time.

use bytes::{Bytes, BytesMut};
use orloj_net::{
    Answer, Command, Condition, ExpireCondition, Expiry, Key, Refusal, Value, parse_i64,
};

use crate::{Moment, checkers::linearizability::Sequential, show_answer, show_bytes, show_command};

/// The part of a command that concerns the key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked<'h> {
    /// All of it.
    Whole(&'h Command),
    /// A read among others, answered as GET is.
    Read,
    /// A write among others.
    Put(&'h Value),
    /// A removal among others.
    Gone,
}

/// The keys of a command, each with what is asked of it and what of the answer speaks of it.
pub(super) fn parts<'h>(
    command: &'h Command,
    answer: Option<&'h Answer>,
) -> Vec<(&'h Key, Asked<'h>, Option<&'h Answer>)> {
    match command {
        Command::MGet { keys } => {
            let Some(Answer::List(answers)) = answer else { return Vec::new() };
            let pairs = keys.iter().zip(answers);
            pairs.map(|(key, answer)| (key, Asked::Read, Some(answer))).collect()
        }
        Command::MSet { pairs } => {
            let is_last = |at: &usize| pairs[at + 1..].iter().all(|(key, _)| *key != pairs[*at].0);
            let last = (0..pairs.len()).filter(is_last);
            last.map(|at| (&pairs[at].0, Asked::Put(&pairs[at].1), None)).collect()
        }
        Command::Del { keys } | Command::Exists { keys } if keys.len() == 1 => {
            vec![(&keys[0], Asked::Whole(command), answer)]
        }
        Command::Del { keys } => {
            let is_first = |at: &usize| !keys[..*at].contains(&keys[*at]);
            (0..keys.len()).filter(is_first).map(|at| (&keys[at], Asked::Gone, None)).collect()
        }
        // How many there are says nothing of one.
        Command::Exists { .. } | Command::Scan { .. } | Command::DbSize | Command::FlushAll => {
            Vec::new()
        }
        one => one.keys().map(|key| (key, Asked::Whole(command), answer)).collect(),
    }
}

/// A value, and whether it has a deadline: then it may be gone at any moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    value: Bytes,
    expires: bool,
}

type State = Option<Held>;

/// One key of the store.
pub(super) struct OneKey<'h> {
    pub(super) key: &'h Key,
    /// Client and connection by process; the one behind them reads at the end.
    pub(super) processes: &'h [(u32, u32)],
}

impl<'h> Sequential for OneKey<'h> {
    type State = State;
    type Input = Asked<'h>;
    type Output = Answer;

    fn initial(&self) -> State {
        None
    }

    fn step(
        &self,
        state: &State,
        input: &Asked<'h>,
        output: Option<&Answer>,
        next: &mut Vec<State>,
    ) {
        let after = done(state, input, output);
        let expires = state.as_ref().is_some_and(|held| held.expires);
        let gone = expires.then(|| done(&None, input, output)).flatten();
        let gone = gone.filter(|gone| after.as_ref() != Some(gone));
        next.extend(after);
        next.extend(gone);
    }

    fn is_read(&self, input: &Asked<'h>) -> bool {
        match input {
            Asked::Whole(command) => !command.is_write(),
            Asked::Read => true,
            Asked::Put(_) | Asked::Gone => false,
        }
    }

    fn show(&self, input: &Asked<'h>, output: Option<&Answer>) -> String {
        let key = show_bytes(self.key);
        let answer = output.map_or("?".to_owned(), show_answer);
        match input {
            Asked::Whole(command) => format!("{}: {answer}", show_command(command)),
            Asked::Read => format!("{key} read among others: {answer}"),
            Asked::Put(value) => format!("{key} set to {} among others", show_bytes(value)),
            Asked::Gone => format!("{key} removed among others"),
        }
    }

    fn show_state(&self, state: &State) -> String {
        let deadline = |held: &Held| if held.expires { " with a deadline" } else { "" };
        let held = |held: &Held| show_bytes(&held.value) + deadline(held);
        state.as_ref().map_or("nil".to_owned(), held)
    }

    fn show_process(&self, process: u32) -> String {
        match self.processes.get(process as usize) {
            Some((client, connection)) => format!("client {client}, connection {connection}"),
            None => "at the end".to_owned(),
        }
    }

    fn show_time(&self, at: u64) -> String {
        Moment(at).to_string()
    }
}

/// The state afterwards, if `output` is the answer.
fn done(state: &State, input: &Asked<'_>, output: Option<&Answer>) -> Option<State> {
    let command = match input {
        Asked::Whole(command) => *command,
        Asked::Read => return is_value(output, state).then(|| state.clone()),
        Asked::Put(value) => return Some(hold((*value).clone(), false)),
        Asked::Gone => return Some(None),
    };
    let int = |n: i64| output.is_none_or(|output| *output == Answer::Int(n));
    let held = state.as_ref();
    let (right, after) = match command {
        Command::Get { .. } => (is_value(output, state), state.clone()),
        Command::GetDel { .. } => (is_value(output, state), None),
        Command::Set { value, expiry, condition, get, .. } => {
            let writes = match condition {
                None => true,
                Some(Condition::Absent) => held.is_none(),
                Some(Condition::Present) => held.is_some(),
            };
            let expires = match expiry {
                Expiry::None => false,
                Expiry::Keep => held.is_some_and(|held| held.expires),
                Expiry::By(_) => true,
            };
            let said = if writes { Answer::Ok } else { Answer::Nil };
            let right = match get {
                true => is_value(output, state),
                false => output.is_none_or(|output| *output == said),
            };
            (right, if writes { hold(value.clone(), expires) } else { state.clone() })
        }
        Command::Append { value, .. } => {
            let before = held.map_or(&b""[..], |held| &held.value);
            let mut all = BytesMut::from(before);
            all.extend_from_slice(value);
            let expires = held.is_some_and(|held| held.expires);
            (int(all.len() as i64), hold(all.freeze(), expires))
        }
        Command::StrLen { .. } => (int(held.map_or(0, |h| h.value.len() as i64)), state.clone()),
        Command::Incr { by, .. } => return incr(state, *by, output),
        Command::Del { .. } => (int(i64::from(held.is_some())), None),
        Command::Exists { .. } => (int(i64::from(held.is_some())), state.clone()),
        Command::Type { .. } => {
            let kind = Answer::Simple(if held.is_some() { "string" } else { "none" });
            (output.is_none_or(|output| *output == kind), state.clone())
        }
        Command::Ttl { .. } => {
            let right = match (held, output) {
                (None, _) => int(-2),
                (Some(Held { expires: false, .. }), _) => int(-1),
                (Some(_), Some(Answer::Int(left))) => *left >= 0,
                (Some(_), output) => output.is_none(),
            };
            (right, state.clone())
        }
        Command::Expire { condition, .. } => return expire(held, *condition, output),
        Command::Persist { .. } => {
            let had = held.is_some_and(|held| held.expires);
            let after = held.map(|held| Held { expires: false, ..held.clone() });
            (int(i64::from(had)), after)
        }
        // Their keys are judged in parts.
        Command::MGet { .. }
        | Command::MSet { .. }
        | Command::Scan { .. }
        | Command::DbSize
        | Command::FlushAll => (true, state.clone()),
    };
    right.then_some(after)
}

fn hold(value: Bytes, expires: bool) -> State {
    Some(Held { value, expires })
}

fn is_value(output: Option<&Answer>, state: &State) -> bool {
    match (output, state) {
        (None, _) => true,
        (Some(Answer::Nil), held) => held.is_none(),
        (Some(Answer::Bulk(bytes)), Some(held)) => bytes[..] == held.value[..],
        _ => false,
    }
}

fn incr(state: &State, by: i64, output: Option<&Answer>) -> Option<State> {
    let is = |answer: Answer| output.is_none_or(|output| *output == answer);
    let held = state.as_ref();
    let Some(old) = held.map_or(Some(0), |held| parse_i64(&held.value)) else {
        return is(Answer::Error(Refusal::NotAnInteger)).then(|| state.clone());
    };
    let Some(sum) = old.checked_add(by) else {
        return is(Answer::Error(Refusal::Overflow)).then(|| state.clone());
    };
    let expires = held.is_some_and(|held| held.expires);
    is(Answer::Int(sum)).then(|| hold(Bytes::from(sum.to_string()), expires))
}

/// Which of two deadlines is the later is not known here.
fn expire(
    held: Option<&Held>,
    condition: Option<ExpireCondition>,
    output: Option<&Answer>,
) -> Option<State> {
    let may = match (held, condition) {
        (None, _) => Some(false),
        (Some(_), None) => Some(true),
        (Some(held), Some(ExpireCondition::Absent)) => Some(!held.expires),
        (Some(held), Some(ExpireCondition::Present)) => Some(held.expires),
        (Some(Held { expires: true, .. }), Some(_)) => None,
        (Some(_), Some(condition)) => Some(condition == ExpireCondition::Earlier),
    };
    let told = match output {
        None => may,
        Some(Answer::Int(n @ (0 | 1))) => Some(*n == 1),
        Some(_) => return None,
    };
    if may.is_some() && may != told {
        return None;
    }
    let expires = |held: &Held| held.expires || told == Some(true);
    Some(held.map(|held| Held { expires: expires(held), ..held.clone() }))
}

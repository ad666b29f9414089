//! A counterexample in words.

use super::{Call, Sequential, Witness};

/// How many of a list are named.
const NAMED: usize = 6;

/// Where the longest order ends.
pub(super) struct Story<'s, S> {
    pub(super) stuck: usize,
    pub(super) before: Vec<usize>,
    /// In flight, and in no order yet.
    pub(super) open: Vec<usize>,
    /// Lost, and in no order.
    pub(super) lost: Vec<usize>,
    /// Every state in which some order leaves the model.
    pub(super) states: Vec<&'s S>,
}

impl<S> Story<'_, S> {
    pub(super) fn witness<M: Sequential<State = S>>(
        self,
        model: &M,
        calls: &[Call<M::Input, M::Output>],
    ) -> Witness {
        let one = |at: &usize| show(model, &calls[*at]);
        let states = self.states.iter().map(|state| model.show_state(state)).collect();
        let mut words = format!(
            "{} fits nowhere: in every order of what came before, {}",
            one(&self.stuck),
            match self.states.len() {
                1 => format!("the state is {}", list(states, " or ")),
                _ => format!("the state is one of {}", list(states, ", ")),
            }
        );
        let recent = &self.before[self.before.len().saturating_sub(NAMED)..];
        if !recent.is_empty() {
            let recent = recent.iter().map(one).collect();
            words += &format!("; one of them ends with {}", list(recent, ", then "));
        }
        if !self.open.is_empty() {
            let open = self.open.iter().map(one).collect();
            words += &format!("; at the same time {}", list(open, ", "));
        }
        if !self.lost.is_empty() {
            let lost = self.lost.iter().rev().map(one).collect();
            words += &format!("; nobody knows of {}", list(lost, ", "));
        }
        Witness { words, stuck: self.stuck, before: self.before }
    }
}

/// `process 3: read: 4 (17 to 20)`
fn show<M: Sequential>(model: &M, call: &Call<M::Input, M::Output>) -> String {
    let what = model.show(&call.input, call.output.as_ref());
    let from = model.show_time(call.called);
    let until = call.answered.map_or("never answered".to_owned(), |at| model.show_time(at));
    format!("{}: {what} ({from} to {until})", model.show_process(call.process))
}

fn list(mut items: Vec<String>, between: &str) -> String {
    let more = items.len().saturating_sub(NAMED);
    items.truncate(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    items.join(between) + &rest
}

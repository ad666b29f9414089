//! Law: what is answered to a question is what the node said happened: outcomes, commands that
//! have been, sessions, cancellations; filtered, in order, and no more than was asked for.
//!
//! Source: specification of causal commands, section 10.
//!
//! Broken, whoever looks into what happened is shown something else.

use std::collections::BTreeMap;

use orloj_net::{
    UnixMs,
    envelope::{Causes, End as Ends, Filter, Finding, HistoryPage, Id, Outcome, Question, State},
};

use super::{Broken, Case, CommandLaw};
use crate::{
    Moment,
    commands::{End, Inquiry, Known, show_outcome},
};

pub(super) const LAW: CommandLaw = CommandLaw {
    name: "answers-true",
    promise: "Questions are answered with what happened.",
    check,
};

/// Most commands of a page, and how many if nobody says.
const PAGE: (usize, usize) = (500, 100);

fn check(case: &Case<'_>) -> Result<(), Broken> {
    let heard = heard(case);
    for inquiry in &case.history.inquiries {
        let Some((at, Ok(finding))) = &inquiry.answer else { continue };
        if let Err(why) = judge(case, inquiry, finding, *at) {
            return Err(Broken::new(*at, format!("{:?}: {why}", inquiry.question)));
        }
        if let (Question::History(filter), Finding::History(page)) = (&inquiry.question, finding)
            && let Some(state) = heard.iter().find(|(since, state)| {
                *since < inquiry.invoked && fits(filter, state) && is_left_out(page, state)
            })
        {
            let id = &state.1.causes.id;
            let why = format!("{id} is not shown, and its outcome had been told");
            return Err(Broken::new(*at, format!("{:?}: {why}", inquiry.question)));
        }
    }
    for dump in &case.history.dumps {
        let filter = Filter { limit: u32::MAX, ..Filter::default() };
        if let Err(why) = states(case, &filter, &dump.commands, dump.seen) {
            return Err(Broken::new(dump.seen, format!("the full read: {why}")));
        }
    }
    Ok(())
}

/// Commands that are in the history to the end and were accepted once, and when somebody had first
/// heard their outcome: a page that was asked for later has them.
fn heard<'h>(case: &Case<'h>) -> Vec<(Moment, &'h State)> {
    let mut ended: BTreeMap<&Id, Option<Moment>> = BTreeMap::new();
    for known in &case.account.commands {
        let first = known.finished.first().map(|(place, _)| case.account.told(*place).seen);
        ended.entry(known.id).and_modify(|ended| *ended = None).or_insert(first);
    }
    let mut heard: BTreeMap<&Id, Moment> = BTreeMap::new();
    for op in &case.history.ops {
        // Who asks for less may be told before it is to be seen; and who was told before it was
        // done was told of another, by its idempotency key.
        if let (Some(id), End::Answered { at, answer: Ok(_) }, None) =
            (&op.envelope.id, &op.end, op.envelope.durability)
            && ended.get(id).is_some_and(|ended| ended.is_some_and(|ended| ended <= *at))
        {
            heard.entry(id).and_modify(|first| *first = (*first).min(*at)).or_insert(*at);
        }
    }
    let states = case.history.dumps.last().into_iter().flat_map(|dump| &dump.commands);
    states.filter_map(|state| Some((*heard.get(&state.causes.id)?, state))).collect()
}

/// Whether a page looked at the row of a command, and does not show it.
fn is_left_out(page: &HistoryPage, state: &State) -> bool {
    page.cursor.is_none_or(|cursor| state.row > cursor)
        && page.commands.iter().all(|shown| shown.row != state.row)
}

fn judge(case: &Case<'_>, inquiry: &Inquiry, finding: &Finding, at: Moment) -> Result<(), String> {
    match (&inquiry.question, finding) {
        (Question::Outcome(id), Finding::Outcome(Some(outcome))) => ended(case, id, outcome, at),
        (Question::Outcome(id), Finding::Outcome(None)) => in_flight(case, inquiry, id, at),
        (Question::History(filter), Finding::History(page)) => history(case, filter, page, at),
        (Question::Sessions { after, limit }, Finding::Sessions(sessions, _)) => {
            let most = usize::try_from(*limit).unwrap_or(PAGE.0);
            let names: Vec<_> = sessions.iter().map(|session| Some(&session.name)).collect();
            let before = std::iter::once(after.as_ref()).chain(names.iter().copied());
            if before.zip(&names).any(|(a, b)| a >= *b) || names.len() > most {
                return Err("the sessions are not in order, or too many".to_owned());
            }
            Ok(())
        }
        (Question::Cancel(id), Finding::Cancelled(true)) => {
            let mut known = of(case, id).flat_map(|known| &known.finished);
            let is_cancelled = known.any(|(_, o)| matches!(o.end, Ends::Cancelled(_)));
            if is_cancelled { Ok(()) } else { Err(format!("{id} was not cancelled")) }
        }
        (Question::Health, Finding::Health(_))
        | (Question::RecoverySummary, Finding::Recovery(_))
        | (Question::Cancel(_), Finding::Cancelled(false)) => Ok(()),
        _ => Err("it was answered with another question's answer".to_owned()),
    }
}

fn of<'c, 'h>(case: &'c Case<'h>, id: &Id) -> impl Iterator<Item = &'c Known<'h>> {
    case.account.commands.iter().filter(move |known| known.id == id)
}

fn ended(case: &Case<'_>, id: &Id, outcome: &Outcome, at: Moment) -> Result<(), String> {
    let mut given = of(case, id).flat_map(|known| &known.finished);
    let same = |o: &Outcome| o.end == outcome.end && o.session_version == outcome.session_version;
    if given.any(|(place, o)| same(o) && case.account.told(*place).seen <= at) {
        return Ok(());
    }
    Err(format!("{id} had not ended {}", show_outcome(outcome)))
}

/// Nobody had been told how it ended when the question was asked, and it had been accepted.
fn in_flight(case: &Case<'_>, inquiry: &Inquiry, id: &Id, at: Moment) -> Result<(), String> {
    let is_known = |known: &Known<'_>| case.account.told(known.accepted).seen <= at;
    if !of(case, id).any(is_known) {
        return Err(format!("{id} is said to be in flight and was never accepted"));
    }
    let told = case.history.ops.iter().any(|op| match &op.end {
        End::Answered { at, answer: Ok(_) } => {
            op.envelope.id.as_ref() == Some(id) && *at < inquiry.invoked
        }
        _ => false,
    });
    // A later fork may have it in flight again, where less than strict was asked for.
    let is_one = of(case, id).count() == 1 && case.history.lives.len() == 1;
    if told && is_one {
        return Err(format!("{id} is said to be in flight, and its outcome had been told"));
    }
    Ok(())
}

fn history(case: &Case<'_>, filter: &Filter, page: &HistoryPage, at: Moment) -> Result<(), String> {
    let asked = usize::try_from(filter.limit).unwrap_or(PAGE.0);
    let most = if asked == 0 { PAGE.1 } else { asked.min(PAGE.0) };
    if page.commands.len() > most {
        return Err(format!("{} commands, and {most} at most", page.commands.len()));
    }
    if page.truncated != page.cursor.is_some() {
        return Err("a page that ends early has a cursor, and no other".to_owned());
    }
    states(case, filter, &page.commands, at)
}

fn states(case: &Case<'_>, filter: &Filter, states: &[State], at: Moment) -> Result<(), String> {
    if let Some(pair) = states.windows(2).find(|pair| pair[0].row <= pair[1].row) {
        return Err(format!("row {} comes before row {}", pair[0].row, pair[1].row));
    }
    states.iter().try_for_each(|state| {
        if !fits(filter, state) {
            return Err(format!("row {} was not asked for", state.row));
        }
        let mut rows = case.account.commands.iter().filter(|known| known.row == state.row);
        if rows.any(|known| is_state(case, known, state, at)) {
            return Ok(());
        }
        let outcome = state.outcome.as_ref().map_or("in flight".to_owned(), show_outcome);
        let id = &state.causes.id;
        Err(format!("row {} is shown as {id}, {outcome}, and was never that", state.row))
    })
}

fn fits(filter: &Filter, state: &State) -> bool {
    let is = |from: Option<UnixMs>, to: Option<UnixMs>| {
        from.is_none_or(|from| state.accepted >= from) && to.is_none_or(|to| state.accepted < to)
    };
    let outcome = state.outcome.as_ref().map_or("in_flight", |outcome| outcome.end.name());
    (filter.session.is_none() || filter.session == state.causes.session)
        && !(filter.server_only && state.causes.session.is_some())
        && filter.id.as_ref().is_none_or(|id| *id == state.causes.id)
        && is(filter.from, filter.to)
        && filter.outcome.as_ref().is_none_or(|name| name == outcome)
        && filter.cursor.is_none_or(|cursor| state.row <= cursor)
}

/// Whether a command was what it is shown as.
fn is_state(case: &Case<'_>, known: &Known<'_>, state: &State, at: Moment) -> bool {
    let accepted = case.account.told(known.accepted);
    let same = accepted.seen <= at
        && state.causes == Causes::of(known.id.clone(), known.envelope)
        && state.lane_sequence == accepted.lane_sequence
        && state.accepted == accepted.at;
    same && match &state.outcome {
        None => state.finished.is_none(),
        Some(outcome) => known.finished.iter().any(|(place, given)| {
            let told = case.account.told(*place);
            told.seen <= at && **given == *outcome && state.finished == Some(told.at)
        }),
    }
}

#[cfg(test)]
mod tests {
    use orloj_net::envelope::{Filter, Finding, HistoryPage, Question};

    use super::LAW;
    use crate::commands::testing::*;

    fn two() -> Tale {
        let mut h = strict();
        h.does(&create("s"), int(0));
        h.does(&data(set("k", "a")).id("a").session("s"), ok());
        h
    }

    #[test]
    fn what_happened_is_shown() {
        let mut h = two();
        let outcome = Some(h.outcome(2));
        h.asks_beside(Question::Outcome("a".into()), Ok(Finding::Outcome(outcome)));
        let page = HistoryPage { commands: vec![h.state(2), h.state(1)], ..HistoryPage::default() };
        h.asks_beside(Question::History(Filter::default()), Ok(Finding::History(page)));
        h.dumps(0, &[("k", "a")]);
        h.holds();
    }

    #[test]
    fn what_a_page_leaves_out_is_found() {
        let page = |h: &Tale, cursor: Option<u64>| HistoryPage {
            commands: vec![h.state(2)],
            truncated: cursor.is_some(),
            cursor,
        };
        let mut h = two();
        h.does(&data(set("k", "b")).id("b").session("s"), ok());
        let whole = page(&h, None);
        h.asks_beside(Question::History(Filter::default()), Ok(Finding::History(whole)));
        h.dumps(0, &[("k", "b")]);
        h.breaks(LAW.name, "b is not shown, and its outcome had been told");

        let mut h = two();
        let first = HistoryPage { commands: Vec::new(), truncated: true, cursor: Some(2) };
        h.asks_beside(Question::History(Filter::default()), Ok(Finding::History(first)));
        let rest = page(&h, Some(1));
        let filter = Filter { cursor: Some(2), ..Filter::default() };
        h.asks_beside(Question::History(filter), Ok(Finding::History(rest)));
        h.dumps(0, &[("k", "a")]);
        h.holds();
    }

    #[test]
    fn an_outcome_that_never_was_is_found() {
        let mut h = two();
        let outcome = Some(h.outcome(1));
        h.asks_beside(Question::Outcome("a".into()), Ok(Finding::Outcome(outcome)));
        h.breaks(LAW.name, "a had not ended ok 0, version 0");
        let mut h = two();
        h.asks_beside(Question::Outcome("a".into()), Ok(Finding::Outcome(None)));
        h.breaks(LAW.name, "its outcome had been told");
        let mut h = two();
        h.asks_beside(Question::Outcome("b".into()), Ok(Finding::Outcome(None)));
        h.breaks(LAW.name, "b is said to be in flight and was never accepted");
    }

    #[test]
    fn a_page_that_is_out_of_order_too_long_or_not_asked_for_is_found() {
        let story = |filter: Filter, rows: &[u64]| {
            let mut h = two();
            let commands = rows.iter().map(|row| h.state(*row)).collect();
            let page = HistoryPage { commands, ..HistoryPage::default() };
            h.asks_beside(Question::History(filter), Ok(Finding::History(page)));
            h
        };
        let all = Filter::default;
        story(all(), &[1, 2]).breaks(LAW.name, "row 1 comes before row 2");
        let one = Filter { limit: 1, ..all() };
        story(one, &[2, 1]).breaks(LAW.name, "2 commands, and 1 at most");
        let id = Filter { id: Some("a".into()), ..all() };
        story(id, &[2, 1]).breaks(LAW.name, "row 1 was not asked for");
    }

    #[test]
    fn a_command_shown_as_another_is_found() {
        let mut h = two();
        let mut state = h.state(2);
        state.lane_sequence += 1;
        let page = HistoryPage { commands: vec![state], ..HistoryPage::default() };
        h.asks_beside(Question::History(Filter::default()), Ok(Finding::History(page)));
        h.breaks(LAW.name, "row 2 is shown as a, ok OK, version 1, and was never that");
    }

    #[test]
    fn a_cancellation_that_was_none_is_found() {
        let mut h = two();
        h.asks_beside(Question::Cancel("a".into()), Ok(Finding::Cancelled(true)));
        h.breaks(LAW.name, "a was not cancelled");
    }
}

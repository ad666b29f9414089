//! Questions about commands that have been, answered from a snapshot beside the lanes.
//!
//! A page looks at a bounded number of rows. What is shown is as safe as an answer would be.

use std::collections::BTreeMap;

use orloj_net::{
    UnixMs,
    envelope::{
        Causes, Filter, HistoryPage, Id, Outcome, Record, Row, SessionName, SessionState, State,
        canonical::decode_row,
    },
};
use orloj_storage::{Error, Snapshot, database::KeyRange};

use super::tables::{Known, Session, Table, Tables, numbers, session_key};

/// Commands of a page, if nobody says how many, and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 500;
/// Rows that one page looks at.
const ROWS_MAX: usize = 20_000;

/// The commands of a history that a filter asks for, newest first.
///
/// # Errors
/// What the engine says.
pub(crate) async fn history(tables: &Tables, filter: &Filter) -> Result<HistoryPage, Error> {
    let look = Look { tables, at: tables.db.snapshot()? };
    if let Some(id) = &filter.id {
        return look.one(id, filter).await;
    }
    let wanted = match filter.limit as usize {
        0 => PAGE,
        limit => limit.min(PAGE_MAX),
    };
    let mut page = HistoryPage::default();
    let mut walk = look.walk(filter).await?;
    let mut looked_at = 0;
    while let Some((number, row)) = walk.next(&look).await? {
        walk.stays_on(filter, number, &row);
        if filter.from.is_some_and(|from| row.at < from) {
            return Ok(page);
        }
        if page.commands.len() == wanted || looked_at == ROWS_MAX {
            (page.truncated, page.cursor) = (true, Some(number));
            return Ok(page);
        }
        looked_at += 1;
        if filter.to.is_some_and(|to| row.at >= to) || filter.server_only && row.session.is_some() {
            continue;
        }
        if let Some(state) = look.state(number, row, &mut walk.ends).await?
            && matches(&state, filter)
        {
            page.commands.push(state);
        }
    }
    Ok(page)
}

/// The outcome of a command that is known: `Some(None)` is in flight.
///
/// # Errors
/// What the engine says.
pub(crate) async fn outcome(tables: &Tables, id: &Id) -> Result<Option<Option<Outcome>>, Error> {
    let look = Look { tables, at: tables.db.snapshot()? };
    let Some(known) = look.known(id).await? else { return Ok(None) };
    let row = look.row(known.finished).await?;
    Ok(match row.map(|row| row.record) {
        Some(Record::Whole { outcome, .. } | Record::Finished { outcome, .. }) => {
            Some(Some(outcome))
        }
        _ if known.finished == 0 => Some(None),
        // Retention has dropped it.
        _ => None,
    })
}

/// Sessions in the order of their names, and whether there are more.
///
/// # Errors
/// What the engine says.
pub(crate) async fn sessions(
    tables: &Tables,
    after: Option<&SessionName>,
    limit: u32,
) -> Result<(Vec<SessionState>, bool), Error> {
    let wanted = if limit == 0 { PAGE } else { (limit as usize).min(PAGE_MAX) };
    let at = tables.db.snapshot()?;
    let from = after.map_or(b"s".to_vec(), |name| [&session_key(Some(name))[..], &[0]].concat());
    let range = KeyRange { from: &from, to: None };
    let mut rest = tables.db.cursor(tables.of(Table::Sessions), range, &at)?;
    let mut found = Vec::new();
    while let Some(item) = rest.next().await? {
        let name = item.key.strip_prefix(b"s").and_then(|name| std::str::from_utf8(name).ok());
        let (Some(name), Some(session)) = (name, Session::decode(item.value)) else { continue };
        if !session.is_alive {
            continue;
        }
        if found.len() == wanted {
            return Ok((found, true));
        }
        let Session { version, lane_sequence, created, .. } = session;
        found.push(SessionState { name: name.into(), version, lane_sequence, created });
    }
    Ok((found, false))
}

fn matches(state: &State, filter: &Filter) -> bool {
    let outcome = state.outcome.as_ref().map_or("in_flight", |outcome| outcome.end.name());
    filter.outcome.as_ref().is_none_or(|wanted| wanted == outcome)
        && filter.to.is_none_or(|to| state.accepted < to)
        && filter.from.is_none_or(|from| state.accepted >= from)
        && filter.session.as_ref().is_none_or(|name| state.causes.session.as_ref() == Some(name))
}

struct Look<'a> {
    tables: &'a Tables,
    at: Snapshot,
}

/// Where a walk through the history is.
struct Walk {
    /// The next row, newest first; 0 is none.
    next: u64,
    /// Whether it follows a lane, as long as that has no row that retention has dropped.
    follows_lane: bool,
    /// Outcomes of rows that were passed, by the row of the acceptance.
    ends: BTreeMap<u64, (UnixMs, Outcome)>,
}

impl Walk {
    async fn next(&mut self, look: &Look<'_>) -> Result<Option<(u64, Row)>, Error> {
        if self.next == 0 {
            return Ok(None);
        }
        let found = match look.row(self.next).await? {
            Some(row) => Some((self.next, row)),
            None => {
                self.follows_lane = false;
                look.newest_up_to(self.next).await?
            }
        };
        self.next = match &found {
            Some((_, row)) if self.follows_lane => row.before,
            Some((number, _)) => number - 1,
            None => 0,
        };
        Ok(found)
    }

    /// From a row of another lane it goes on by numbers.
    fn stays_on(&mut self, filter: &Filter, number: u64, row: &Row) {
        if self.follows_lane && row.session != filter.session {
            (self.follows_lane, self.next) = (false, number - 1);
        }
    }
}

impl Look<'_> {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut value = Vec::new();
        let found = self.tables.db.get_at(self.tables.of(table), key, &self.at, &mut value).await?;
        Ok(found.map(|_| value))
    }

    async fn row(&self, number: u64) -> Result<Option<Row>, Error> {
        let value = self.get(Table::History, &number.to_be_bytes()).await?;
        Ok(value.and_then(|value| decode_row(&value).ok()))
    }

    /// The newest row that is kept of those up to that number.
    async fn newest_up_to(&self, number: u64) -> Result<Option<(u64, Row)>, Error> {
        let to = number.saturating_add(1).to_be_bytes();
        let range = KeyRange { from: &[], to: Some(&to) };
        let mut rows = self.tables.db.cursor(self.tables.of(Table::History), range, &self.at)?;
        Ok(rows.back().await?.and_then(|item| {
            let number = item.key.try_into().map(u64::from_be_bytes).ok()?;
            Some((number, decode_row(item.value).ok()?))
        }))
    }

    async fn known(&self, id: &Id) -> Result<Option<Known>, Error> {
        let value = self.get(Table::Outcomes, id.as_bytes()).await?;
        Ok(value.and_then(|value| Known::decode(&value)))
    }

    async fn one(&self, id: &Id, filter: &Filter) -> Result<HistoryPage, Error> {
        let anonymous = id.strip_prefix(orloj_net::envelope::ANONYMOUS);
        let accepted = match anonymous {
            Some(row) => row.parse().unwrap_or(0),
            None => self.known(id).await?.map_or(0, |known| known.accepted),
        };
        let mut page = HistoryPage::default();
        if let Some(row) = self.row(accepted).await?
            && let Some(state) = self.state(accepted, row, &mut BTreeMap::new()).await?
            && state.causes.id == *id
            && matches(&state, filter)
        {
            page.commands.push(state);
        }
        Ok(page)
    }

    async fn walk(&self, filter: &Filter) -> Result<Walk, Error> {
        let follows_lane = filter.session.is_some() || filter.server_only;
        let next = match (filter.cursor, follows_lane) {
            (Some(cursor), _) => cursor,
            (None, true) => {
                let key = session_key(filter.session.as_ref());
                let lane = self.get(Table::Sessions, &key).await?;
                let lane = lane.and_then(|value| Session::decode(&value));
                lane.map_or(0, |lane| lane.last_row)
            }
            (None, false) => self.last_before(filter.to).await?,
        };
        Ok(Walk { next, follows_lane, ends: BTreeMap::new() })
    }

    /// The newest row written before `to`, by halving, since rows are written in the order of time.
    async fn last_before(&self, to: Option<UnixMs>) -> Result<u64, Error> {
        let mut rows =
            self.tables.db.cursor(self.tables.of(Table::History), (..).into(), &self.at)?;
        let number = |key: &[u8]| key.try_into().map_or(0, u64::from_be_bytes);
        let newest = rows.back().await?.map_or(0, |item| number(item.key));
        let Some(to) = to else { return Ok(newest) };
        let oldest = rows.next().await?.map_or(newest, |item| number(item.key));
        let (mut from, mut until) = (oldest, newest + 1);
        while from < until {
            let middle = from + (until - from) / 2;
            let row = match self.row(middle).await? {
                Some(row) => Some(row),
                None => self.newest_up_to(middle).await?.map(|(_, row)| row),
            };
            if row.is_none_or(|row| row.at < to) { from = middle + 1 } else { until = middle }
        }
        Ok(from.saturating_sub(1))
    }

    /// What is known of the command that was accepted in that row, if one was.
    async fn state(
        &self,
        number: u64,
        row: Row,
        ends: &mut BTreeMap<u64, (UnixMs, Outcome)>,
    ) -> Result<Option<State>, Error> {
        let Row { lane_sequence, at, .. } = row;
        let (id, envelope, end) = match row.record {
            Record::Whole { id, envelope, outcome } => (id, envelope, Some((at, outcome))),
            Record::Accepted { id, envelope } => {
                let end = match ends.remove(&number) {
                    Some(end) => Some(end),
                    None => self.end(number).await?,
                };
                (id, envelope, end)
            }
            Record::Finished { accepted, outcome } => {
                ends.insert(accepted, (at, outcome));
                return Ok(None);
            }
            Record::Started { .. } => return Ok(None),
        };
        let causes = Causes::of(id, &envelope);
        let (finished, outcome) = end.unzip();
        Ok(Some(State { row: number, causes, lane_sequence, accepted: at, finished, outcome }))
    }

    /// The outcome of a command that has several rows.
    async fn end(&self, accepted: u64) -> Result<Option<(UnixMs, Outcome)>, Error> {
        let value = self.get(Table::Ends, &accepted.to_be_bytes()).await?;
        let Some([finished]) = value.and_then(|value| numbers(&value)) else { return Ok(None) };
        let row = self.row(finished).await?;
        Ok(row.and_then(|row| match row.record {
            Record::Finished { outcome, .. } => Some((row.at, outcome)),
            _ => None,
        }))
    }
}

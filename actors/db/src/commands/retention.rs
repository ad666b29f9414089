//! Retention: which rows of the history go, and what goes with them.
//!
//! Rows go from the oldest on, some a turn, in a commit of their own: they are no effects, and a
//! crash finds all of that commit or nothing. A row stays, and with it all that are newer, as long
//! as a command in flight, or what one depends on, or an idempotency key that still counts rests on
//! it. Rows of commands with an id stay, too, while so few outcomes are known; they are stepped
//! over, so what has no id does not grow behind them. With the row of its acceptance a command's
//! outcome is forgotten: its id is unknown from then on.
//!
//! Invariant: no row is older than `first_row`, and the last row of a lane goes when it is the
//! oldest of all. So a lane that is forgotten has no row left.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use orloj_kernel::{mutant, sometimes};
use orloj_net::{
    UnixMs,
    envelope::{Record, Row, SessionName, canonical::decode_row},
};
use orloj_storage::{Error, database::KeyRange};

use super::{
    Commands, Now, Told, ToldStep,
    tables::{Session, Table, scoped, session_key},
};
use crate::config::HistoryRetention;

/// Rows that are looked at in one turn.
const STEP: usize = 256;
/// How long nothing is tried when a command in flight has everything stay.
const REST: Duration = Duration::from_secs(1);
/// After so long those are looked at again that were the last of their lanes.
const AGAIN: Duration = Duration::from_secs(60);

/// When rows are to go.
#[derive(Clone, Debug)]
pub(super) struct Retention {
    keep: HistoryRetention,
    /// When the oldest row that is not stepped over will be too old; unknown is at once.
    due: Option<UnixMs>,
    /// Nothing is tried before.
    rest_until: UnixMs,
    /// The number of the next row when no more could go.
    at_end: Option<u64>,
    /// Rows before it were looked at, and stay until they are the oldest.
    swept: u64,
    /// When to look at them again, if some were the last of their lanes.
    again: Option<UnixMs>,
    needs: Needs,
}

/// What commands in flight need.
#[derive(Clone, Debug, Default)]
struct Needs {
    /// The last command that was looked at.
    seen: u64,
    /// The oldest row that each needs, by ticket.
    oldest: BTreeMap<u64, u64>,
    /// The same, by row.
    rows: BTreeSet<(u64, u64)>,
}

/// Why a row stays.
enum Stay {
    /// It is not too old, before that moment.
    Until(UnixMs),
    /// Something rests on it, and on all that are newer.
    Needed,
    /// Of outcomes no more may go.
    AtLeast,
    /// It is the last of its lane, and others of that lane may be left.
    Last,
}

impl Retention {
    pub(super) fn new(keep: &HistoryRetention) -> Retention {
        Retention {
            keep: *keep,
            due: Some(UnixMs(0)),
            rest_until: UnixMs(0),
            at_end: None,
            swept: 0,
            again: None,
            needs: Needs::default(),
        }
    }

    /// A row was written while there was no other.
    pub(super) fn first_row(&mut self, at: UnixMs) {
        self.due = Some(at.after(self.keep.age));
    }

    /// A command is in flight no more.
    pub(super) fn ended(&mut self, ticket: u64) {
        if let Some(row) = self.needs.oldest.remove(&ticket) {
            self.needs.rows.remove(&(row, ticket));
        }
    }
}

impl Commands {
    /// Whether rows are to go.
    pub(crate) fn is_trimming(&self, now: UnixMs) -> bool {
        let Retention { keep, due, rest_until, at_end, .. } = &self.retention;
        let is_over = self.totals.bytes > keep.bytes || due.is_some_and(|due| due <= now);
        is_over && *rest_until <= now && *at_end != Some(self.totals.next_row)
    }

    /// When rows are to go, if nothing else happens.
    pub(super) fn next_trim(&self) -> Option<UnixMs> {
        let Retention { due, rest_until, at_end, .. } = &self.retention;
        let due = due.filter(|_| *at_end != Some(self.totals.next_row));
        due.map(|due| due.max(*rest_until))
    }

    /// Drops rows that need not be kept, with the next commit, which is for that alone.
    ///
    /// # Errors
    /// What the engine says. What cannot be read now goes later.
    pub(crate) async fn trim(&mut self, now: Now) -> Result<(), Error> {
        assert!(self.writes.is_empty(), "a commit of its own");
        // If something cannot be read.
        self.retention.due = Some(now.at);
        self.retention.rest_until = now.at.after(REST);
        if self.retention.again.is_some_and(|again| again <= now.at) {
            (self.retention.swept, self.retention.again) = (0, None);
        }
        let needed = self.needed().await?;
        let mut next = self.totals.first_row;
        let mut is_oldest = true;
        for _ in 0..STEP {
            let Some((number, row, bytes)) = self.row_from(next).await? else {
                if self.totals.bytes == 0 {
                    self.totals.first_row = self.totals.next_row;
                }
                self.retention.at_end = Some(self.totals.next_row);
                break;
            };
            if is_oldest {
                self.totals.first_row = number;
            }
            next = number + 1;
            match self.may_go(number, &row, is_oldest, needed, now).await? {
                None => {
                    self.drop_row(number, row, bytes, is_oldest, now).await?;
                    sometimes!(now.cx, true, "commands: a row of the history was dropped");
                    sometimes!(now.cx, !is_oldest, "commands: rows were stepped over");
                    if is_oldest {
                        self.totals.first_row = next;
                        self.trimmed = Some(next);
                    }
                }
                Some(Stay::Until(due)) => {
                    self.retention.due = Some(due);
                    break;
                }
                Some(Stay::Needed) => {
                    sometimes!(now.cx, true, "commands: a row was too old, and needed");
                    return Ok(());
                }
                Some(Stay::AtLeast) if is_oldest => {
                    is_oldest = false;
                    next = next.max(self.retention.swept);
                }
                Some(Stay::AtLeast) => {}
                Some(Stay::Last) => {
                    self.retention.again.get_or_insert(now.at.after(AGAIN));
                }
            }
            if !is_oldest {
                self.retention.swept = next;
            }
        }
        self.retention.rest_until = now.at;
        Ok(())
    }

    /// The oldest row that commands in flight, or what they depend on, still need. What a command
    /// depends on is known when it is accepted, or gets a row behind its own.
    async fn needed(&mut self) -> Result<u64, Error> {
        let mut needed = self.totals.next_row;
        let mut fresh = Vec::new();
        let mut has_rows = true;
        for (ticket, flight) in self.flights.range(self.retention.needs.seen + 1..) {
            let mut oldest = match flight.row {
                0 => needed,
                row => row,
            };
            for on in &flight.envelope.depends_on {
                if let Some(known) = self.tables.known(Table::Outcomes, on.as_bytes()).await? {
                    oldest = oldest.min(known.accepted);
                }
            }
            has_rows &= flight.row > 0;
            match has_rows {
                true => fresh.push((*ticket, oldest)),
                false => needed = needed.min(oldest),
            }
        }
        let needs = &mut self.retention.needs;
        for (ticket, row) in fresh {
            needs.seen = ticket;
            needs.oldest.insert(ticket, row);
            needs.rows.insert((row, ticket));
        }
        Ok(needs.rows.first().map_or(needed, |(row, _)| needed.min(*row)))
    }

    /// The oldest row from that number on, and how many bytes it has.
    async fn row_from(&self, number: u64) -> Result<Option<(u64, Row, u64)>, Error> {
        let key = number.to_be_bytes();
        let found = |number, key: &[u8], value: &[u8]| {
            let size = (key.len() + value.len()) as u64;
            decode_row(value).ok().map(|row| (number, row, size))
        };
        if let Some(value) = self.tables.get(Table::History, &key).await? {
            return Ok(found(number, &key, &value));
        }
        let at = self.tables.db.newest_snapshot()?;
        let range = KeyRange { from: &key, to: None };
        let mut rest = self.tables.db.cursor(self.tables.of(Table::History), range, &at)?;
        Ok(rest.next().await?.and_then(|item| {
            let number = item.key.try_into().map(u64::from_be_bytes).ok()?;
            found(number, item.key, item.value)
        }))
    }

    /// Why a row stays; `None` if it may go.
    async fn may_go(
        &self,
        number: u64,
        row: &Row,
        is_oldest: bool,
        needed: u64,
        now: Now,
    ) -> Result<Option<Stay>, Error> {
        let mut at = row.at;
        if let Record::Accepted { .. } = row.record
            && let Some(end) = self.tables.end(number).await?
            && let Some(finished) = self.tables.row(end).await?
        {
            at = finished.at;
        }
        let HistoryRetention { age, bytes, outcomes } = self.retention.keep;
        let due = at.after(age);
        if due > now.at && self.totals.bytes <= bytes {
            return Ok(Some(Stay::Until(due)));
        }
        if number >= needed {
            return Ok(Some(Stay::Needed));
        }
        match &row.record {
            Record::Accepted { envelope, .. } | Record::Whole { envelope, .. } => {
                if let Some(key) = &envelope.idempotency_key
                    && !mutant!(now.cx, "retention.counting_keys_go")
                {
                    let name = scoped(row.session.as_ref(), key);
                    let known = self.tables.known(Table::Idempotency, &name).await?;
                    if known.is_some_and(|known| known.accepted == number && known.until > now.at) {
                        return Ok(Some(Stay::Needed));
                    }
                }
                if envelope.id.is_some() && self.totals.outcomes <= outcomes {
                    return Ok(Some(Stay::AtLeast));
                }
            }
            Record::Started { accepted } | Record::Finished { accepted, .. }
                if !is_oldest && !mutant!(now.cx, "retention.drops_outcomes") =>
            {
                let accepted = self.tables.row(*accepted).await?.map(|row| row.record);
                let command = accepted.and_then(super::tables::accepted);
                if command.is_some_and(|(_, envelope)| envelope.id.is_some()) {
                    return Ok(Some(Stay::AtLeast));
                }
            }
            Record::Started { .. } | Record::Finished { .. } => {}
        }
        let is_last = !is_oldest && self.lane(row.session.as_ref()).await?.last_row == number;
        Ok(is_last.then_some(Stay::Last))
    }

    async fn lane(&self, name: Option<&SessionName>) -> Result<Session, Error> {
        match self.sessions.get(&name.cloned()) {
            Some(session) => Ok(*session),
            None => self.tables.session(name).await,
        }
    }

    async fn drop_row(
        &mut self,
        number: u64,
        row: Row,
        bytes: u64,
        is_oldest: bool,
        now: Now,
    ) -> Result<(), Error> {
        let lane = row.session;
        if let Some((_, envelope)) = super::tables::accepted(row.record) {
            if let Some(id) = envelope.id {
                let known = self.tables.known(Table::Outcomes, id.as_bytes()).await?;
                if known.is_some_and(|known| known.accepted == number) {
                    self.writes.delete(Table::Outcomes, id.as_bytes());
                    self.totals.outcomes -= 1;
                }
            }
            self.writes.delete(Table::Ends, &number.to_be_bytes());
        }
        if let Some(name) = lane.as_ref().filter(|_| is_oldest) {
            self.forget_session(name, number, now).await?;
        }
        self.writes.delete(Table::History, &number.to_be_bytes());
        self.totals.bytes -= bytes;
        Ok(())
    }

    /// Forgets the lane of a session that there is no more, with its last row. A session that is
    /// made again has a lane of its own: of the other nobody can see anything.
    async fn forget_session(
        &mut self,
        name: &SessionName,
        row: u64,
        now: Now,
    ) -> Result<(), Error> {
        let session = self.lane(Some(name)).await?;
        let lane = Some(name.clone());
        if session.last_row == row && !session.is_alive && !self.lanes.contains_key(&lane) {
            self.writes.delete(Table::Sessions, &session_key(Some(name)));
            self.sessions.remove(&lane);
            let step = || ToldStep::Forgotten(name.clone());
            self.tell(|| Told { at: now.at, lane_sequence: 0, step: step() });
        }
        Ok(())
    }
}

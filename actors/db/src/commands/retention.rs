//! Retention: which rows of the history go, and what goes with them.
//!
//! Rows go from the oldest on, some a turn, in a commit of their own: they are no effects, and a
//! crash finds all of that commit or nothing. A row stays, and with it all that are newer, as long
//! as anything rests on it: a command in flight, what one in flight depends on, an idempotency key
//! that still counts, or the number of outcomes that are kept whatever their age. With the row of
//! its acceptance a command's outcome is forgotten: its id is unknown from then on.

use std::time::Duration;

use orloj_kernel::sometimes;
use orloj_net::{
    UnixMs,
    envelope::{Record, Row, SessionName, canonical::decode_row},
};
use orloj_storage::Error;

use super::{
    Commands, Now,
    tables::{Table, scoped, session_key},
};
use crate::config::HistoryRetention;

/// Rows that go in one turn.
const STEP: usize = 256;
/// How long nothing is tried when a command in flight has everything stay.
const REST: Duration = Duration::from_secs(1);

/// When rows are to go.
#[derive(Clone, Debug)]
pub(super) struct Retention {
    keep: HistoryRetention,
    /// When the oldest row will be too old; unknown is at once.
    due: Option<UnixMs>,
    /// Nothing is tried before.
    rest_until: UnixMs,
    /// How many outcomes were known when no more could go because of their number.
    at_least: Option<u64>,
}

/// Why a row stays.
enum Stay {
    /// It is not too old, before that moment.
    Until(UnixMs),
    /// Something rests on it.
    Needed,
    /// Of its outcomes no more may go.
    AtLeast,
}

impl Retention {
    pub(super) fn new(keep: &HistoryRetention) -> Retention {
        Retention { keep: *keep, due: Some(UnixMs(0)), rest_until: UnixMs(0), at_least: None }
    }

    /// A row was written while there was no other.
    pub(super) fn first_row(&mut self, at: UnixMs) {
        self.due = Some(at.after(self.keep.age));
    }
}

impl Commands {
    /// Whether rows are to go.
    pub(crate) fn is_trimming(&self, now: UnixMs) -> bool {
        let Retention { keep, due, rest_until, at_least } = &self.retention;
        let is_over = self.totals.bytes > keep.bytes || due.is_some_and(|due| due <= now);
        is_over && *rest_until <= now && *at_least != Some(self.totals.outcomes)
    }

    /// When rows are to go, if nothing else happens.
    pub(super) fn next_trim(&self) -> Option<UnixMs> {
        let Retention { due, rest_until, at_least, .. } = &self.retention;
        let due = due.filter(|_| *at_least != Some(self.totals.outcomes));
        due.map(|due| due.max(*rest_until))
    }

    /// Drops the oldest rows that need not be kept, with the next commit, which is for that alone.
    ///
    /// # Errors
    /// What the engine says. What cannot be read now goes later.
    pub(crate) async fn trim(&mut self, now: Now) -> Result<(), Error> {
        assert!(self.writes.is_empty(), "a commit of its own");
        // If something cannot be read.
        self.retention.due = Some(now.at);
        self.retention.rest_until = now.at.after(REST);
        let needed = self.needed().await?;
        for _ in 0..STEP {
            let number = self.totals.first_row;
            let Some((row, bytes)) = self.row_and_size(number).await? else {
                self.retention.due = None;
                break;
            };
            match self.may_go(number, &row, needed, now.at).await? {
                None => {}
                Some(Stay::Until(due)) => {
                    self.retention.due = Some(due);
                    break;
                }
                Some(Stay::Needed) => {
                    sometimes!(now.cx, true, "commands: a row was too old, and needed");
                    return Ok(());
                }
                Some(Stay::AtLeast) => {
                    self.retention.at_least = Some(self.totals.outcomes);
                    break;
                }
            }
            self.drop_row(number, row, bytes).await?;
            sometimes!(now.cx, true, "commands: a row of the history was dropped");
            self.trimmed = Some(self.totals.first_row);
        }
        self.retention.rest_until = now.at;
        Ok(())
    }

    /// The oldest row that commands in flight, or what they depend on, still need.
    async fn needed(&self) -> Result<u64, Error> {
        let mut needed = self.totals.next_row;
        for flight in self.flights.values() {
            if flight.row > 0 {
                needed = needed.min(flight.row);
            }
            for on in &flight.envelope.depends_on {
                if let Some(known) = self.tables.known(Table::Outcomes, on.as_bytes()).await? {
                    needed = needed.min(known.accepted);
                }
            }
        }
        Ok(needed)
    }

    async fn row_and_size(&self, number: u64) -> Result<Option<(Row, u64)>, Error> {
        let key = number.to_be_bytes();
        let Some(bytes) = self.tables.get(Table::History, &key).await? else { return Ok(None) };
        let size = (key.len() + bytes.len()) as u64;
        Ok(decode_row(&bytes).ok().map(|row| (row, size)))
    }

    /// Why a row stays; `None` if it may go.
    async fn may_go(
        &self,
        number: u64,
        row: &Row,
        needed: u64,
        now: UnixMs,
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
        if due > now && self.totals.bytes <= bytes {
            return Ok(Some(Stay::Until(due)));
        }
        if number >= needed {
            return Ok(Some(Stay::Needed));
        }
        let (Record::Accepted { envelope, .. } | Record::Whole { envelope, .. }) = &row.record
        else {
            return Ok(None);
        };
        if let Some(key) = &envelope.idempotency_key {
            let name = scoped(row.session.as_ref(), key);
            let known = self.tables.known(Table::Idempotency, &name).await?;
            if known.is_some_and(|known| known.accepted == number && known.until > now) {
                return Ok(Some(Stay::Needed));
            }
        }
        let is_kept = envelope.id.is_some() && self.totals.outcomes <= outcomes;
        Ok(is_kept.then_some(Stay::AtLeast))
    }

    async fn drop_row(&mut self, number: u64, row: Row, bytes: u64) -> Result<(), Error> {
        let lane = row.session;
        if let Some((_, envelope)) = super::tables::accepted(row.record)
            && let Some(id) = envelope.id
        {
            let known = self.tables.known(Table::Outcomes, id.as_bytes()).await?;
            if known.is_some_and(|known| known.accepted == number) {
                self.writes.delete(Table::Outcomes, id.as_bytes());
                self.totals.outcomes -= 1;
            }
        }
        self.writes.delete(Table::Ends, &number.to_be_bytes());
        if let Some(name) = &lane {
            self.forget_session(name, number).await?;
        }
        self.writes.delete(Table::History, &number.to_be_bytes());
        self.totals.first_row = number + 1;
        self.totals.bytes -= bytes;
        Ok(())
    }

    /// Forgets the lane of a session that there is no more, with its last row.
    async fn forget_session(&mut self, name: &SessionName, row: u64) -> Result<(), Error> {
        let lane = Some(name.clone());
        let session = match self.sessions.get(&lane) {
            Some(session) => *session,
            None => self.tables.session(Some(name)).await?,
        };
        if session.last_row == row && !session.is_alive && !self.lanes.contains_key(&lane) {
            self.writes.delete(Table::Sessions, &session_key(Some(name)));
            self.sessions.remove(&lane);
        }
        Ok(())
    }
}

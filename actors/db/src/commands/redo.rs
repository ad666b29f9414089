//! Commands carried out again, as rows of a history tell that they were: each step by the same code
//! and in the order of the rows.
//!
//! What came from outside and left no other trace is taken from the rows: that a command arrived,
//! that its time was over or that it was cancelled when the row says so, that a restart or a disk
//! that could not be read ended it, and who of a circle was the youngest. Everything else is
//! computed.

use std::collections::BTreeMap;

use orloj_net::{
    Answer, Command, UnixMs,
    envelope::{
        Code, End, Failure, Id, Outcome, Record, Row, SessionName,
        canonical::{decode_row, encode_row, fingerprint},
        redaction::Field,
    },
};
use orloj_storage::Error;

use super::{
    Commands, Decision, Flight, FlightState, Kept, Now,
    admit::Before,
    tables::{Known, Table},
};
use crate::store::{Store, Wait};

/// What is known of one commit.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    /// The rows of it, by number.
    pub(crate) rows: BTreeMap<u64, Row>,
    /// Commands in flight of which their row has not all.
    pub(crate) whole: BTreeMap<u64, orloj_net::envelope::Envelope>,
    /// How long idempotency keys count, if that can be told.
    pub(crate) keep: Option<UnixMs>,
    /// Whether keys were forgotten.
    pub(crate) forgets: bool,
}

/// A write to a table: its key, and what it holds then.
pub(crate) type Write<'a> = (Table, &'a [u8], Option<&'a [u8]>);

/// What came of doing a step again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Redone {
    /// It was computed, and is the same.
    Same,
    /// It was taken as it is recorded.
    Taken,
    /// The same, since it rests on what is withheld.
    Withheld,
    /// It is another: what was expected and what was got.
    Other(String, String),
}

/// How commands are done again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// Whether rows were redacted after they were written.
    pub(crate) is_redacted: bool,
    /// Whether values everywhere are hashes: then commands that look into them cannot be computed,
    /// and others can though something is withheld.
    pub(crate) is_hashed: bool,
    /// Whether no command with keys can be computed.
    pub(crate) withholds_data: bool,
    /// The only session of which all rows are there, if that is so: what commands of others did
    /// is not known, so of its own no more is computed than what stands without the store.
    pub(crate) only: Option<SessionName>,
}

impl Commands {
    /// Does the steps of a commit again, and prepares what it would have written. Tells `each` what
    /// came of every row.
    ///
    /// # Errors
    /// What the engine says.
    pub(crate) async fn redo(
        &mut self,
        commit: &Commit,
        store: &mut Store,
        terms: &Terms,
        now: Now,
        each: &mut (dyn FnMut(u64, &Row, Redone) + Send),
    ) -> Result<(), Error> {
        if commit.forgets {
            self.forget(now).await?;
        }
        if let Some(until) = commit.keep {
            let keep = until.0.saturating_sub(now.at.0);
            self.limits.idempotency_keep = std::time::Duration::from_millis(keep);
        }
        let mut arrived = BTreeMap::new();
        let mut other = BTreeMap::new();
        let is_there = |row: &Row| terms.only.is_none() || row.session == terms.only;
        // What came together was there before any of it had its turn.
        for (number, row) in commit.rows.iter().filter(|(_, row)| is_there(row)) {
            if let Record::Accepted { .. } | Record::Whole { .. } = row.record {
                match self.arrive(*number, row, commit, now).await? {
                    Ok(ticket) => _ = arrived.insert(*number, ticket),
                    Err(why) => _ = other.insert(*number, why),
                }
            }
        }
        for (number, row) in &commit.rows {
            if !is_there(row) {
                self.learn(*number, row).await?;
                continue;
            }
            if let Some(why) = other.remove(number) {
                each(*number, row, Redone::Other("its acceptance".to_owned(), why));
                continue;
            }
            if terms.only.is_some() {
                self.totals.next_row = *number;
            }
            let done = self.redo_row(*number, row, &arrived, store, terms, now).await?;
            each(*number, row, done);
        }
        Ok(())
    }

    /// What a command of another session came to, of which not all rows are there.
    async fn learn(&mut self, number: u64, row: &Row) -> Result<(), Error> {
        let (id, accepted, outcome) = match &row.record {
            Record::Whole { id, outcome, .. } => (id.clone(), number, outcome),
            Record::Finished { accepted, outcome } => {
                let found = self.tables.row(*accepted).await?;
                let found = found.and_then(|row| super::tables::accepted(row.record));
                let Some((id, _)) = found else { return Ok(()) };
                (id, *accepted, outcome)
            }
            Record::Accepted { .. } | Record::Started { .. } => return Ok(()),
        };
        self.ids.remove(&id);
        self.outcomes.insert(id, Known { accepted, finished: number, ..Known::default() });
        self.fresh.insert(number, (row.lane_sequence, outcome.clone()));
        Ok(())
    }

    /// A command is there again, as it came; or why it would not have been accepted.
    async fn arrive(
        &mut self,
        number: u64,
        row: &Row,
        commit: &Commit,
        now: Now,
    ) -> Result<Result<u64, String>, Error> {
        let Some((id, shown)) = super::tables::accepted(row.record.clone()) else {
            return Ok(Err("no acceptance".to_owned()));
        };
        let whole = commit.whole.get(&number).cloned();
        let (envelope, kept, print) = match &row.withheld {
            None => {
                let print = fingerprint(&shown);
                (shown, None, print)
            }
            Some(withheld) => {
                let kept = Kept { envelope: Box::new(shown.clone()), withheld: withheld.clone() };
                (whole.unwrap_or(shown), Some(Box::new(kept)), withheld.fingerprint)
            }
        };
        match self.before(&envelope, &print, now).await? {
            Before::None => {}
            Before::InFlight(_) => return Ok(Err("it repeats one in flight".to_owned())),
            Before::Finished(row, ..) => {
                return Ok(Err(format!("it repeats the command of row {row}")));
            }
            Before::Other(field) => return Ok(Err(format!("its {field} was used for another"))),
            Before::Lost => return Ok(Err("what became of it cannot be understood".to_owned())),
        }
        self.session(&envelope.session).await?;
        let ticket = self.ticket();
        let flight = Box::new(Flight {
            deadline: envelope.deadline(row.at),
            id,
            envelope: Box::new(envelope),
            fingerprint: print,
            kept,
            accepted: row.at,
            state: FlightState::Queued,
            settled: 0,
            has_loaded: false,
            row: 0,
            is_new: true,
            askers: Vec::new(),
        });
        self.insert(ticket, flight);
        Ok(Ok(ticket))
    }

    async fn redo_row(
        &mut self,
        number: u64,
        row: &Row,
        arrived: &BTreeMap<u64, u64>,
        store: &mut Store,
        terms: &Terms,
        now: Now,
    ) -> Result<Redone, Error> {
        let accepted = match &row.record {
            Record::Accepted { .. } | Record::Whole { .. } => number,
            Record::Started { accepted } | Record::Finished { accepted, .. } => *accepted,
        };
        let found = arrived.get(&accepted).copied();
        let mut flights = self.flights.iter();
        let found = found.or_else(|| flights.find(|(_, f)| f.row == accepted).map(|(t, _)| *t));
        let Some(ticket) = found.filter(|ticket| self.flights.contains_key(ticket)) else {
            let got = format!("no command in flight that was accepted in row {accepted}");
            return Ok(Redone::Other("a command in flight".to_owned(), got));
        };
        let done = match &row.record {
            Record::Accepted { .. } => {
                self.write_acceptance(ticket);
                Redone::Same
            }
            Record::Started { .. } => {
                self.flights.get_mut(&ticket).expect(super::FLIES).state = FlightState::Started;
                self.write_start(ticket, now);
                Redone::Same
            }
            Record::Finished { outcome, .. } | Record::Whole { outcome, .. } => {
                self.redo_end(ticket, outcome, store, terms, now).await?
            }
        };
        let mut recorded = Vec::new();
        encode_row(row, &mut recorded);
        match self.writes.last_row(number) {
            Some(computed) if *computed == recorded[..] => Ok(done),
            Some(computed) => Ok(Redone::Other(tell(Ok(row)), tell(decode_row(computed).as_ref()))),
            None => Ok(Redone::Other(format!("row {number}"), self.next_to_tell(ticket))),
        }
    }

    fn next_to_tell(&self, ticket: u64) -> String {
        match self.flights.get(&ticket) {
            Some(flight) => format!("it is in flight: {:?}", flight.state),
            None => format!("a row {}", self.totals.next_row - 1),
        }
    }

    /// Brings a command to its end again.
    async fn redo_end(
        &mut self,
        ticket: u64,
        recorded: &Outcome,
        store: &mut Store,
        terms: &Terms,
        now: Now,
    ) -> Result<Redone, Error> {
        let flight = &self.flights[&ticket];
        let is_due = flight.deadline.is_some_and(|deadline| deadline <= now.at);
        let is_head = self.lanes[&flight.envelope.session].front() == Some(&ticket);
        let taken = match &recorded.end {
            End::TimedOut(_) => is_due,
            End::Cancelled(_) => flight.envelope.call.class().is_abortable,
            End::Failed(failure) => is_from_outside(failure),
            End::Ok(_) => false,
        };
        if taken {
            self.finish(ticket, recorded.end.clone(), now);
            return Ok(Redone::Taken);
        }
        if !is_head {
            self.finish(ticket, recorded.end.clone(), now);
            let expected = "its turn on its lane".to_owned();
            return Ok(Redone::Other(expected, "others stand before it".to_owned()));
        }
        let withheld: Vec<Field> =
            flight.kept.iter().flat_map(|k| k.withheld.fields.clone()).collect();
        let is_whole = flight.kept.as_ref().is_some_and(|k| k.envelope != flight.envelope);
        let decision = self.decide(ticket, now).await?;
        let Decision::Execute(command, _) = decision else {
            let Some(flight) = self.flights.get(&ticket) else { return Ok(Redone::Same) };
            // Whom it depends on may have come later in the same turn, which no row tells.
            if let (FlightState::Waiting { on, .. }, End::Failed(failure)) =
                (flight.state, &recorded.end)
                && failure.code == Code::DependencyUnknown
                && self.flights.get(&on).is_some_and(|on| on.row == 0)
            {
                self.finish(ticket, recorded.end.clone(), now);
                return Ok(Redone::Taken);
            }
            return Ok(Redone::Same);
        };
        let rests = terms.only.is_some()
            || terms.withholds_data
            || rests_on_withheld(&command, &withheld, is_whole, store, terms);
        if rests && !ends_before(recorded) {
            withhold(&command, &withheld, store);
            self.finish(ticket, recorded.end.clone(), now);
            return Ok(Redone::Withheld);
        }
        let answer = carry_out(&command, store, now.at).await?;
        self.executed(ticket, answer, now);
        Ok(Redone::Same)
    }

    /// What a commit is that a record of the journal tells of; `None` if no row is written.
    pub(crate) fn read_commit(writes: &[Write<'_>]) -> Option<Commit> {
        let mut commit = Commit::default();
        for (table, key, value) in writes {
            match (table, value) {
                (Table::History, Some(value)) => {
                    let number = (*key).try_into().ok().map(u64::from_be_bytes)?;
                    commit.rows.insert(number, decode_row(value).ok()?);
                }
                (Table::Inflight, Some(value)) => {
                    let number = (*key).try_into().ok().map(u64::from_be_bytes)?;
                    let whole = value.get(1..).filter(|bytes| !bytes.is_empty());
                    let whole = whole.map(orloj_net::envelope::canonical::decode_envelope);
                    if let Some(Ok(whole)) = whole {
                        commit.whole.insert(number, whole);
                    }
                }
                (Table::Outcomes | Table::Idempotency, Some(value)) => {
                    let known = Known::decode(value).filter(|known| known.finished > 0);
                    commit.keep = commit.keep.or(known.map(|known| known.until));
                }
                (Table::Expiries, None) => commit.forgets = true,
                _ => {}
            }
        }
        (!commit.rows.is_empty()).then_some(commit)
    }
}

/// What a row tells, for people: of a command's outcome no more than can be compared.
fn tell(row: Result<&Row, &orloj_net::envelope::canonical::Malformed>) -> String {
    let Ok(row) = row else { return "bytes that are no row".to_owned() };
    let place = format!("step {} behind row {}", row.lane_sequence, row.before);
    match &row.record {
        Record::Accepted { id, .. } => format!("{id} accepted, {place}"),
        Record::Started { accepted } => format!("the command of row {accepted} started, {place}"),
        Record::Finished { outcome, .. } | Record::Whole { outcome, .. } => {
            let version =
                outcome.session_version.map_or(String::new(), |v| format!(", version {v}"));
            match &outcome.end {
                End::Ok(answer) => format!("ok {}{version}, {place}", show(answer)),
                other => {
                    let failure = other.failure().map_or(String::new(), Failure::to_string);
                    format!("{} {failure}{version}, {place}", other.name())
                }
            }
        }
    }
}

/// An answer, for people; of long ones the beginning.
fn show(answer: &Answer) -> String {
    const LONG: usize = 64;
    match answer {
        Answer::Int(number) => number.to_string(),
        Answer::Bulk(value) => {
            let bytes = value.as_bytes();
            let more = if bytes.len() > LONG { "..." } else { "" };
            format!("\"{}{more}\"", bytes[..bytes.len().min(LONG)].escape_ascii())
        }
        Answer::List(items) => {
            let items: Vec<String> = items.iter().take(LONG).map(show).collect();
            format!("[{}]", items.join(", "))
        }
        Answer::Page { keys, .. } => {
            let keys = keys.iter().take(LONG).map(|key| key.escape_ascii().to_string());
            format!("keys {}", keys.collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}

/// Whether what ended a command came from outside.
fn is_from_outside(failure: &Failure) -> bool {
    let reason = failure.detail("reason");
    match failure.code {
        Code::DependencyTimeout | Code::DependencyCycle => true,
        Code::Unavailable => reason == Some("restart_in_flight"),
        Code::StorageFailure => true,
        _ => false,
    }
}

/// Whether a command came to its end without the store.
fn ends_before(outcome: &Outcome) -> bool {
    let code = outcome.end.failure().map(|failure| failure.code);
    matches!(
        code,
        Some(
            Code::DependencyFailed
                | Code::DependencyUnknown
                | Code::VersionMismatch
                | Code::Conflict
        )
    )
}

/// Whether what a command comes to cannot be computed.
fn rests_on_withheld(
    command: &Command,
    withheld: &[Field],
    is_whole: bool,
    store: &mut Store,
    terms: &Terms,
) -> bool {
    let recorded = store.recorded();
    let is_tainted = |key: &[u8]| recorded.withheld.contains(key);
    if recorded.withholds_all || command.keys().any(|key| is_tainted(key)) {
        return true;
    }
    let looks_at_all = matches!(command, Command::DbSize | Command::Scan { .. });
    if looks_at_all && recorded.is_withholding() {
        return true;
    }
    if terms.is_hashed {
        // Hashes of values are as equal as values, but have another length and are no numbers.
        return withheld.contains(&Field::Key)
            || matches!(
                command,
                Command::Append { .. } | Command::Incr { .. } | Command::StrLen { .. }
            );
    }
    !withheld.is_empty() && !is_whole
}

/// From here on it cannot be computed what the keys of a command hold.
fn withhold(command: &Command, withheld: &[Field], store: &mut Store) {
    let recorded = store.recorded();
    recorded.withholds_all |= withheld.contains(&Field::Key);
    if command.is_write() {
        recorded.withholds_all |= matches!(command, Command::FlushAll);
        recorded.withheld.extend(command.keys().map(|key| key.to_vec()));
    }
}

async fn carry_out(command: &Command, store: &mut Store, now: UnixMs) -> Result<Answer, Error> {
    loop {
        match store.execute(command, now) {
            Ok(answer) => return Ok(answer),
            Err(Wait::Rows) => store.load(std::slice::from_ref(command)).await?,
            Err(Wait::Walk) => return store.walk(command).await,
        }
    }
}

/// The id of a command, and its type.
pub(crate) fn named(row: &Row) -> Option<(&Id, &'static str)> {
    match &row.record {
        Record::Accepted { id, envelope } | Record::Whole { id, envelope, .. } => {
            Some((id, envelope.call.name()))
        }
        Record::Started { .. } | Record::Finished { .. } => None,
    }
}

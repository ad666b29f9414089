//! Histories of commands told in a few words, for the tests of the laws.

use std::{collections::BTreeMap, time::Duration};

use orloj_net::{
    Answer, Command, UnixMs,
    envelope::{
        Call, Causes, Code, End as Ends, Envelope, Event, Failure, Finding, Outcome, Question,
        SessionName, SessionState, Stage, State,
    },
};

use super::{
    Dump, End, History, Inquiry, Life, Limits, Operation, Subscription, Told, Upkeep, UpkeepKind,
    What, judge,
};
use crate::{Durability, Ending, Entry, Moment, OpId, Quiet};

pub(super) use crate::testing::{bulk, bytes, get, incr, int, nil, ok, set};

/// The wall clock of the node when true time is 0.
const WALL: u64 = 1_000_000;

#[derive(Clone, Debug)]
pub(super) struct Tale {
    pub(super) history: History,
    now: Moment,
    turn: u64,
    rows: u64,
    sequences: BTreeMap<Option<SessionName>, u64>,
    versions: BTreeMap<SessionName, u64>,
    accepted: BTreeMap<u64, (orloj_net::envelope::Id, Envelope, UnixMs, u64)>,
}

pub(super) fn strict() -> Tale {
    tale(Durability::Strict)
}

pub(super) fn buffered(window_ms: u64) -> Tale {
    tale(Durability::Buffered { window: Duration::from_millis(window_ms) })
}

fn tale(durability: Durability) -> Tale {
    let life =
        Life { began: Moment(0), recovered: 0, summary: None, told: Vec::new(), ended: None };
    let history = History {
        durability,
        limits: Limits { in_flight: 4, ..Limits::default() },
        ops: Vec::new(),
        inquiries: Vec::new(),
        subscriptions: Vec::new(),
        lives: vec![life],
        upkeep: Vec::new(),
        quiet: None,
        dumps: Vec::new(),
        halt: None,
    };
    Tale {
        history,
        now: Moment(0),
        turn: 0,
        rows: 0,
        sequences: BTreeMap::new(),
        versions: BTreeMap::new(),
        accepted: BTreeMap::new(),
    }
}

pub(super) fn create(session: &str) -> Envelope {
    Envelope::new(Call::CreateSession).session(session)
}

pub(super) fn delete(session: &str) -> Envelope {
    Envelope::new(Call::DeleteSession).session(session)
}

pub(super) fn load(session: &str) -> Envelope {
    Envelope::new(Call::LoadSession).session(session)
}

pub(super) fn data(command: Command) -> Envelope {
    Envelope::new(command)
}

pub(super) fn failed(code: Code, details: &[(&str, &str)]) -> Ends {
    Ends::Failed(failure(code, details))
}

pub(super) fn failure(code: Code, details: &[(&str, &str)]) -> Failure {
    details.iter().fold(Failure::new(code, "no"), |f, (name, value)| f.with(name, *value))
}

pub(super) fn timed_out() -> Ends {
    Ends::TimedOut(Failure::new(Code::Timeout, "late"))
}

pub(super) fn cancelled() -> Ends {
    Ends::Cancelled(Failure::new(Code::Cancelled, "no more"))
}

pub(super) fn restarted() -> Ends {
    failed(Code::Cancelled, &[("reason", "restart_in_flight")])
}

impl Tale {
    fn tick(&mut self) -> Moment {
        self.now = self.now.after(Duration::from_millis(1));
        self.now
    }

    pub(super) fn wall(&self) -> UnixMs {
        UnixMs(WALL + self.now.0 / 1_000_000)
    }

    pub(super) fn wait_ms(&mut self, ms: u64) {
        self.now = self.now.after(Duration::from_millis(ms));
    }

    /// What happens from here on is another turn.
    pub(super) fn turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    fn life(&mut self) -> &mut Life {
        self.history.lives.last_mut().expect("a tale has a life")
    }

    fn tells(&mut self, lane_sequence: u64, what: What) {
        let (seen, at, turn) = (self.tick(), self.wall(), self.turn);
        self.life().told.push(Told { turn, at, lane_sequence, seen, what });
    }

    /// The step told last, to be spoilt.
    pub(super) fn last(&mut self) -> &mut Told {
        self.life().told.last_mut().expect("something was told")
    }

    /// The outcome told last, to be spoilt.
    pub(super) fn last_outcome(&mut self) -> &mut Outcome {
        match &mut self.last().what {
            What::Finished { outcome, .. } => outcome,
            _ => panic!("nothing was finished last"),
        }
    }

    fn count(&mut self, session: Option<SessionName>) -> u64 {
        let sequence = self.sequences.entry(session).or_default();
        *sequence += 1;
        *sequence
    }

    /// A client sends a request.
    pub(super) fn asks(&mut self, envelope: &Envelope) -> OpId {
        let id = OpId { client: 0, number: self.history.ops.len() as u32 };
        let (invoked, envelope) = (self.tick(), envelope.clone());
        self.history.ops.push(Operation { id, invoked, line: None, envelope, end: End::Open });
        id
    }

    /// The node accepts what was asked, in the turn that is.
    pub(super) fn accepts(&mut self, envelope: &Envelope) -> u64 {
        self.rows += 1;
        let row = self.rows;
        let id = envelope.id.clone().unwrap_or_else(|| format!("anon:{row}").into());
        let sequence = self.count(envelope.session.clone());
        let what = What::Accepted { row, id: id.clone(), envelope: Box::new(envelope.clone()) };
        self.tells(sequence, what);
        self.accepted.insert(row, (id, envelope.clone(), self.wall(), sequence));
        row
    }

    /// A client asks, and the node accepts.
    pub(super) fn sends(&mut self, envelope: &Envelope) -> u64 {
        self.asks(envelope);
        self.accepts(envelope)
    }

    pub(super) fn starts(&mut self, row: u64) {
        let session = self.accepted[&row].1.session.clone();
        let sequence = self.count(session);
        self.tells(sequence, What::Started { row });
    }

    pub(super) fn ends(&mut self, row: u64, end: Ends) {
        let envelope = self.accepted[&row].1.clone();
        let sequence = self.count(envelope.session.clone());
        if let (Some(session), true) = (&envelope.session, end.is_ok()) {
            match envelope.call {
                Call::CreateSession => {
                    self.versions.insert(session.clone(), 0);
                }
                Call::DeleteSession => {
                    self.versions.remove(session);
                }
                _ if envelope.call.class().is_read_only => {}
                _ => *self.versions.entry(session.clone()).or_default() += 1,
            }
        }
        let session_version =
            envelope.session.as_ref().and_then(|session| self.versions.get(session)).copied();
        let outcome = Outcome { end, session_version, replayed: false };
        self.tells(sequence, What::Finished { row, outcome });
    }

    /// It is accepted, started and finished in a turn of its own.
    pub(super) fn runs(&mut self, envelope: &Envelope, end: Ends) -> u64 {
        self.turn();
        let row = self.sends(envelope);
        self.starts(row);
        self.ends(row, end);
        row
    }

    /// It is answered as well.
    pub(super) fn does(&mut self, envelope: &Envelope, answer: Answer) -> u64 {
        let row = self.runs(envelope, Ends::Ok(answer));
        self.hears(self.history.ops.len() - 1, row);
        row
    }

    /// How the command of a row ended.
    pub(super) fn outcome(&self, row: u64) -> Outcome {
        let told = self.history.lives.iter().flat_map(|life| &life.told).rev();
        let mut outcomes = told.filter_map(|told| match &told.what {
            What::Finished { row: of, outcome } if *of == row => Some(outcome.clone()),
            _ => None,
        });
        outcomes.next().expect("it was finished")
    }

    /// The request `op` hears the outcome of a row.
    pub(super) fn hears(&mut self, op: usize, row: u64) {
        let answer = Ok(self.outcome(row));
        self.is_told(op, answer);
    }

    pub(super) fn is_told(&mut self, op: usize, answer: Result<Outcome, Failure>) {
        let at = self.tick();
        self.history.ops[op].end = End::Answered { at, answer };
    }

    /// A client asks again, and is told what was.
    pub(super) fn repeats(&mut self, envelope: &Envelope, row: u64) -> usize {
        self.asks(envelope);
        self.tells(0, What::Repeated { envelope: Box::new(envelope.clone()), row });
        let outcome = Outcome { replayed: true, ..self.outcome(row) };
        self.is_told(self.history.ops.len() - 1, Ok(outcome));
        self.history.ops.len() - 1
    }

    pub(super) fn refuses(&mut self, envelope: &Envelope, failure: Failure) {
        self.asks(envelope);
        let envelope = Box::new(envelope.clone());
        self.tells(0, What::Refused { envelope, failure: failure.clone() });
        self.is_told(self.history.ops.len() - 1, Err(failure));
    }

    pub(super) fn plain(&mut self, command: Command, answer: Answer) {
        self.turn();
        self.tells(0, What::Plain { command, answer });
    }

    /// The disk takes nothing from a turn on.
    pub(super) fn undoes(&mut self, turn: u64) {
        self.tells(0, What::Undone);
        self.last().turn = turn;
        self.reset(turn);
    }

    pub(super) fn dies(&mut self, how: Ending) {
        let at = self.tick();
        self.life().ended = Some((at, how));
    }

    pub(super) fn recovers(&mut self, recovered: u64) {
        let began = self.tick();
        let told = Vec::new();
        self.history.lives.push(Life { began, recovered, summary: None, told, ended: None });
        self.reset(recovered + 1);
    }

    /// Forgets what was told in `turn` and behind it.
    fn reset(&mut self, turn: u64) {
        self.turn = turn - 1;
        self.rows = 0;
        self.sequences.clear();
        let accepted = std::mem::take(&mut self.accepted);
        let told = self.history.lives.iter().flat_map(|life| &life.told);
        let mut held: Vec<&Told> = Vec::new();
        for told in told {
            match told.what {
                What::Undone => held.retain(|held| held.turn < told.turn),
                _ => held.push(told),
            }
        }
        self.versions.clear();
        for told in held.into_iter().filter(|told| told.turn < turn) {
            let row = match &told.what {
                What::Accepted { row, .. } | What::Started { row } => row,
                What::Finished { row, outcome } => {
                    let session = accepted[row].1.session.clone();
                    match (session, outcome.session_version) {
                        (Some(session), Some(version)) => {
                            self.versions.insert(session, version);
                        }
                        (Some(session), None) => {
                            self.versions.remove(&session);
                        }
                        _ => {}
                    }
                    row
                }
                _ => continue,
            };
            self.rows = self.rows.max(*row);
            self.accepted.insert(*row, accepted[row].clone());
            let session = accepted[row].1.session.clone();
            self.sequences.insert(session, told.lane_sequence);
        }
    }

    pub(super) fn asks_beside(&mut self, question: Question, answer: Result<Finding, Failure>) {
        let (invoked, at) = (self.tick(), self.tick());
        self.history.inquiries.push(Inquiry { invoked, question, answer: Some((at, answer)) });
    }

    pub(super) fn state(&self, row: u64) -> State {
        let (id, envelope, accepted, lane_sequence) = self.accepted[&row].clone();
        let told = self.history.lives.iter().flat_map(|life| &life.told);
        let mut ends = told.filter_map(|told| match &told.what {
            What::Finished { row: of, outcome } if *of == row => Some((told.at, outcome.clone())),
            _ => None,
        });
        let (finished, outcome) = ends.next_back().unzip();
        let causes = Causes::of(id, &envelope);
        State { row, causes, lane_sequence, accepted, finished, outcome }
    }

    /// All of a session's, or of everybody's, events so far, heard by somebody.
    pub(super) fn follows(&mut self, session: Option<&str>) -> &mut Subscription {
        let mut heard = Vec::new();
        for told in self.history.lives.iter().flat_map(|life| &life.told) {
            let (row, stage) = match &told.what {
                What::Accepted { row, .. } => (row, Stage::Accepted),
                What::Started { row } => (row, Stage::Started),
                What::Finished { row, outcome } => (row, Stage::Finished(outcome.clone())),
                _ => continue,
            };
            let (id, envelope, ..) = &self.accepted[row];
            if session.is_some() && envelope.session.as_deref() != session {
                continue;
            }
            let causes = Causes::of(id.clone(), envelope);
            let (lane_sequence, at) = (told.lane_sequence, told.at);
            heard.push((told.seen, Event { causes, lane_sequence, at, stage }));
        }
        let session = session.map(Into::into);
        self.history.subscriptions.push(Subscription { session, began: Moment(0), heard });
        self.history.subscriptions.last_mut().expect("it was pushed")
    }

    pub(super) fn upkeep(&mut self, kind: UpkeepKind, before: &[State], after: &[State]) {
        let (before, after, done) = (before.to_vec(), after.to_vec(), self.tick());
        self.history.upkeep.push(Upkeep { done, kind, before, after });
    }

    pub(super) fn quiet(&mut self) {
        let (began, bound) = (self.tick(), Duration::from_millis(100));
        self.history.quiet = Some(Quiet { began, bound });
    }

    /// A full read that shows these keys, and the sessions and commands as they were told.
    pub(super) fn dumps(&mut self, recoveries: u32, entries: &[(&str, &str)]) -> &mut Dump {
        let entry =
            |(k, v): &(&str, &str)| Entry { key: bytes(k), value: bytes(v), deadline: None };
        let entries = entries.iter().map(entry).collect();
        let sessions = self.versions.iter().map(|(name, version)| SessionState {
            name: name.clone(),
            version: *version,
            lane_sequence: self.sequences[&Some(name.clone())],
            created: UnixMs(0),
        });
        let sessions = sessions.collect();
        let commands = self.accepted.keys().rev().map(|row| self.state(*row)).collect();
        let (seen, at) = (self.tick(), self.wall());
        self.history.dumps.push(Dump { seen, at, recoveries, entries, sessions, commands });
        self.history.dumps.last_mut().expect("it was pushed")
    }

    /// Asserts that every law holds; `progress` only of a tale that has a quiet end.
    pub(super) fn holds(&self) {
        let mut broken = judge(&self.history);
        broken.retain(|violation| violation.law != "progress" || self.history.quiet.is_some());
        assert_eq!(broken, [], "it holds");
    }

    /// Asserts that the law is broken, and that the evidence says this.
    pub(super) fn breaks(&self, law: &str, evidence: &str) {
        let broken = judge(&self.history);
        let found = broken.iter().find(|violation| violation.law == law);
        let found = found.unwrap_or_else(|| panic!("{law} holds; broken: {broken:#?}"));
        assert!(found.evidence.contains(evidence), "{}", found.evidence);
    }
}

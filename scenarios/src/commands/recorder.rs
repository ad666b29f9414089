//! The witness of a run with commands in envelopes. Lives, strikes and halts are the business of
//! the one that every scenario about a node has.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orloj_db::{Lived, Observer, Seen, Step, Summary};
use orloj_invariants::{
    OpId,
    commands::{
        Dump, End, History, Inquiry, Life, Limits, Operation, Subscription, Told, What,
        show_envelope, show_outcome, show_step,
    },
};
use orloj_net::{
    UnixMs,
    envelope::{
        Envelope, Event, Failure, Finding, Outcome, Question, RecoverySummary, SessionName,
        SessionState, State,
    },
};
use orloj_sim::{Control, graph::Kind};

use crate::{Tally, recorder::now, scenario::Plan};

/// Shared by everybody in the world. Nothing is held across an await.
pub(super) struct Recorder {
    /// What it knows of the node's lives.
    pub(super) base: Arc<crate::recorder::Recorder>,
    inner: Mutex<Inner>,
    tells: bool,
}

#[derive(Default)]
struct Inner {
    ops: Vec<Operation>,
    numbers: BTreeMap<u32, u32>,
    lines: u64,
    inquiries: Vec<Inquiry>,
    subscriptions: Vec<Subscription>,
    /// What each life said, and what of its recovery.
    told: Vec<(Vec<Told>, Option<RecoverySummary>)>,
    dumps: Vec<(Vec<SessionState>, Vec<State>)>,
}

impl Recorder {
    pub(super) fn new(plan: &Plan, tells: bool) -> Arc<Recorder> {
        let base = crate::recorder::Recorder::new(plan.durability, tells);
        Arc::new(Recorder { base, inner: Mutex::default(), tells })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, target: &'static str, line: impl FnOnce() -> String) {
        if self.tells {
            Control.tell(target, &line());
        }
    }

    fn tell_of(&self, kind: Kind, op: OpId, line: impl FnOnce() -> String) {
        if self.tells {
            Control.tell_of(kind, crate::recorder::number(op), "client", &line());
        }
    }

    // What clients say.

    /// A number for requests that keep their order.
    pub(super) fn line(&self) -> u64 {
        let mut inner = self.inner();
        inner.lines += 1;
        inner.lines
    }

    /// A client sends a request, behind those that went out on the same line.
    pub(super) fn asks(
        self: &Arc<Self>,
        client: u32,
        line: Option<u64>,
        envelope: Envelope,
    ) -> Asked {
        let mut inner = self.inner();
        let number = inner.numbers.entry(client).or_default();
        let id = OpId { client, number: *number };
        *number += 1;
        self.tell_of(Kind::Begin, id, || format!("{id}: {}", show_envelope(&envelope)));
        let place = inner.ops.len();
        inner.ops.push(Operation { id, invoked: now(), line, envelope, end: End::Open });
        drop(inner);
        Asked { recorder: self.clone(), place, id }
    }

    /// A client asks beside the lanes; what to give to [`Recorder::finds`].
    pub(super) fn inquires(&self, question: Question) -> usize {
        let mut inner = self.inner();
        inner.inquiries.push(Inquiry { invoked: now(), question, answer: None });
        inner.inquiries.len() - 1
    }

    /// It was answered.
    pub(super) fn finds(&self, place: usize, answer: Result<Finding, Failure>) {
        self.inner().inquiries[place].answer = Some((now(), answer));
    }

    /// How many lives the node has had.
    pub(super) fn lives(&self) -> usize {
        self.inner().told.len()
    }

    /// What the node says of the recovery that began its life of that number, counted from 1.
    pub(super) fn recovered_as(&self, life: usize, summary: RecoverySummary) {
        let mut inner = self.inner();
        if let Some((_, said)) = life.checked_sub(1).and_then(|life| inner.told.get_mut(life)) {
            *said = Some(summary);
        }
    }

    /// Somebody follows; what to give to [`Recorder::follows`].
    pub(super) fn joins(&self, session: Option<SessionName>) -> usize {
        let mut inner = self.inner();
        let subscription = Subscription { session, began: now(), heard: Vec::new() };
        inner.subscriptions.push(subscription);
        let place = inner.subscriptions.len() - 1;
        self.tell("follower", || format!("{place} follows"));
        place
    }

    /// A subscriber was told this.
    pub(super) fn follows(&self, place: usize, event: Event) {
        self.tell("follower", || {
            let (stage, causes) = (event.stage.name(), &event.causes);
            let lane = causes.session.as_deref().unwrap_or("-");
            format!("{place} heard {stage} of {}, lane {lane} {}", causes.id, event.lane_sequence)
        });
        self.inner().subscriptions[place].heard.push((now(), event));
    }

    // What the scenario says.

    /// All was read that is beside the keys.
    pub(super) fn dumps(&self, sessions: Vec<SessionState>, commands: Vec<State>) {
        self.inner().dumps.push((sessions, commands));
    }

    /// Sizes of what was seen.
    pub(super) fn tally(&self) -> Tally {
        let inner = self.inner();
        let count = |f: fn(&End) -> bool| inner.ops.iter().filter(|op| f(&op.end)).count() as u64;
        let finished = |told: &&Told| matches!(told.what, What::Finished { .. });
        let told = inner.told.iter().flat_map(|(told, _)| told);
        Tally {
            requests: inner.ops.len() as u64,
            answered: count(|end| matches!(end, End::Answered { .. })),
            lost: count(|end| matches!(end, End::Lost { .. })),
            executed: told.filter(finished).count() as u64,
            lives: inner.told.len() as u64,
        }
    }

    /// Everything that was observed.
    pub(super) fn history(&self, plan: &Plan) -> History {
        let base = self.base.history();
        let mut inner = self.inner();
        let mut limits = Limits::default();
        if let Some(commands) = &plan.commands {
            limits.in_flight = commands.in_flight;
            limits.idempotency = commands.key_life;
            limits.dependency_wait = commands.dependency_wait;
        }
        let told = std::mem::take(&mut inner.told);
        let lives = base.lives.into_iter().zip(told).map(|(life, (told, summary))| Life {
            began: life.began,
            recovered: life.recovered,
            summary,
            told,
            ended: life.ended,
        });
        let beside = std::mem::take(&mut inner.dumps);
        let dumps = base.dumps.into_iter().zip(beside);
        let dumps = dumps.map(|(dump, (sessions, commands))| Dump {
            seen: dump.seen,
            at: dump.at,
            recoveries: dump.recoveries,
            entries: dump.entries,
            sessions,
            commands,
        });
        History {
            durability: base.durability,
            limits,
            ops: std::mem::take(&mut inner.ops),
            inquiries: std::mem::take(&mut inner.inquiries),
            subscriptions: std::mem::take(&mut inner.subscriptions),
            lives: lives.collect(),
            upkeep: Vec::new(),
            quiet: base.quiet,
            dumps: dumps.collect(),
            halt: base.halt,
        }
    }

    fn hears_of(&self, turn: u64, at: UnixMs, lane_sequence: u64, what: What) {
        let told = Told { turn, at, lane_sequence, seen: now(), what };
        self.tell("node", || show_step(&told));
        if let Some((life, _)) = self.inner().told.last_mut() {
            life.push(told);
        }
    }
}

impl Observer for Recorder {
    fn recovered(&self, summary: &Summary) {
        self.base.recovered(summary);
        self.inner().told.push((Vec::new(), None));
    }

    fn connected(&self, connection: u64, peer: SocketAddr) {
        self.base.connected(connection, peer);
    }

    fn committed(&self, turn: u64) {
        self.base.committed(turn);
    }

    fn executed(&self, seen: &Seen<'_>) {
        self.base.executed(seen);
        let (command, answer) = (seen.command.clone().detach(), seen.answer.clone());
        self.hears_of(seen.turn, seen.at, 0, What::Plain { command, answer });
    }

    fn lived(&self, lived: &Lived<'_>) {
        let what = match &lived.step {
            Step::Refused { envelope, failure } => What::Refused {
                envelope: Box::new((*envelope).clone()),
                failure: (*failure).clone(),
            },
            Step::Repeated { envelope, row } => {
                What::Repeated { envelope: Box::new((*envelope).clone()), row: *row }
            }
            Step::Accepted { row, id, envelope } => What::Accepted {
                row: *row,
                id: (*id).clone(),
                envelope: Box::new((*envelope).clone()),
            },
            Step::Started { row } => What::Started { row: *row },
            Step::Finished { row, outcome } => {
                What::Finished { row: *row, outcome: (*outcome).clone() }
            }
        };
        self.hears_of(lived.turn, lived.at, lived.lane_sequence, what);
    }

    fn undone(&self, turn: u64) {
        self.base.undone(turn);
        self.hears_of(turn, UnixMs(0), 0, What::Undone);
    }
}

/// A request under way. Dropped without an end, it is lost.
pub(super) struct Asked {
    recorder: Arc<Recorder>,
    place: usize,
    id: OpId,
}

impl Asked {
    /// The client is told what became of it.
    pub(super) fn hears(self, answer: Result<Outcome, Failure>) {
        self.recorder.tell_of(Kind::End, self.id, || match &answer {
            Ok(outcome) => format!("{} heard {}", self.id, show_outcome(outcome)),
            Err(failure) => format!("{} was refused: {failure}", self.id),
        });
        self.recorder.inner().ops[self.place].end = End::Answered { at: now(), answer };
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut inner = self.recorder.inner();
        let end = &mut inner.ops[self.place].end;
        if *end == End::Open {
            *end = End::Lost { at: now() };
            self.recorder.tell_of(Kind::End, self.id, || format!("{} gave up", self.id));
        }
    }
}

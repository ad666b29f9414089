//! A client: sends some envelopes at once, waits for what becomes of them, and tells the recorder.

use std::{sync::Arc, time::Duration};

use orloj_kernel::{Context, sometimes};
use orloj_net::{
    Commands, UnixMs,
    client::{Client as Native, ClientConfig},
    envelope::{Code, End, Envelope, Failure, Finding, Outcome, Question},
};
use orloj_sim::{Control, choice::Stream};

use super::{
    door::{Door, follow},
    envelopes::{Ask, Envelopes, Shared, session_name},
    lines,
    recorder::{Asked, Recorder},
};
use crate::{
    case::{Ledger, Step},
    node::NATIVE,
    scenario::{ClientPlan, Plan},
};

/// How it behaves over the network: its tries are many, and soon.
fn config(habits: &ClientPlan) -> ClientConfig {
    ClientConfig {
        connections: 1 + usize::from(habits.resp3),
        deadline: habits.patience,
        backoff: Duration::from_millis(2),
        backoff_max: Duration::from_millis(50),
        connect_patience: Duration::from_millis(200),
        silence: Duration::from_millis(100),
        ..ClientConfig::new(NATIVE)
    }
}

/// One client.
pub(super) struct Client {
    cx: Context,
    number: u32,
    plan: ClientPlan,
    stream: Stream,
    envelopes: Envelopes,
    shared: Arc<Shared>,
    recorder: Arc<Recorder>,
    way: Way,
    ledger: Arc<Ledger>,
    /// How long it has rested since its last batch.
    rested: u64,
}

/// How long a client of a case rests before it asks a node again that could not be asked.
const AGAIN: Duration = Duration::from_millis(5);

/// Steps under way: dropped, they have ended, however that came.
struct UnderWay {
    ledger: Arc<Ledger>,
    client: u32,
    numbers: Vec<u32>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.numbers.iter().for_each(|number| self.ledger.ended(self.client, *number));
    }
}

/// How a client reaches the node.
#[derive(Clone)]
enum Way {
    /// By the node's own handle.
    Door(Door),
    /// Over the network. So many commands of a million are asked for in JSON before, each so long.
    Native(Native, u32, Duration),
}

impl Way {
    async fn send(
        &self,
        cx: Context,
        envelopes: Vec<Envelope>,
    ) -> Option<Vec<Result<Outcome, Failure>>> {
        match self {
            Way::Door(door) => door.send(envelopes).await,
            Way::Native(native, json_ppm, patience) => {
                let mut answers = Vec::new();
                for envelope in envelopes {
                    let is_asked = *json_ppm > 0
                        && Control.between("json", 1, 1_000_000) <= u64::from(*json_ppm);
                    let send = native.send(envelope.clone());
                    answers.push(match is_asked && envelope.id.is_some() {
                        true => lines::ask(cx, &envelope, *patience, send).await,
                        false => send.await,
                    });
                }
                Some(answers)
            }
        }
    }

    async fn ask(&self, question: Question) -> Option<Result<Finding, Failure>> {
        match self {
            Way::Door(door) => door.ask(question).await,
            Way::Native(native, ..) => Some(native.ask(question).await),
        }
    }
}

impl Client {
    pub(super) fn new(
        cx: Context,
        number: u32,
        plan: &Plan,
        shared: &Arc<Shared>,
        recorder: &Arc<Recorder>,
        door: &Door,
    ) -> Client {
        // The node is host 0, and clients follow.
        let stream = Stream::Host(number + 1);
        let commands = plan.commands.clone().expect("the scenario has commands");
        let habits = plan.clients[number as usize].clone();
        let way = match commands.network {
            false => Way::Door(door.clone()),
            true => {
                let native = Native::new(cx, config(&habits));
                // What is asked in JSON leaves time to ask again.
                Way::Native(native, commands.json_ppm.unwrap_or(0), habits.patience / 2)
            }
        };
        if let Way::Native(native, ..) = &way
            && u64::from(number) < commands.followers
        {
            // The first follows everybody.
            let one = (number > 0).then(|| session_name(u64::from(number) % commands.sessions));
            let (native, recorder) = (native.clone(), recorder.clone());
            cx.spawn("follower", async move {
                loop {
                    follow(cx, native.clone(), one.clone(), recorder.clone()).await;
                    cx.sleep(Duration::from_millis(10)).await;
                }
            });
        }
        Client {
            cx,
            number,
            plan: habits,
            stream,
            envelopes: Envelopes::new(number, stream, commands, plan.workload.clone()),
            shared: shared.clone(),
            recorder: recorder.clone(),
            way,
            ledger: recorder.base.ledger(),
            rested: 0,
        }
    }

    fn between(&self, site: &'static str, low: u64, high: u64) -> u64 {
        Control.choose(|choices| choices.between(self.stream, site, low, high))
    }

    fn chance(&self, site: &'static str, ppm: u32) -> bool {
        Control.choose(|choices| choices.chance(self.stream, site, ppm))
    }

    fn wall(&self) -> UnixMs {
        UnixMs(self.cx.wall().millis())
    }

    /// Asks until its requests are spent or the chaos is over.
    pub(super) async fn roam(mut self, until_ns: u64) -> Client {
        if self.ledger.plays() {
            self.play().await;
            return self;
        }
        let mut left = self.plan.requests;
        while left > 0 && Control.now().0 < until_ns {
            let is_within = matches!(self.way, Way::Door(_));
            if is_within && !self.recorder.base.is_up() {
                self.rest("reconnect-after").await;
                continue;
            }
            let wanted = self.between("batch", 1, self.plan.pipeline).min(left);
            let mut asks = Vec::new();
            while (asks.len() as u64) < wanted {
                let wall = self.wall();
                asks.extend(self.envelopes.next(&self.shared, wall));
            }
            left = left.saturating_sub(asks.len() as u64);
            let together = is_within && self.chance("together", 500_000);
            let mut batch = Vec::new();
            for ask in asks {
                let is_one_of_many = together && matches!(ask, Ask::Send(_));
                let number = self.note(&ask, !batch.is_empty(), is_one_of_many, false);
                batch.push((ask, is_one_of_many, number));
            }
            let tasks = self.begin_all(batch);
            if self.chance("walk-away", self.plan.walk_away_ppm) {
                // What was sent may be carried out; nobody will hear of it.
                let rest = self.between("walk-after", 0, 2_000_000);
                self.ledger.amends(self.number, |step| step.walk_away = Some(rest));
                self.cx.sleep(Duration::from_nanos(rest)).await;
                tasks.iter().for_each(orloj_kernel::JoinHandle::abort);
            }
            let mut is_well = true;
            for task in tasks {
                is_well &= task.await.unwrap_or(true);
            }
            if !is_well {
                self.rest("again-after").await;
            } else if self.chance("thinks", 500_000) {
                let think = self.plan.think;
                let rest = self.between("think", think.low, think.high);
                self.rested = rest;
                self.cx.sleep(Duration::from_nanos(rest)).await;
            }
        }
        self
    }

    async fn rest(&self, site: &'static str) {
        let rest = self.between(site, 1_000_000, 20_000_000);
        self.cx.sleep(Duration::from_nanos(rest)).await;
    }

    fn asker(&self) -> Asker {
        Asker {
            cx: self.cx,
            number: self.number,
            patience: self.plan.patience,
            shared: self.shared.clone(),
            recorder: self.recorder.clone(),
            way: self.way.clone(),
        }
    }

    /// Writes down what is asked next. The number of the step, if it could be.
    fn note(&mut self, ask: &Ask, with: bool, together: bool, closing: bool) -> Option<u32> {
        if !self.ledger.records() {
            return None;
        }
        // What a client could not write cannot be a part of a case.
        let text = ask.text()?;
        let after = std::mem::take(&mut self.rested);
        let number = self.ledger.noted(self.number);
        let step = Step { text, after, with, together, closing, ..Step::default() };
        self.ledger.notes(self.number, || step);
        Some(number)
    }

    fn begin(&self, ask: Ask, number: Option<u32>) -> orloj_kernel::JoinHandle<bool> {
        let (asker, under_way) = (self.asker(), self.under_way(number.into_iter().collect()));
        self.cx.spawn("asker", async move {
            let is_well = asker.ask(ask).await;
            drop(under_way);
            is_well
        })
    }

    fn under_way(&self, numbers: Vec<u32>) -> UnderWay {
        numbers.iter().for_each(|number| self.ledger.sent(self.number, *number));
        UnderWay { ledger: self.ledger.clone(), client: self.number, numbers }
    }

    /// Begins requests at once: each by itself, or in one piece with others.
    fn begin_all(
        &self,
        batch: Vec<(Ask, bool, Option<u32>)>,
    ) -> Vec<orloj_kernel::JoinHandle<bool>> {
        let (mut tasks, mut sent, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for (ask, together, number) in batch {
            match ask {
                Ask::Send(envelope) if together => {
                    sent.push(envelope);
                    numbers.extend(number);
                }
                ask => tasks.push(self.begin(ask, number)),
            }
        }
        if !sent.is_empty() {
            let (asker, under_way) = (self.asker(), self.under_way(numbers));
            tasks.push(self.cx.spawn("asker", async move {
                let is_well = asker.send(sent).await;
                drop(under_way);
                is_well
            }));
        }
        tasks
    }

    /// Does what a case says.
    async fn play(&mut self) {
        let is_within = matches!(self.way, Way::Door(_));
        loop {
            let batch = self.ledger.batch(self.number);
            let Some((_, last)) = batch.last().cloned() else { return };
            self.cx.sleep(Duration::from_nanos(batch[0].1.after)).await;
            while is_within && !self.recorder.base.is_up() {
                if self.recorder.base.is_calm_or_halted() {
                    return;
                }
                self.cx.sleep(AGAIN).await;
            }
            let asks = batch.into_iter().map(|(number, step)| {
                let ask = Ask::read(&step.text).unwrap_or_else(|why| panic!("{why}"));
                (ask, step.together && is_within, Some(number))
            });
            let tasks = self.begin_all(asks.collect());
            if let Some(after) = last.walk_away {
                self.cx.sleep(Duration::from_nanos(after)).await;
                tasks.iter().for_each(orloj_kernel::JoinHandle::abort);
            }
            let mut is_well = true;
            for task in tasks {
                is_well &= task.await.unwrap_or(true);
            }
            if !is_well {
                self.cx.sleep(AGAIN).await;
            }
        }
    }

    /// Asks some more, one at a time, when everything must work.
    pub(super) async fn close(mut self, requests: u64) {
        let plays = self.ledger.plays();
        for made in 0.. {
            let (ask, number) = match self.ledger.next(self.number, true) {
                Some((number, step)) => {
                    self.cx.sleep(Duration::from_nanos(step.after)).await;
                    (Ask::read(&step.text).unwrap_or_else(|why| panic!("{why}")), Some(number))
                }
                None if plays || made == requests => return,
                None => {
                    let wall = self.wall();
                    let ask = Ask::Send(self.envelopes.plain(&self.shared, wall));
                    let number = self.note(&ask, false, false, true);
                    (ask, number)
                }
            };
            if !self.begin(ask, number).await.unwrap_or(false) {
                return;
            }
        }
    }
}

/// One request under way.
struct Asker {
    cx: Context,
    number: u32,
    patience: Duration,
    shared: Arc<Shared>,
    recorder: Arc<Recorder>,
    way: Way,
}

impl Asker {
    /// Whether the node could be asked.
    async fn ask(self, ask: Ask) -> bool {
        match ask {
            Ask::Send(envelope) => self.send(vec![envelope]).await,
            Ask::Beside(question) => self.inquire(question).await.is_some(),
            Ask::Recovery => self.recovery().await,
        }
    }

    /// Sends commands together and in order.
    async fn send(self, envelopes: Vec<Envelope>) -> bool {
        let line = (envelopes.len() > 1).then(|| self.recorder.line());
        let asks = |envelope: &Envelope| self.recorder.asks(self.number, line, envelope.clone());
        let asked: Vec<Asked> = envelopes.iter().map(asks).collect();
        let sent = self.way.send(self.cx, envelopes.clone());
        let Ok(Some(answers)) = self.cx.timeout(self.patience, sent).await else { return false };
        let mut is_well = true;
        for ((asked, envelope), answer) in asked.into_iter().zip(&envelopes).zip(answers) {
            self.meet(&answer);
            self.shared.learn(envelope, &answer);
            is_well &= !answer.as_ref().is_err_and(|failure| failure.code == Code::Unavailable);
            asked.hears(answer);
        }
        is_well
    }

    async fn inquire(&self, question: Question) -> Option<Finding> {
        let place = self.recorder.inquires(question.clone());
        let answer = self.cx.timeout(self.patience, self.way.ask(question)).await.ok()??;
        self.recorder.finds(place, answer.clone());
        answer.ok()
    }

    /// How it recovered can be asked as soon as it is ready.
    async fn recovery(&self) -> bool {
        let life = self.recorder.lives();
        let is_ready = match self.inquire(Question::Health).await {
            Some(Finding::Health(health)) => health.is_ready,
            _ => return false,
        };
        if let (true, Some(Finding::Recovery(summary))) =
            (is_ready, self.inquire(Question::RecoverySummary).await)
            && self.recorder.lives() == life
        {
            sometimes!(self.cx, !summary.rerun.is_empty(), "commands: a summary of reruns");
            self.recorder.recovered_as(life, summary);
        }
        true
    }

    /// Counts what should be met now and then, so that a starved shape is seen.
    fn meet(&self, answer: &Result<Outcome, Failure>) {
        let cx = self.cx;
        let (outcome, refusal) = match answer {
            Ok(outcome) => (Some(outcome), None),
            Err(failure) => (None, Some(failure.code)),
        };
        let end = outcome.map(|outcome| &outcome.end);
        let failed = end.and_then(End::failure).map(|failure| failure.code);
        let is = |code: Code| failed == Some(code);
        sometimes!(cx, outcome.is_some_and(|o| o.replayed), "commands: told again what was");
        sometimes!(cx, is(Code::DependencyFailed), "commands: failed for a failed dependency");
        sometimes!(cx, is(Code::DependencyUnknown), "commands: failed for an unknown dependency");
        sometimes!(cx, is(Code::DependencyTimeout), "commands: failed for a slow dependency");
        sometimes!(cx, is(Code::DependencyCycle), "commands: failed for a circle");
        sometimes!(cx, is(Code::VersionMismatch), "commands: failed for another version");
        sometimes!(cx, is(Code::Timeout), "commands: told of a timeout");
        sometimes!(cx, is(Code::Cancelled), "commands: told of a cancellation");
        sometimes!(cx, refusal == Some(Code::Conflict), "commands: refused for a conflict");
        sometimes!(cx, refusal == Some(Code::Busy), "commands: refused for want of room");
        sometimes!(cx, refusal == Some(Code::RateLimited), "commands: refused for the rate");
        sometimes!(cx, refusal == Some(Code::Invalid), "commands: refused as invalid");
        sometimes!(cx, refusal == Some(Code::Unavailable), "commands: nobody knew");
        sometimes!(cx, refusal == Some(Code::StorageFailure), "commands: refused for the disk");
    }
}

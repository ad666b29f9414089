//! What a client puts into an envelope next.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use orloj_invariants::Request;
use orloj_net::{
    Command, Key, UnixMs,
    envelope::{Call, Envelope, Failure, Filter, Id, Outcome, Question, Safety, SessionName},
    json,
};
use orloj_sim::{Control, choice::Stream};

use crate::{
    scenario::{CommandsPlan, WorkloadPlan},
    workload::Workload,
};

/// Envelopes and ids that are remembered to be repeated and depended on.
const REMEMBERED: usize = 64;

/// What all clients know of each other's commands: enough to name them, and to guess versions.
#[derive(Default)]
pub(super) struct Shared(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// Ids given, the newest last.
    ids: Vec<Id>,
    /// The version of each session as it was heard last; `None` is none.
    versions: BTreeMap<SessionName, Option<u64>>,
    /// Idempotency keys used.
    keys: u64,
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an answer tells of a session.
    pub(super) fn learn(&self, envelope: &Envelope, answer: &Result<Outcome, Failure>) {
        if let (Some(session), Ok(outcome)) = (&envelope.session, answer) {
            self.known().versions.insert(session.clone(), outcome.session_version);
        }
    }
}

/// The name of the session of that number.
pub(super) fn session_name(number: u64) -> SessionName {
    format!("s{number}").into()
}

/// A request of a client.
pub(super) enum Ask {
    /// To carry out a command.
    Send(Envelope),
    /// A question.
    Beside(Question),
    /// How the node is, and then how it recovered.
    Recovery,
}

/// How a case says that a client asks how the node recovered.
const RECOVERY: &str = "recovery";

impl Ask {
    /// As a client of the JSON protocol would write it; `None` for what none can write.
    pub(super) fn text(&self) -> Option<String> {
        let ask = match self {
            Ask::Send(envelope) => json::Ask::Command(envelope.clone()),
            Ask::Beside(question) => json::Ask::Question(question.clone()),
            Ask::Recovery => return Some(RECOVERY.to_owned()),
        };
        let message = json::Message { request: None, ask };
        let text = json::encode(&message);
        (json::decode(text.as_bytes()).ok()? == message).then_some(text)
    }

    /// Reads what [`Ask::text`] has written.
    pub(super) fn read(text: &str) -> Result<Ask, String> {
        if text == RECOVERY {
            return Ok(Ask::Recovery);
        }
        match json::decode(text.as_bytes()) {
            Ok(json::Message { ask: json::Ask::Command(envelope), .. }) => Ok(Ask::Send(envelope)),
            Ok(json::Message { ask: json::Ask::Question(question), .. }) => {
                Ok(Ask::Beside(question))
            }
            Ok(_) => Err(format!("{text} is neither a command nor a question")),
            Err(refused) => Err(format!("{text} is no request: {}", refused.failure)),
        }
    }
}

/// What a client asks.
pub(super) struct Envelopes {
    client: u32,
    stream: Stream,
    plan: CommandsPlan,
    workload: Workload,
    made: u64,
    /// What it sent lately, to be repeated.
    sent: Vec<Envelope>,
}

impl Envelopes {
    pub(super) fn new(
        client: u32,
        stream: Stream,
        plan: CommandsPlan,
        workload: WorkloadPlan,
    ) -> Envelopes {
        let workload = Workload::new(client, stream, workload);
        Envelopes { client, stream, plan, workload, made: 0, sent: Vec::new() }
    }

    fn below(&self, site: &'static str, bound: u64) -> u64 {
        Control.choose(|choices| choices.draw(self.stream, site, bound))
    }

    fn between(&self, site: &'static str, low: u64, high: u64) -> u64 {
        Control.choose(|choices| choices.between(self.stream, site, low, high))
    }

    fn chance(&self, site: &'static str, ppm: u32) -> bool {
        Control.choose(|choices| choices.chance(self.stream, site, ppm))
    }

    fn pick<T: Clone>(&self, site: &'static str, items: &[T]) -> Option<T> {
        if items.is_empty() {
            return None;
        }
        items.get(self.below(site, items.len() as u64) as usize).cloned()
    }

    /// The next requests, which go out together.
    pub(super) fn next(&mut self, shared: &Shared, wall: UnixMs) -> Vec<Ask> {
        if self.chance("retry", self.plan.retries_ppm)
            && let Some(again) = self.pick("again", &self.sent)
        {
            // Now and then to the letter, now and then under another name, now and then changed.
            return vec![Ask::Send(self.vary(again))];
        }
        if self.chance("question", self.plan.questions_ppm) {
            return vec![self.question(shared)];
        }
        if self.chance("circle", self.plan.circles_ppm) {
            return self.circle(shared, wall);
        }
        let envelope = self.envelope(shared, wall);
        vec![Ask::Send(self.remember(shared, envelope))]
    }

    /// A plain command when everything must work.
    pub(super) fn plain(&mut self, shared: &Shared, wall: UnixMs) -> Envelope {
        let mut envelope = Envelope::new(self.command(wall));
        if self.chance("server", 500_000) {
            envelope.id = Some(self.id());
        } else {
            envelope.session = Some(self.session());
        }
        self.remember(shared, envelope)
    }

    fn remember(&mut self, shared: &Shared, mut envelope: Envelope) -> Envelope {
        // The client of the native protocol would draw one.
        if self.plan.network && envelope.id.is_none() {
            envelope.id = Some(self.id());
        }
        let mut known = shared.known();
        known.ids.extend(envelope.id.clone());
        let surplus = known.ids.len().saturating_sub(REMEMBERED);
        known.ids.drain(..surplus);
        self.sent.push(envelope.clone());
        let surplus = self.sent.len().saturating_sub(REMEMBERED);
        self.sent.drain(..surplus);
        envelope
    }

    fn id(&mut self) -> Id {
        self.made += 1;
        format!("c{}.{}", self.client, self.made).into()
    }

    fn session(&self) -> SessionName {
        session_name(self.below("session", self.plan.sessions))
    }

    fn command(&mut self, wall: UnixMs) -> Command {
        match self.workload.next(wall, None).request {
            Request::Store(command) => command,
            Request::Echo(_) => Command::Get { key: Key::from_static(b"h0") },
        }
    }

    /// A repetition: mostly to the letter.
    fn vary(&mut self, mut again: Envelope) -> Envelope {
        match self.below("vary", 10) {
            0 => again.id = Some(self.id()),
            1 if again.id.is_some() => again.call = Call::Data(Command::DbSize),
            2 => again.idempotency_key = None,
            _ => {}
        }
        again
    }

    fn question(&mut self, shared: &Shared) -> Ask {
        let id = self.pick("about", &shared.known().ids);
        let id = id.unwrap_or_else(|| "nobody".into());
        Ask::Beside(match self.below("question-kind", 10) {
            0 => return Ask::Recovery,
            1 | 2 => Question::Outcome(id),
            3..6 => Question::Cancel(id),
            6 => Question::Sessions { after: None, limit: 1 + self.below("limit", 4) as u32 },
            _ => {
                let names = ["ok", "failed", "timed_out", "cancelled", "in_flight"];
                let outcome = self.chance("by-outcome", 300_000);
                let outcome = outcome.then(|| self.pick("outcome", &names)).flatten();
                let is_one = self.chance("by-id", 200_000);
                Question::History(Filter {
                    session: self.chance("by-session", 300_000).then(|| self.session()),
                    server_only: false,
                    id: is_one.then_some(id),
                    from: None,
                    to: None,
                    outcome: outcome.map(str::to_owned),
                    limit: self.below("limit", 20) as u32,
                    cursor: None,
                })
            }
        })
    }

    /// Commands on different lanes, each of which depends on the next, and the last on the first.
    fn circle(&mut self, shared: &Shared, wall: UnixMs) -> Vec<Ask> {
        let lanes = self.plan.sessions + 1;
        let length = self.between("circle-length", 2, lanes.clamp(2, 4));
        let first = self.below("circle-lane", lanes);
        let ids: Vec<Id> = (0..length).map(|_| self.id()).collect();
        let mut asks = Vec::new();
        for place in 0..length as usize {
            let lane = (first + place as u64) % lanes;
            let mut envelope = Envelope::new(self.command(wall))
                .id(ids[place].clone())
                .after(ids[(place + 1) % ids.len()].clone());
            envelope.session = (lane > 0).then(|| session_name(lane - 1));
            asks.push(Ask::Send(self.remember(shared, envelope)));
        }
        asks
    }

    fn envelope(&mut self, shared: &Shared, wall: UnixMs) -> Envelope {
        let on_server = self.chance("server", self.plan.server_ppm);
        let session = self.session();
        let version = shared.known().versions.get(&session).copied().flatten();
        // What nobody has made is made soon.
        let makes = version.is_none() && self.chance("make", 300_000);
        let mut envelope = if !on_server && (makes || self.chance("control", self.plan.control_ppm))
        {
            let call = match self.below("control-kind", 10) {
                _ if makes => Call::CreateSession,
                0..3 => Call::DeleteSession,
                3..6 => Call::CreateSession,
                _ => Call::LoadSession,
            };
            Envelope::new(call).session(session.clone())
        } else {
            let envelope = Envelope::new(self.command(wall));
            if on_server { envelope } else { envelope.session(session) }
        };
        if self.chance("named", self.plan.named_ppm) {
            envelope.id = Some(self.id());
            self.depend(shared, &mut envelope);
        }
        if envelope.session.is_some() && self.chance("versioned", self.plan.versioned_ppm) {
            // What was heard last may be old.
            let guess = version.unwrap_or(0) + self.below("wrong-version", 5) / 4;
            envelope.if_session_version = Some(guess);
        }
        if self.chance("keyed", self.plan.keyed_ppm) {
            let mut known = shared.known();
            known.keys += u64::from(known.keys == 0 || self.chance("new-key", 700_000));
            let key = known.keys - self.below("old-key", known.keys.min(3));
            envelope.idempotency_key = Some(format!("k{key}").into());
        }
        if self.chance("timeout", self.plan.timeouts_ppm) {
            let (low, high) = (self.plan.timeout.low, self.plan.timeout.high);
            let timeout = Duration::from_nanos(self.between("timeout-of", low, high));
            envelope = envelope.timeout(timeout.max(Duration::from_millis(1)));
        }
        if self.chance("override", self.plan.overrides_ppm) {
            envelope.durability = self.pick("safety", &Safety::ALL);
        }
        if self.chance("invalid", self.plan.invalid_ppm) {
            self.spoil(&mut envelope);
        }
        envelope
    }

    /// Has a command depend on some that were sent, or that will be, or that nobody sends.
    fn depend(&mut self, shared: &Shared, envelope: &mut Envelope) {
        if !self.chance("depends", self.plan.depends_ppm) {
            return;
        }
        for _ in 0..=self.below("dependencies", 3) {
            let on = match self.below("on", 20) {
                0 => Some("nobody".into()),
                // One that this client will send.
                1 => Some(format!("c{}.{}", self.client, self.made + 1).into()),
                // Mostly a young one, which may be in flight.
                2..14 => {
                    let known = shared.known();
                    let young = known.ids.len().saturating_sub(6);
                    self.pick("young", &known.ids[young..])
                }
                _ => self.pick("any", &shared.known().ids),
            };
            envelope.depends_on.extend(on.filter(|on| Some(on) != envelope.id.as_ref()));
        }
    }

    fn spoil(&self, envelope: &mut Envelope) {
        match self.below("spoil", 5) {
            0 => envelope.id = Some("anon:1".into()),
            1 => envelope.timeout_ms = Some(0),
            2 => envelope.idempotency_key = Some(" ".into()),
            3 => {
                envelope.id = Some("itself".into());
                envelope.depends_on = vec!["itself".into()];
            }
            _ => envelope.session = Some("".into()),
        }
    }
}

//! Line: the asking end of a link.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use orloj_kernel::{Answer, Context, Instant, Reply, buggify, sometimes};
use orloj_net::peer::{
    Channel, Kind, MESSAGE_MAX, Malformed, Message, Refusal, Sent, Welcome, Window,
};

use super::{
    BACKOFF, DIAL_PATIENCE, Node, REFUSED_BACKOFF, TICK,
    wire::{Lost, Wire},
};

/// Why there is no answer. Unless it is [`AskError::Down`], the request may have been heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AskError {
    /// There is no connection. Nothing was sent.
    Down(String),
    /// The connection was lost.
    Lost(String),
    /// The peer says why it has none.
    Failed(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Down(why) => write!(f, "not connected: {why}"),
            AskError::Lost(why) => write!(f, "the connection was lost: {why}"),
            AskError::Failed(why) => write!(f, "the peer says: {why}"),
        }
    }
}

impl std::error::Error for AskError {}

/// How a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineStatus {
    /// Whether it is connected.
    pub(crate) is_up: bool,
    /// Why it is not, or was not the last time.
    pub(crate) why: Option<String>,
    /// The last refusal, until it is welcome.
    pub(crate) refusal: Option<Refusal>,
    /// How long the last sign of life took there and back.
    pub(crate) round_trip: Option<Duration>,
    /// How often it was connected.
    pub(crate) connections: u64,
}

/// Requests to one peer. Whoever asks leaves a request here and waits; the line's task sends it.
pub(crate) struct Line {
    id: u64,
    address: String,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// What was not sent.
    queues: [VecDeque<Asked>; Channel::ALL.len()],
    waiting: BTreeMap<u64, Reply<Result<Bytes, AskError>>>,
    tags: u64,
    /// Of each channel the frames that were written and the answers that came: while it moves, who
    /// waits may go on waiting.
    moved: [u64; Channel::ALL.len()],
    /// Of the line's task.
    waker: Option<Waker>,
    is_hurried: bool,
    status: LineStatus,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Connecting: requests wait.
    Dialling,
    Up,
    /// Before the next attempt: requests fail.
    Down(String),
    /// For ever.
    Over(String),
}

struct Asked {
    tag: u64,
    payload: Bytes,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Line({} at {})", self.id, self.address)
    }
}

impl Line {
    pub(super) fn new(id: u64, address: String) -> Line {
        let status =
            LineStatus { is_up: false, why: None, refusal: None, round_trip: None, connections: 0 };
        let state = State {
            phase: Phase::Dialling,
            queues: Default::default(),
            waiting: BTreeMap::new(),
            tags: 0,
            moved: [0; Channel::ALL.len()],
            waker: None,
            is_hurried: false,
            status,
        };
        Line { id, address, state: Mutex::new(state) }
    }

    /// Whose line it is.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn status(&self) -> LineStatus {
        self.state().status.clone()
    }

    /// Asks. While the line is being dialled the request waits; a request of which nobody awaits
    /// the answer any more is not sent.
    pub(crate) fn ask(&self, channel: Channel, payload: Bytes) -> Answer<Result<Bytes, AskError>> {
        let (reply, answer) = Reply::new();
        let mut state = self.state();
        match &state.phase {
            Phase::Down(why) | Phase::Over(why) => {
                let error = AskError::Down(why.clone());
                drop(state);
                reply.send(Err(error));
            }
            _ if payload.len() > MESSAGE_MAX => {
                drop(state);
                reply.send(Err(AskError::Down(Malformed::TooLong.to_string())));
            }
            Phase::Dialling | Phase::Up => {
                state.tags += 1;
                let tag = state.tags;
                state.waiting.insert(tag, reply);
                state.queues[usize::from(channel as u8)].push_back(Asked { tag, payload });
                wake(state);
            }
        }
        answer
    }

    /// Changes whenever a channel's requests come closer to their answers.
    pub(crate) fn moved(&self, channel: Channel) -> u64 {
        self.state().moved[usize::from(channel as u8)]
    }

    /// Dials at once, should it wait to.
    pub(super) fn hurry(&self) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Down(_)) {
            state.is_hurried = true;
            wake(state);
        }
    }

    /// Nothing is sent any more.
    pub(super) fn end(&self, why: &str) {
        self.fall(Phase::Over(why.to_owned()), &AskError::Down(why.to_owned()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody who waits why there is no answer: `error` to those whose request went off.
    fn fall(&self, phase: Phase, error: &AskError) {
        let (mut waiting, unsent) = {
            let mut state = self.state();
            state.status.is_up = false;
            if let Phase::Down(why) | Phase::Over(why) = &phase {
                state.status.why = Some(why.clone());
            }
            state.enter(phase);
            let queues = std::mem::take(&mut state.queues);
            (std::mem::take(&mut state.waiting), queues)
        };
        for Asked { tag, .. } in unsent.into_iter().flatten() {
            if let Some(reply) = waiting.remove(&tag) {
                reply.send(Err(AskError::Down(error.to_string())));
            }
        }
        waiting.into_values().for_each(|reply| reply.send(Err(error.clone())));
    }

    /// The oldest that somebody still waits for, if there is room for it.
    fn next(&self, channel: Channel, window: &Window) -> Option<Asked> {
        let mut state = self.state();
        let at = usize::from(channel as u8);
        loop {
            let Asked { tag, payload } = state.queues[at].front()?;
            let (tag, has_room) = (*tag, window.has_room(channel, payload.len()));
            if state.waiting.get(&tag).is_none_or(Reply::is_abandoned) {
                state.waiting.remove(&tag);
                state.queues[at].pop_front();
            } else if has_room {
                return state.queues[at].pop_front();
            } else {
                return None;
            }
        }
    }

    fn answered(&self, channel: Channel, tag: u64, answer: Result<Bytes, AskError>) {
        let reply = {
            let mut state = self.state();
            state.moved[usize::from(channel as u8)] += 1;
            state.waiting.remove(&tag)
        };
        // None waits for the second of two that are the same.
        reply.into_iter().for_each(|reply| reply.send(answer.clone()));
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        if !matches!(self.phase, Phase::Over(_)) {
            self.phase = phase;
        }
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    if let Some(waker) = state.waker.take() {
        drop(state);
        waker.wake();
    }
}

/// Why a line did not come up.
enum NotUp {
    Way(Lost),
    Refused(Refusal),
}

/// Dials, and dials again.
pub(super) async fn keep(node: Arc<Node>, line: Arc<Line>) {
    let (cx, mut failures) = (node.cx, 0_u32);
    loop {
        line.state().enter(Phase::Dialling);
        let dialled = cx.timeout(DIAL_PATIENCE, dial(&node, &line)).await;
        let silent = || Err(NotUp::Way(Lost::Gone("no answer".to_owned())));
        let (why, most) = match dialled.unwrap_or_else(|_| silent()) {
            Ok(wire) => {
                let begun = cx.now();
                let lost = ask_on(wire, &line, cx).await;
                sometimes!(cx, matches!(lost, Lost::Malformed(_)), "link: an answer is malformed");
                let why = lost.to_string();
                line.fall(Phase::Down(why.clone()), &AskError::Lost(why.clone()));
                // One that is welcome, and lost again at once, is no better than none.
                if cx.now().since(begun) > DIAL_PATIENCE {
                    failures = 0;
                }
                (why, BACKOFF.1)
            }
            Err(NotUp::Way(lost)) => (lost.to_string(), BACKOFF.1),
            Err(NotUp::Refused(refusal)) => {
                let why = format!("refused: {refusal}");
                line.state().status.refusal = Some(refusal);
                (why, REFUSED_BACKOFF)
            }
        };
        cx.trace("link", format_args!("{} at {}: {why}", line.id, line.address));
        line.fall(Phase::Down(why.clone()), &AskError::Down(why));
        failures = (failures + 1).min(16);
        rest(cx, &line, most.min(BACKOFF.0 * (1 << (failures - 1)))).await;
    }
}

/// Waits for `delay`, a random part of its second half apart, or until there is hope.
async fn rest(cx: Context, line: &Line, delay: Duration) {
    let spread = cx.below(u64::try_from(delay.as_nanos() / 2).unwrap_or(u64::MAX));
    let mut sleep = cx.sleep(delay - Duration::from_nanos(spread));
    std::future::poll_fn(|task| {
        let mut state = line.state();
        if std::mem::take(&mut state.is_hurried) {
            return Poll::Ready(());
        }
        state.waker = Some(task.waker().clone());
        drop(state);
        Pin::new(&mut sleep).poll(task)
    })
    .await;
}

async fn dial(node: &Node, line: &Line) -> Result<Wire, NotUp> {
    let way = |lost: Lost| NotUp::Way(lost);
    let stream = node.cx.connect(&line.address).await.map_err(|e| way(e.into()))?;
    let mut wire = Wire::new(node.cx, stream);
    let hello = node.hello(line.id).encode();
    wire.outbox.push(Message::short(Kind::Hello, 0, hello));
    wire.flush().await.map_err(way)?;
    let Message { kind, payload, .. } = wire.receive().await.map_err(way)?;
    let strange = || way(Lost::Gone("the peer says what it may not".to_owned()));
    match kind {
        Kind::Welcome => {
            let welcome = Welcome::decode(&payload).map_err(|_| strange())?;
            if welcome.id != line.id {
                return Err(strange());
            }
            wire.greeted();
            Ok(wire)
        }
        Kind::Refused => Err(NotUp::Refused(Refusal::decode(&payload).map_err(|_| strange())?)),
        _ => Err(strange()),
    }
}

/// The task's own part of a connection.
struct Asking<'a> {
    wire: Wire,
    line: &'a Line,
    windows: [Window; Channel::ALL.len()],
    pings: u64,
    pinged: Option<Instant>,
    /// A request that others overtake.
    held: Option<Message>,
}

async fn ask_on(wire: Wire, line: &Line, cx: Context) -> Lost {
    {
        let mut state = line.state();
        state.enter(Phase::Up);
        state.status.is_up = true;
        state.status.refusal = None;
        state.status.connections += 1;
    }
    let mut asking =
        Asking { wire, line, windows: Default::default(), pings: 0, pinged: None, held: None };
    // Begun at once, so that whoever accepted hears something and the way there is known.
    asking.ping(cx);
    std::future::poll_fn(|task| asking.poll(task)).await
}

impl Asking<'_> {
    fn poll(&mut self, task: &mut task::Context<'_>) -> Poll<Lost> {
        self.poll_on(task).map(|Err(lost)| lost)
    }

    fn poll_on(&mut self, task: &mut task::Context<'_>) -> Poll<Result<Infallible, Lost>> {
        self.line.state().waker = Some(task.waker().clone());
        self.wire.begin_poll();
        while let Poll::Ready(message) = self.wire.poll_message(task) {
            self.take(message?)?;
        }
        while let Poll::Ready(is_quiet) = self.wire.poll_tick(task) {
            if is_quiet? {
                self.ping(self.wire.cx);
            }
            self.held.take().into_iter().for_each(|message| self.wire.outbox.push(message));
        }
        loop {
            self.gather()?;
            match self.wire.poll_write(task) {
                Poll::Ready(Ok(Some(Sent { channel, .. }))) => {
                    self.line.state().moved[usize::from(channel as u8)] += 1;
                }
                Poll::Ready(Ok(None)) | Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(lost)) => return Poll::Ready(Err(lost)),
            }
        }
    }

    fn ping(&mut self, cx: Context) {
        // One is enough: while it is under way there is nothing to learn from another.
        let is_asked = self.pinged.is_some_and(|at| cx.now().since(at) < TICK);
        if !is_asked {
            (self.pings, self.pinged) = (self.pings + 1, Some(cx.now()));
            self.wire.outbox.push(Message::short(Kind::Ping, self.pings, Bytes::new()));
        }
    }

    /// Hands requests to the wire, of each channel one at a time: who gives up meanwhile has sent
    /// nothing.
    fn gather(&mut self) -> Result<(), Lost> {
        for channel in Channel::ALL {
            while !self.wire.outbox.has(channel) {
                let window = &mut self.windows[usize::from(channel as u8)];
                let Some(Asked { tag, payload }) = self.line.next(channel, window) else { break };
                window.open(channel, tag, payload.len())?;
                let message = Message { channel, kind: Kind::Request, tag, payload };
                self.send(message)?;
            }
        }
        Ok(())
    }

    /// Sends a request, or twice, or behind the one that follows: connections break and are made
    /// anew, so whoever answers must bear all that anyway.
    fn send(&mut self, message: Message) -> Result<(), Lost> {
        let (cx, channel) = (self.wire.cx, message.channel);
        let window = &mut self.windows[usize::from(channel as u8)];
        let again = message.payload.clone();
        let overtaken = self.held.take();
        if overtaken.is_none()
            && channel == Channel::Control
            && buggify!(cx, "link: a request is overtaken")
        {
            self.held = Some(message);
            return Ok(());
        }
        self.wire.outbox.push(message);
        overtaken.into_iter().for_each(|message| self.wire.outbox.push(message));
        if buggify!(cx, "link: a request is sent twice") && window.has_room(channel, again.len()) {
            let tag = {
                let mut state = self.line.state();
                state.tags += 1;
                state.tags
            };
            window.open(channel, tag, again.len())?;
            self.wire.outbox.push(Message { channel, kind: Kind::Request, tag, payload: again });
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), Lost> {
        let Message { channel, kind, tag, payload } = message;
        let answer = match kind {
            Kind::Pong => {
                if let Some(at) = self.pinged.take_if(|_| tag == self.pings) {
                    let round_trip = self.wire.cx.now().since(at);
                    self.line.state().status.round_trip = Some(round_trip);
                }
                return Ok(());
            }
            Kind::Answer => Ok(payload),
            Kind::Failed => Err(AskError::Failed(String::from_utf8_lossy(&payload).into_owned())),
            kind => return Err(Malformed::Kind { kind: kind as u8 }.into()),
        };
        if !self.windows[usize::from(channel as u8)].close(tag) {
            return Err(Malformed::Tag { tag }.into());
        }
        self.line.answered(channel, tag, answer);
        Ok(())
    }
}

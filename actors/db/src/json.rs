//! JSON: one client that speaks it, from its first byte to its last.
//!
//! It reads texts, hands commands on in their order, asks questions when their turn comes, and
//! writes answers and events as they come. While a client is slow to read, answers wait within the
//! limit that RESP clients have; one that follows events is not written more than it reads, and is
//! disconnected with a reason when more events wait for it than there is room for.
//!
//! Invariant: each request is answered exactly once, unless the connection ends before.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use orloj_kernel::{Sleep, Stream};
use orloj_net::{
    Refusal,
    envelope::{Code, Envelope, Failure, Id, MESSAGE_MAX, Question},
    json::{self, Ask, Message},
    session::same,
    wire::{Goodbye, Next, Wire},
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    door::Door,
    outbox::{Outbox, Push},
    session::Bell,
    socket::{self, Socket},
};

/// Commands without an answer beyond which a client is read no further.
const IN_FLIGHT: usize = 1_024;
/// Most bytes of a request before the client has said the password, as for RESP.
const STRANGER_MAX: usize = 16 << 10;
/// Most commands that are handed on at once.
const BATCH: usize = 256;
/// Subscriptions of one client.
const SUBSCRIPTIONS: usize = 64;
/// Events that may wait for one subscription.
const ROOM: usize = 4_096;
/// Bytes that may wait for a client with subscriptions before its events do.
const HIGH: usize = 256 << 10;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client closed, or its network did.
    Closed,
    /// The client sent what is no request, and was told so.
    LastAnswer(Goodbye),
    /// The client asked for something else than this protocol, and was told so.
    Refused,
    /// The node is stopping, and everything received was answered.
    Drained,
    /// More answers waited for the client than may.
    OutputLimit,
    /// The client took no answer for too long.
    Stalled,
    /// The client left too many events unread.
    Lagged,
    /// The node cannot go on.
    Unknown,
}

impl Ended {
    /// What the client is told in the end, if it is there to hear it.
    fn goodbye(self) -> Option<(Goodbye, &'static str)> {
        match self {
            Ended::Closed => Some((Goodbye::Normal, "")),
            Ended::LastAnswer(why) => Some((why, "not understood; see the last message")),
            Ended::Drained => Some((Goodbye::Away, "the node is about to stop")),
            Ended::Lagged => Some((Goodbye::Policy, "too many events were left unread")),
            Ended::Unknown => Some((Goodbye::Internal, "the node cannot go on")),
            Ended::Refused | Ended::OutputLimit | Ended::Stalled => None,
        }
    }
}

/// What a command said of itself.
struct Asked {
    request: Option<Value>,
    id: Option<Id>,
}

pub(crate) struct Connection {
    door: Door,
    socket: Socket,
    wire: Wire,
    id: u64,
    bell: Arc<Bell>,
    outbox: Arc<Outbox>,
    /// Commands without an answer, by tag.
    asked: BTreeMap<u64, Asked>,
    subscriptions: BTreeSet<u64>,
    last_tag: u64,
    is_let_in: bool,
    /// Commands that were read and not handed on yet.
    batch: Vec<(u64, Envelope)>,
    pushes: Vec<Push>,
    /// Nothing more is read: close when everything is answered and written.
    last: Option<Ended>,
    has_parted: bool,
}

/// What there is to do next.
enum Event {
    /// Something came in, from either side.
    Input,
    /// The client says no more.
    Silence,
    /// It is over.
    End(Ended),
}

impl Connection {
    pub(crate) fn new(
        door: Door,
        stream: Stream,
        wire: Wire,
        id: u64,
        bell: Arc<Bell>,
    ) -> Connection {
        let is_let_in = door.config.password.is_none();
        let mut wire = wire;
        if !is_let_in {
            wire.set_max(STRANGER_MAX);
        }
        Connection {
            door,
            socket: Socket::new(stream),
            wire,
            id,
            bell,
            outbox: Outbox::new(),
            asked: BTreeMap::new(),
            subscriptions: BTreeSet::new(),
            last_tag: 0,
            is_let_in,
            batch: Vec::new(),
            pushes: Vec::new(),
            last: None,
            has_parted: false,
        }
    }

    /// Serves the client until one of the two sides is done.
    pub(crate) async fn serve(mut self) {
        let ended = loop {
            self.hear_all().await;
            match self.exchange().await {
                Event::Input => {}
                Event::Silence => {
                    if let Some(text) = self.wire.rest() {
                        self.hear(&text).await;
                        self.hand_on().await;
                    }
                    self.last.get_or_insert(Ended::Closed);
                }
                Event::End(ended) => break ended,
            }
            if let Err(ended) = self.pass_on() {
                break ended;
            }
        };
        self.door.part(&self.outbox);
        let cx = self.door.cx;
        cx.trace("json", format_args!("{} ended: {ended:?}", self.id));
        // Who says no more may still read.
        let is_heard = ended.goodbye().is_some() || ended == Ended::Refused;
        let how = if is_heard { socket::Ended::LastAnswer } else { socket::Ended::Closed };
        self.socket.part(&cx, how).await;
    }

    /// Hears every whole text that was read, as long as there is room for its answer.
    async fn hear_all(&mut self) {
        while self.last.is_none() && self.asked.len() < IN_FLIGHT {
            match self.wire.next(&mut self.socket.output) {
                Next::Text(text) => self.hear(&text).await,
                Next::Wait => break,
                Next::Closed => {
                    // Nothing may be written behind a goodbye.
                    self.asked.clear();
                    self.has_parted = true;
                    self.last = Some(Ended::Closed);
                }
                Next::Refused => {
                    self.has_parted = true;
                    self.last = Some(Ended::Refused);
                }
                Next::Broken(failure, why) => {
                    self.tell(&json::refusal(None, None, &failure));
                    self.last = Some(Ended::LastAnswer(why));
                }
            }
            if self.batch.len() >= BATCH {
                self.hand_on().await;
            }
        }
        self.hand_on().await;
    }

    async fn hear(&mut self, text: &[u8]) {
        let Message { request, ask } = match json::decode(text) {
            Ok(message) => message,
            Err(refused) => {
                let (request, id) = (refused.request.as_ref(), refused.id.as_ref());
                self.tell(&json::refusal(request, id, &refused.failure));
                if refused.is_malformed {
                    let why = match refused.failure.code {
                        Code::TooLarge => Goodbye::TooLarge,
                        _ => Goodbye::Malformed,
                    };
                    self.last = Some(Ended::LastAnswer(why));
                }
                return;
            }
        };
        if !self.is_let_in && !matches!(ask, Ask::Authenticate { .. }) {
            let failure = Failure::from(&Refusal::AuthRequired);
            return self.tell(&json::refusal(request.as_ref(), None, &failure));
        }
        match ask {
            Ask::Command(envelope) => {
                self.last_tag += 1;
                let asked = Asked { request, id: envelope.id.clone() };
                self.asked.insert(self.last_tag, asked);
                self.batch.push((self.last_tag, envelope));
            }
            Ask::Question(question) => self.ask(request, question).await,
            Ask::Subscribe { session } => {
                // What was asked before it is not told.
                self.hand_on().await;
                if self.subscriptions.len() >= SUBSCRIPTIONS {
                    let failure = Failure::new(Code::Busy, "too many subscriptions")
                        .with("reason", "max_subscriptions");
                    return self.tell(&json::refusal(request.as_ref(), None, &failure));
                }
                self.last_tag += 1;
                let subscription = self.last_tag;
                self.door.subscribe(session, &self.outbox, subscription, ROOM);
                self.subscriptions.insert(subscription);
                self.answer(request, json!({ "subscription": subscription }));
            }
            Ask::Unsubscribe { subscription } => {
                if !self.subscriptions.remove(&subscription) {
                    let failure = Failure::invalid("subscription", "is none of this connection");
                    return self.tell(&json::refusal(request.as_ref(), None, &failure));
                }
                self.door.unsubscribe(&self.outbox, subscription);
                self.answer(request, json!({ "subscription": subscription }));
            }
            Ask::Authenticate { password } => {
                let refusal = match &self.door.config.password {
                    None => Some(Refusal::AuthNotConfigured),
                    Some(expected) if same(expected, &password) => None,
                    Some(_) => Some(Refusal::WrongPassword),
                };
                match refusal {
                    None => {
                        self.is_let_in = true;
                        self.wire.set_max(MESSAGE_MAX);
                        self.answer(request, "OK".into());
                    }
                    Some(refusal) => {
                        let failure = Failure::from(&refusal);
                        self.tell(&json::refusal(request.as_ref(), None, &failure));
                    }
                }
            }
        }
    }

    async fn ask(&mut self, request: Option<Value>, question: Question) {
        // A cancellation comes behind its command.
        self.hand_on().await;
        match self.door.ask(question).await {
            Ok(found) => self.tell(&json::finding(request.as_ref(), &found)),
            Err(failure) => self.tell(&json::refusal(request.as_ref(), None, &failure)),
        }
    }

    /// Hands the commands on that were read.
    async fn hand_on(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        if self.door.submit(batch, &self.outbox).await.is_err() {
            // Each is answered that nobody knows what became of it.
            self.last = Some(Ended::Unknown);
        }
    }

    fn answer(&mut self, request: Option<Value>, result: Value) {
        let mut answer = json!({ "result": result });
        if let Some(request) = request {
            answer["request"] = request;
        }
        self.tell(&answer);
    }

    fn tell(&mut self, what: &Value) {
        self.wire.write(&what.to_string(), &mut self.socket.output);
    }

    /// Writes what was pushed into the output.
    fn pass_on(&mut self) -> Result<(), Ended> {
        for push in std::mem::take(&mut self.pushes) {
            match push {
                Push::Answer { tag, answer } => {
                    if let Some(Asked { request, id }) = self.asked.remove(&tag) {
                        self.tell(&json::answer(request.as_ref(), id.as_ref(), &answer));
                    }
                }
                Push::Event { tag, event } => {
                    if self.subscriptions.contains(&tag) {
                        self.tell(&json::event(Some(tag), &event));
                    }
                }
                Push::Lagged { tag } => {
                    let failure = Failure::new(Code::Busy, "too many events were left unread")
                        .with("reason", "lagged")
                        .with("subscription", tag.to_string());
                    self.tell(&json::refusal(None, None, &failure));
                    self.subscriptions.remove(&tag);
                    self.last = Some(Ended::Lagged);
                }
            }
        }
        match self.socket.waiting() > self.door.config.output_max {
            true => Err(Ended::OutputLimit),
            false => Ok(()),
        }
    }

    /// Writes and reads until there is something to do, or an end.
    async fn exchange(&mut self) -> Event {
        let mut stall: Option<Sleep> = None;
        std::future::poll_fn(|task| {
            match self.socket.poll_write(task) {
                Poll::Ready(Err(_)) => return Poll::Ready(Event::End(Ended::Closed)),
                Poll::Ready(Ok(true)) => stall = None,
                Poll::Ready(Ok(false)) | Poll::Pending => {}
            }
            let is_behind = !self.subscriptions.is_empty() && self.socket.waiting() >= HIGH;
            if !is_behind && self.outbox.poll_take(task, &mut self.pushes).is_ready() {
                return Poll::Ready(Event::Input);
            }
            if let Some(ended) = self.last
                && self.asked.is_empty()
            {
                if !self.has_parted {
                    self.has_parted = true;
                    if ended == Ended::Drained {
                        // A line has no other words for it.
                        let why = "the node is about to stop";
                        let failure = Failure::new(Code::ShuttingDown, why);
                        self.tell(&json::refusal(None, None, &failure));
                    }
                    if let Some((why, reason)) = ended.goodbye() {
                        self.wire.close(why, reason, &mut self.socket.output);
                    }
                    return Poll::Ready(Event::Input);
                }
                if self.socket.waiting() == 0 {
                    return Poll::Ready(Event::End(ended));
                }
            }
            if self.last.is_none() {
                if self.asked.len() < IN_FLIGHT {
                    match self.socket.poll_read(task) {
                        Poll::Ready(Ok(0)) => return Poll::Ready(Event::Silence),
                        Poll::Ready(Ok(_)) => {
                            self.wire.feed(&self.socket.input);
                            self.socket.input.clear();
                            return Poll::Ready(Event::Input);
                        }
                        Poll::Ready(Err(_)) => return Poll::Ready(Event::End(Ended::Closed)),
                        Poll::Pending => {}
                    }
                }
                if self.bell.poll(task).is_ready() {
                    self.last = Some(Ended::Drained);
                    return Poll::Ready(Event::Input);
                }
            }
            if self.socket.waiting() == 0 {
                self.socket.rest();
                return Poll::Pending;
            }
            let patience = self.door.config.output_patience;
            let stall = stall.get_or_insert_with(|| self.door.cx.sleep(patience));
            Pin::new(stall).poll(task).map(|()| Event::End(Ended::Stalled))
        })
        .await
    }
}

/// A client that speaks either form, or lines only where the stream is no network's.
pub(crate) fn wire(is_network: bool) -> Wire {
    if is_network { Wire::new(MESSAGE_MAX) } else { Wire::lines(MESSAGE_MAX) }
}

/// Tells a client too many so, in the form in which it begins to speak.
pub(crate) async fn turn_away(mut stream: Stream) -> io::Result<()> {
    let (mut wire, mut out) = (wire(true), Vec::new());
    let mut first = [0; 1];
    let read = stream.read(&mut first).await?;
    wire.feed(&first[..read]);
    let failure = Failure::new(Code::Busy, "too many clients are connected; try again later")
        .with("reason", "max_clients");
    wire.turn_away(&json::refusal(None, None, &failure).to_string(), &mut out);
    stream.write_all(&out).await?;
    stream.shutdown().await
}

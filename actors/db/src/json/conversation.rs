//! Conversation: one client that speaks JSON, from its first byte to its last.
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
    time::Duration,
};

use bytes::BytesMut;
use orloj_kernel::{Sleep, Stream};
use orloj_net::{
    Refusal,
    envelope::{Code, Envelope, Failure, Id, Question},
    json::{self, Ask, Message},
    session::same,
    wire::{Goodbye, Next, Wire},
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::{
    door::Door,
    outbox::{Outbox, Push},
    session::Bell,
};

/// Commands without an answer beyond which a client is read no further.
const IN_FLIGHT: usize = 1_024;
/// Most commands that are handed on at once.
const BATCH: usize = 256;
/// Subscriptions of one client.
const SUBSCRIPTIONS: usize = 64;
/// Events that may wait for one subscription.
const ROOM: usize = 4_096;
/// Bytes that may wait for a client with subscriptions before its events do.
const HIGH: usize = 256 << 10;
/// Room made for a read, in bytes.
const READ: usize = 16 << 10;
/// Buffers above this are given back when a connection falls idle.
const KEPT: usize = 8 << 10;
/// Bytes of a client's further words that are read and dropped after the last answer, so that the
/// close does not reset the connection and take the answer with it.
const LINGER: usize = 64 << 10;

/// Why a conversation ended.
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

pub(crate) struct Conversation {
    door: Door,
    stream: Stream,
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
    input: BytesMut,
    pushes: Vec<Push>,
    output: Vec<u8>,
    /// Bytes of `output` that were written.
    sent: usize,
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

impl Conversation {
    pub(crate) fn new(
        door: Door,
        stream: Stream,
        wire: Wire,
        id: u64,
        bell: Arc<Bell>,
    ) -> Conversation {
        let is_let_in = door.config.password.is_none();
        Conversation {
            door,
            stream,
            wire,
            id,
            bell,
            outbox: Outbox::new(),
            asked: BTreeMap::new(),
            subscriptions: BTreeSet::new(),
            last_tag: 0,
            is_let_in,
            batch: Vec::new(),
            input: BytesMut::new(),
            pushes: Vec::new(),
            output: Vec::new(),
            sent: 0,
            last: None,
            has_parted: false,
        }
    }

    /// Serves the client until one of the two sides is done.
    pub(crate) async fn hold(mut self) -> Ended {
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
        self.part(ended).await;
        ended
    }

    fn waits(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Hears every whole text that was read, as long as there is room for its answer.
    async fn hear_all(&mut self) {
        while self.last.is_none() && self.asked.len() < IN_FLIGHT {
            match self.wire.next(&mut self.output) {
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
        // It sees what was asked before it.
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
        self.wire.write(&what.to_string(), &mut self.output);
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
                        self.tell(&json::event(tag, &event));
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
        match self.waits() > self.door.config.output_max {
            true => Err(Ended::OutputLimit),
            false => Ok(()),
        }
    }

    /// Writes and reads until there is something to do, or an end.
    async fn exchange(&mut self) -> Event {
        let mut stall: Option<Sleep> = None;
        std::future::poll_fn(|task| {
            match self.poll_write(task) {
                Poll::Ready(Err(ended)) => return Poll::Ready(Event::End(ended)),
                Poll::Ready(Ok(true)) => stall = None,
                Poll::Ready(Ok(false)) | Poll::Pending => {}
            }
            let is_behind = !self.subscriptions.is_empty() && self.waits() >= HIGH;
            if !is_behind && self.outbox.poll_take(task, &mut self.pushes).is_ready() {
                return Poll::Ready(Event::Input);
            }
            if let Some(ended) = self.last
                && self.asked.is_empty()
            {
                if !self.has_parted {
                    self.has_parted = true;
                    if let Some((why, reason)) = ended.goodbye() {
                        self.wire.close(why, reason, &mut self.output);
                    }
                    return Poll::Ready(Event::Input);
                }
                if self.waits() == 0 {
                    return Poll::Ready(Event::End(ended));
                }
            }
            if self.last.is_none() {
                if self.asked.len() < IN_FLIGHT {
                    match self.poll_read(task) {
                        Poll::Ready(Ok(0)) => return Poll::Ready(Event::Silence),
                        Poll::Ready(Ok(_)) => {
                            self.wire.feed(&self.input);
                            self.input.clear();
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
            if self.waits() == 0 {
                self.rest();
                return Poll::Pending;
            }
            let patience = self.door.config.output_patience;
            let stall = stall.get_or_insert_with(|| self.door.cx.sleep(patience));
            Pin::new(stall).poll(task).map(|()| Event::End(Ended::Stalled))
        })
        .await
    }

    fn poll_read(&mut self, task: &mut std::task::Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(READ);
        std::pin::pin!(self.stream.read_buf(&mut self.input)).poll(task)
    }

    /// Writes what the client takes. `Ok` is whether it took anything; `Pending` when it takes
    /// nothing.
    fn poll_write(&mut self, task: &mut std::task::Context<'_>) -> Poll<Result<bool, Ended>> {
        let mut progress = false;
        while self.sent < self.output.len() {
            match Pin::new(&mut self.stream).poll_write(task, &self.output[self.sent..]) {
                Poll::Ready(Ok(n)) if n > 0 => self.sent += n,
                Poll::Ready(_) => return Poll::Ready(Err(Ended::Closed)),
                Poll::Pending if progress => break,
                Poll::Pending => return Poll::Pending,
            }
            progress = true;
        }
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        } else if self.sent > self.output.len() / 2 {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
        Poll::Ready(Ok(progress))
    }

    /// Nothing is going on: gives large buffers back.
    fn rest(&mut self) {
        if self.input.capacity() > KEPT {
            self.input = BytesMut::new();
        }
        if self.output.capacity() > KEPT {
            self.output = Vec::new();
        }
        self.pushes = Vec::new();
    }

    /// Closes the connection so that the last answer arrives.
    async fn part(&mut self, ended: Ended) {
        let cx = self.door.cx;
        cx.trace("json", format_args!("{} ended: {ended:?}", self.id));
        if ended.goodbye().is_none() && ended != Ended::Refused {
            return;
        }
        let linger = async {
            std::future::poll_fn(|task| Pin::new(&mut self.stream).poll_shutdown(task)).await?;
            let mut left = LINGER;
            while left > 0 {
                self.input.clear();
                self.input.reserve(READ);
                match self.stream.read_buf(&mut self.input).await? {
                    0 => break,
                    n => left = left.saturating_sub(n),
                }
            }
            Ok::<(), io::Error>(())
        };
        // The client has had its answers; how the rest of the goodbye goes is its own affair.
        let _ = cx.timeout(Duration::from_millis(200), linger).await;
    }
}

//! Link: one connection to a server, from connecting to its loss.
//!
//! Whoever asks leaves a message in the link and waits; a task of its own writes what was left, in
//! as few writes as there can be, and tells what comes back. Requests wait here while the server
//! has given no credits for them.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll, Waker},
};

use bytes::BytesMut;
use orloj_kernel::{Answer, Context, Reply, Sleep, Stream, mutant};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    ClientConfig,
    feed::{End, Feed},
    unknown,
};
use crate::{
    envelope::{Code, Envelope, Failure, Finding, Outcome, Question, SessionName},
    native::{Decoder, Encoder, Frame, Hello, Kind, Message, Welcome},
};

/// Bytes made room for before a read.
const READ: usize = 16 << 10;
/// While more wait to be written, nothing more is encoded.
const OUTPUT_HIGH: usize = 256 << 10;

/// What those who ask and the connection's task share.
#[derive(Default)]
pub(super) struct Link(Mutex<State>);

#[derive(Default)]
struct State {
    /// Requests that were not sent.
    requests: VecDeque<(u64, Envelope)>,
    /// Everything else that was not sent.
    others: VecDeque<(u64, Message)>,
    waiting: BTreeMap<u64, Waiter>,
    tags: u64,
    /// Of the connection's task.
    waker: Option<Waker>,
    is_leaving: bool,
    closed: Option<Failure>,
}

/// Who waits for a frame with a tag.
enum Waiter {
    Answer(Reply<Result<Outcome, Failure>>),
    Finding(Reply<Result<Finding, Failure>>),
    Events(Arc<Feed>),
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

impl Link {
    /// A connection that is about to be made.
    pub(super) fn open(cx: Context, config: &ClientConfig) -> Arc<Link> {
        let link = Arc::new(Link::default());
        let (own, config) = (link.clone(), config.clone());
        cx.spawn("client", async move {
            let failure = match run(&own, cx, &config).await {
                Ok(never) => match never {},
                Err(failure) => failure,
            };
            own.close(&cx, failure);
        });
        link
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed.is_some()
    }

    /// Nobody will ask any more.
    pub(super) fn leave(&self) {
        let mut state = self.state();
        state.is_leaving = true;
        wake(state);
    }

    pub(super) fn request(&self, envelope: Envelope) -> Answer<Result<Outcome, Failure>> {
        let (reply, answer) = Reply::new();
        self.add(Waiter::Answer(reply), |state, tag| state.requests.push_back((tag, envelope)));
        answer
    }

    pub(super) fn question(&self, question: Question) -> Answer<Result<Finding, Failure>> {
        let (reply, answer) = Reply::new();
        let message = Message::Question(question);
        self.add(Waiter::Finding(reply), |state, tag| state.others.push_back((tag, message)));
        answer
    }

    pub(super) fn subscribe(
        &self,
        session: Option<SessionName>,
        credits: u32,
    ) -> (u64, Arc<Feed>, Answer<Result<(), Failure>>) {
        let (reply, answer) = Reply::new();
        let feed = Feed::new(reply);
        let message = Message::Subscribe { session, credits };
        let add = |state: &mut State, tag| state.others.push_back((tag, message));
        let tag = self.add(Waiter::Events(feed.clone()), add);
        (tag, feed, answer)
    }

    pub(super) fn grant(&self, tag: u64, credits: u32) {
        self.tell(tag, Message::EventCredits(credits));
    }

    pub(super) fn unsubscribe(&self, tag: u64) {
        let is_there = self.state().waiting.remove(&tag).is_some();
        if is_there {
            self.tell(tag, Message::Unsubscribe);
        }
    }

    fn tell(&self, tag: u64, message: Message) {
        let mut state = self.state();
        if state.closed.is_none() {
            state.others.push_back((tag, message));
            wake(state);
        }
    }

    fn add(&self, waiter: Waiter, ask: impl FnOnce(&mut State, u64)) -> u64 {
        let mut state = self.state();
        state.tags += 1;
        let tag = state.tags;
        if let Some(failure) = state.closed.clone() {
            drop(state);
            waiter.fail(&failure, &failure);
            return tag;
        }
        state.waiting.insert(tag, waiter);
        ask(&mut state, tag);
        wake(state);
        tag
    }

    /// Tells everybody who waits: `failure` to those whose words were not sent.
    fn close(&self, cx: &Context, failure: Failure) {
        let (mut waiting, unsent) = {
            let mut state = self.state();
            state.closed = Some(failure.clone());
            let unsent: Vec<u64> = state.requests.drain(..).map(|(tag, _)| tag).collect();
            state.others.clear();
            (std::mem::take(&mut state.waiting), unsent)
        };
        for tag in unsent {
            if let Some(waiter) = waiting.remove(&tag) {
                waiter.fail(&failure, &failure);
            }
        }
        let fate = match mutant!(cx, "client.lost_counts_as_refused") {
            true => lost("nobody answered"),
            false => unknown("the connection was lost"),
        };
        waiting.into_values().for_each(|waiter| waiter.fail(&fate, &failure));
    }
}

impl State {
    /// The next that somebody still waits for.
    fn next_request(&mut self) -> Option<(u64, Envelope)> {
        loop {
            let (tag, envelope) = self.requests.pop_front()?;
            match self.waiting.get(&tag) {
                Some(Waiter::Answer(reply)) if !reply.is_abandoned() => {
                    return Some((tag, envelope));
                }
                _ => drop(self.waiting.remove(&tag)),
            }
        }
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    if let Some(waker) = state.waker.take() {
        drop(state);
        waker.wake();
    }
}

impl Waiter {
    fn fail(self, request: &Failure, other: &Failure) {
        match self {
            Waiter::Answer(reply) => reply.send(Err(request.clone())),
            Waiter::Finding(reply) => reply.send(Err(request.clone())),
            Waiter::Events(feed) => feed.end(End::Lost, other),
        }
    }
}

/// What never is: a connection ends with a failure, be it that nobody needs it any more.
enum Never {}

async fn run(link: &Link, cx: Context, config: &ClientConfig) -> Result<Never, Failure> {
    let failed = |why: String| Failure::new(Code::Unavailable, why).with("reason", "connect");
    let opening = cx.timeout(config.connect_patience, open(cx, config));
    let opened = opening.await.map_err(|_| failed(format!("{}: no answer", config.addr)))?;
    let mut wire = opened.map_err(|e| match e {
        NotOpened::Way(e) => failed(format!("{}: {e}", config.addr)),
        NotOpened::Told(failure) => failure,
    })?;
    let mut pulse = cx.sleep(config.silence);
    let failure = std::future::poll_fn(|task| wire.poll(task, link, &mut pulse)).await;
    // How the goodbye goes is the server's affair.
    let _ = wire.stream.shutdown().await;
    Err(failure)
}

enum NotOpened {
    /// Something on the way.
    Way(io::Error),
    /// The server does not want it.
    Told(Failure),
}

async fn open(cx: Context, config: &ClientConfig) -> Result<Wire, NotOpened> {
    let stream = cx.connect(&config.addr).await.map_err(NotOpened::Way)?;
    let mut wire = Wire {
        cx,
        config: config.clone(),
        stream,
        encoder: Encoder::default(),
        decoder: Decoder::default(),
        input: BytesMut::new(),
        output: Vec::new(),
        sent: 0,
        credits: 0,
        heard: false,
        pinged: false,
    };
    let hello = Hello { password: config.password.clone(), ..Hello::new(config.name.clone()) };
    let encoded = wire.encoder.encode(0, &Message::Hello(hello), &mut wire.output);
    encoded.map_err(|long| NotOpened::Told(long.into()))?;
    let greet = async {
        wire.stream.write_all(&wire.output).await?;
        wire.output.clear();
        loop {
            match wire.decoder.decode(&mut wire.input) {
                Ok(Some(frame)) => return Ok(Ok(frame)),
                Ok(None) => {}
                Err(malformed) => return Ok(Err(Failure::from(malformed))),
            }
            if wire.stream.read_buf(&mut wire.input).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    let frame = greet.await.map_err(NotOpened::Way)?.map_err(NotOpened::Told)?;
    match frame.message {
        Ok(Message::Welcome(Welcome { credits, .. })) => {
            wire.credits = credits;
            Ok(wire)
        }
        Ok(Message::Goodbye(Some(failure))) | Err(failure) => Err(NotOpened::Told(failure)),
        Ok(_) => Err(NotOpened::Told(strange())),
    }
}

fn strange() -> Failure {
    Failure::new(Code::Internal, "the server says what it may not").with("reason", "protocol")
}

fn lost(why: &str) -> Failure {
    let text = format!("the connection was lost: {why}; nothing of the request was sent");
    Failure::new(Code::Unavailable, text).with("reason", "disconnected")
}

/// The task's own part of a connection.
struct Wire {
    cx: Context,
    config: ClientConfig,
    stream: Stream,
    encoder: Encoder,
    decoder: Decoder,
    input: BytesMut,
    output: Vec<u8>,
    sent: usize,
    /// Requests that may still be sent.
    credits: u32,
    heard: bool,
    pinged: bool,
}

impl Wire {
    /// Ready when it is over.
    fn poll(
        &mut self,
        task: &mut task::Context<'_>,
        link: &Link,
        pulse: &mut Sleep,
    ) -> Poll<Failure> {
        loop {
            match self.poll_read(task) {
                Poll::Ready(Ok(0)) => return Poll::Ready(lost("the server closed it")),
                Poll::Ready(Ok(_)) => match self.take(link) {
                    Ok(()) => continue,
                    Err(failure) => return Poll::Ready(failure),
                },
                Poll::Ready(Err(e)) => return Poll::Ready(lost(&e.to_string())),
                Poll::Pending => break,
            }
        }
        while Pin::new(&mut *pulse).poll(task).is_ready() {
            if !std::mem::take(&mut self.heard) && std::mem::replace(&mut self.pinged, true) {
                return Poll::Ready(lost("the server is silent"));
            }
            self.say(0, &Message::Ping);
            pulse.reset(self.cx.now() + self.config.silence);
        }
        loop {
            let is_leaving = self.gather(task, link);
            match self.poll_write(task) {
                Poll::Ready(Ok(0)) if is_leaving => {
                    return Poll::Ready(lost("nobody needs it any more"));
                }
                // Everything is written, and there was nothing more.
                Poll::Ready(Ok(0)) | Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(lost(&e.to_string())),
            }
        }
    }

    fn poll_read(&mut self, task: &mut task::Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(READ.max(self.decoder.missing(&self.input).min(1 << 20)));
        std::pin::pin!(self.stream.read_buf(&mut self.input)).poll(task)
    }

    /// How many bytes were written, all there are; `Pending` when some are left.
    fn poll_write(&mut self, task: &mut task::Context<'_>) -> Poll<io::Result<usize>> {
        let mut written = 0;
        while self.sent < self.output.len() {
            let bytes = &self.output[self.sent..];
            match Pin::new(&mut self.stream).poll_write(task, bytes) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) if mutant!(self.cx, "client.part_counts_as_written") => {
                    (self.sent, written) = (self.output.len(), written + n);
                }
                Poll::Ready(Ok(n)) => (self.sent, written) = (self.sent + n, written + n),
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.output.clear();
        self.sent = 0;
        Poll::Ready(Ok(written))
    }

    /// Encodes what was left to send. Whether nobody will leave any more.
    fn gather(&mut self, task: &mut task::Context<'_>, link: &Link) -> bool {
        let mut state = link.state();
        while self.output.len() < OUTPUT_HIGH {
            let (tag, message) = match state.others.pop_front() {
                Some(other) => other,
                None if self.credits == 0 => break,
                None => match state.next_request() {
                    Some((tag, envelope)) => (tag, Message::Request(envelope)),
                    None => break,
                },
            };
            let is_request = message.kind() == Kind::Request;
            match self.encoder.encode(tag, &message, &mut self.output) {
                Ok(()) => self.credits -= u32::from(is_request),
                Err(long) => {
                    if let Some(waiter) = state.waiting.remove(&tag) {
                        waiter.fail(&long.into(), &long.into());
                    }
                }
            }
        }
        state.waker = Some(task.waker().clone());
        state.is_leaving && state.waiting.is_empty()
    }

    fn say(&mut self, tag: u64, message: &Message) {
        // It is short.
        let _ = self.encoder.encode(tag, message, &mut self.output);
    }

    /// Tells what was read to whoever waits for it.
    fn take(&mut self, link: &Link) -> Result<(), Failure> {
        (self.heard, self.pinged) = (true, false);
        while let Some(frame) = self.decoder.decode(&mut self.input)? {
            let Frame { tag, kind, message } = frame;
            let kind = Kind::from_number(kind);
            let mut state = link.state();
            match (kind, message) {
                (Some(Kind::Answer), message) => {
                    let answer = match message {
                        Ok(Message::Answer { answer, credits }) => {
                            self.credits = self.credits.saturating_add(credits);
                            answer
                        }
                        Ok(_) => return Err(strange()),
                        // It is not understood, and was an answer.
                        Err(failure) => {
                            self.credits = self.credits.saturating_add(1);
                            Err(failure)
                        }
                    };
                    if let Some(Waiter::Answer(reply)) = state.waiting.remove(&tag) {
                        reply.send(answer);
                    }
                }
                (Some(Kind::Finding), message) => {
                    let finding = match message {
                        Ok(Message::Finding(finding)) => finding,
                        Ok(_) => return Err(strange()),
                        Err(failure) => Err(failure),
                    };
                    if let Some(Waiter::Finding(reply)) = state.waiting.remove(&tag) {
                        reply.send(finding);
                    }
                }
                (_, Ok(Message::Subscribed)) => {
                    if let Some(Waiter::Events(feed)) = state.waiting.get(&tag) {
                        feed.opened();
                    }
                }
                (_, Ok(Message::Event(event))) => {
                    if let Some(Waiter::Events(feed)) = state.waiting.get(&tag) {
                        feed.push(event);
                    }
                }
                (Some(Kind::Event | Kind::SubscriptionEnded), message) => {
                    let failure = match message {
                        Ok(Message::SubscriptionEnded(failure)) => failure,
                        Ok(_) => return Err(strange()),
                        // An event that is not understood would be a gap.
                        Err(failure) => Some(failure),
                    };
                    if let Some(Waiter::Events(feed)) = state.waiting.remove(&tag) {
                        feed.end(End::Told(failure), &strange());
                    }
                }
                (_, Ok(Message::Ping)) => {
                    drop(state);
                    self.say(tag, &Message::Pong);
                }
                (_, Ok(Message::Goodbye(failure))) => {
                    return Err(failure.unwrap_or_else(|| lost("the server said goodbye")));
                }
                (_, Ok(Message::Pong)) => {}
                (Some(_), Ok(_)) => return Err(strange()),
                // Of a later version, and not asked for.
                (_, Err(_)) | (None, _) => {}
            }
        }
        Ok(())
    }
}

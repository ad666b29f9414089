//! Native: one connection that speaks the native protocol, from its hello to its goodbye.
//!
//! It reads what there is, hands every request in it to the door as one batch, and writes what
//! comes back in as few writes as there can be. Answers come in the order of their outcomes. A
//! client that keeps to its credits is never refused for want of one, and one that does not read is
//! left with what it has not read: its answers wait where they are, its subscriptions end when
//! their room is full, and if it takes nothing for too long it is disconnected.
//!
//! Invariant: every request is answered once, and no more requests are in flight than the
//! connection has credits.

mod questions;
mod subscriptions;

use std::{
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use orloj_kernel::{Context, Sleep, Stream, always, buggify, mutant, sometimes};
use orloj_net::{
    envelope::{Code, Envelope, Failure, MESSAGE_MAX, NAME_MAX, Safety},
    native::{Decoder, Encoder, Frame, Hello, Kind, Message, VERSION, Welcome},
};

use crate::{
    Durability, NodeConfig,
    door::Door,
    outbox::{Outbox, Push},
    session::Bell,
    socket::{Ended, Socket},
};
use questions::Questions;
use subscriptions::{ROOM, Subscriptions};

/// Most bytes of a table before the client has said who it is.
const HELLO_MAX: usize = 16 << 10;
/// How long it may take to do so.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// After so long a silence the client is asked for a sign of life, and after another is given up.
const SILENCE: Duration = Duration::from_secs(60);
/// While more bytes wait for the client nothing is taken from the outbox: what is there has bounds
/// of its own.
const OUTPUT_HIGH: usize = 1 << 20;
/// What the server can do beyond the version.
const CAPABILITIES: [&str; 2] = ["questions", "subscriptions"];

pub(crate) struct Connection {
    door: Door,
    socket: Socket,
    bell: Arc<Bell>,
    id: u64,
    decoder: Decoder,
    encoder: Encoder,
    greeted: bool,
    outbox: Arc<Outbox>,
    /// What was taken from the outbox.
    pushed: Vec<Push>,
    /// Requests that were read, in order.
    batch: Vec<(u64, Envelope)>,
    /// Requests without an answer, those of the batch among them.
    in_flight: usize,
    questions: Questions,
    subscriptions: Subscriptions,
    /// Whether anything was heard since the client was last listened for.
    heard: bool,
    pinged: bool,
    /// No more requests are read: say goodbye when everything in flight is answered.
    leaving: Option<Ended>,
    /// Nothing more is read: close when everything is written.
    last: Option<Ended>,
}

/// What there is to do next.
enum Event {
    /// Bytes came in, or there is something in `pushed`.
    Work,
    /// It is over.
    End(Ended),
}

impl Connection {
    pub(crate) fn new(door: Door, stream: Stream, id: u64, bell: Arc<Bell>) -> Connection {
        let mut decoder = Decoder::default();
        decoder.set_most(HELLO_MAX);
        Connection {
            door,
            socket: Socket::new(stream),
            bell,
            id,
            decoder,
            encoder: Encoder::default(),
            greeted: false,
            outbox: Outbox::new(),
            pushed: Vec::new(),
            batch: Vec::new(),
            in_flight: 0,
            questions: Questions::default(),
            subscriptions: Subscriptions::default(),
            heard: false,
            pinged: false,
            leaving: None,
            last: None,
        }
    }

    /// Serves the client until one of the two sides is done.
    pub(crate) async fn serve(mut self) -> Ended {
        let cx = self.door.cx;
        let mut pulse = cx.sleep(HELLO_PATIENCE);
        let ended = loop {
            let ended = match self.exchange(&mut pulse).await {
                Event::Work => self.work().await,
                Event::End(ended) => Err(ended),
            };
            if let Err(ended) = ended {
                break ended;
            }
        };
        cx.trace("native", format_args!("{} ended: {ended:?}", self.id));
        self.socket.part(&cx, ended).await;
        ended
    }

    /// Tells what was pushed, and does what was read.
    async fn work(&mut self) -> Result<(), Ended> {
        self.tell();
        while self.last.is_none() && self.leaving.is_none() {
            match self.decoder.decode(&mut self.socket.input) {
                Ok(Some(frame)) => self.take(frame),
                Ok(None) => {
                    let missing = self.decoder.missing(&self.socket.input);
                    self.socket.make_room(missing);
                    if mutant!(self.door.cx, "native.partial_frame_is_dropped") {
                        self.socket.input.clear();
                    }
                    break;
                }
                Err(malformed) => self.goodbye(Some(malformed.into()), Ended::LastAnswer),
            }
            if self.socket.waiting() > self.door.config.output_max {
                sometimes!(self.door.cx, true, "native: a client left too many answers unread");
                return Err(Ended::OutputLimit);
            }
        }
        if !self.batch.is_empty() {
            let cx = self.door.cx;
            sometimes!(cx, self.batch.len() > 1, "native: requests were handed on as one batch");
            if buggify!(cx, "native: lingers before it hands on") {
                cx.yield_now().await;
            }
            let batch = std::mem::take(&mut self.batch);
            // Those without an answer are told that nobody knows: it lies in the outbox.
            let _ = self.door.submit(batch, &self.outbox).await;
        }
        Ok(())
    }

    fn take(&mut self, frame: Frame) {
        let Frame { tag, kind, message } = frame;
        match message {
            Ok(Message::Hello(hello)) if !self.greeted => self.greet(tag, &hello),
            _ if !self.greeted => self.refuse("the first frame is no hello", "hello"),
            Ok(Message::Request(envelope)) => self.request(tag, envelope),
            Ok(Message::Question(question)) => {
                if self.questions.is_full() {
                    let busy = Failure::new(Code::Busy, "too many questions are open");
                    self.say(tag, &Message::Finding(Err(busy.with("reason", "questions"))));
                } else {
                    let door = self.door.clone();
                    self.questions.add(tag, async move { door.ask(question).await });
                }
            }
            Ok(Message::Subscribe { session, credits }) => {
                if self.subscriptions.has(tag) {
                    self.refuse("the tag names another subscription", "tag");
                } else if session.as_ref().is_some_and(|name| name.len() > NAME_MAX) {
                    let failure = Failure::invalid("session", "is longer than 256 bytes");
                    self.say(tag, &Message::SubscriptionEnded(Some(failure)));
                } else if self.subscriptions.is_full() {
                    let busy = Failure::new(Code::Busy, "too many subscriptions are open");
                    let busy = busy.with("reason", "subscriptions");
                    self.say(tag, &Message::SubscriptionEnded(Some(busy)));
                } else {
                    self.subscriptions.add(tag, credits);
                    self.say(tag, &Message::Subscribed);
                    self.door.subscribe(session, &self.outbox, tag, ROOM);
                }
            }
            Ok(Message::EventCredits(credits)) => {
                let lost = usize::from(mutant!(self.door.cx, "native.event_lost_at_grant"));
                for event in self.subscriptions.grant(tag, credits).into_iter().skip(lost) {
                    self.event(tag, event);
                }
            }
            Ok(Message::Unsubscribe) => {
                self.door.unsubscribe(&self.outbox, tag);
                // It may have ended meanwhile, and then has been told so.
                if self.subscriptions.remove(tag) {
                    self.say(tag, &Message::SubscriptionEnded(None));
                }
            }
            Ok(Message::Ping) => self.say(tag, &Message::Pong),
            Ok(Message::Pong) => {}
            Ok(Message::Goodbye(_)) => self.leaving = Some(Ended::LastAnswer),
            Ok(
                Message::Hello(_)
                | Message::Welcome(_)
                | Message::Answer { .. }
                | Message::Finding(_)
                | Message::Subscribed
                | Message::Event(_)
                | Message::SubscriptionEnded(_),
            ) => self.refuse("a frame that a server does not take", "kind"),
            Err(failure) => {
                let refusal = match Kind::from_number(kind) {
                    Some(Kind::Question) => Message::Finding(Err(failure)),
                    Some(Kind::Subscribe) => Message::SubscriptionEnded(Some(failure)),
                    // Whoever asked for what is not known here asked for something, but only a
                    // request took a credit.
                    kind => {
                        let credits = u32::from(kind == Some(Kind::Request));
                        Message::Answer { answer: Err(failure), credits }
                    }
                };
                self.say(tag, &refusal);
            }
        }
    }

    fn greet(&mut self, tag: u64, hello: &Hello) {
        let NodeConfig { password, limits, durability, native_credits, version, .. } =
            &*self.door.config;
        if !hello.is_understood() {
            let failure = Failure::new(Code::Invalid, "no version in common")
                .with("reason", "version")
                .with("version_min", VERSION.to_string())
                .with("version_max", VERSION.to_string());
            return self.goodbye(Some(failure), Ended::LastAnswer);
        }
        if password.as_ref().is_some_and(|password| !hello.knows(password)) {
            sometimes!(self.door.cx, true, "native: a client without the password");
            let failure = Failure::new(Code::Unauthorized, "a password is asked for");
            return self.goodbye(Some(failure), Ended::LastAnswer);
        }
        let bound = |bytes: usize| u32::try_from(bytes.min(MESSAGE_MAX)).unwrap_or(u32::MAX);
        let welcome = Welcome {
            version: u16::from(VERSION),
            server: format!("orloj {version}"),
            capabilities: CAPABILITIES.map(String::from).to_vec(),
            credits: *native_credits,
            message_max: bound(MESSAGE_MAX),
            key_max: bound(limits.key),
            value_max: bound(limits.bulk),
            event_credits_max: ROOM as u32,
            durability: Some(match durability {
                Durability::Strict => Safety::Strict,
                Durability::Buffered => Safety::Buffered,
                Durability::InMemory => Safety::InMemory,
            }),
            connection: self.id,
        };
        self.door.cx.trace("native", format_args!("{} is {:?}", self.id, hello.client));
        self.greeted = true;
        self.decoder.set_most(MESSAGE_MAX);
        self.say(tag, &Message::Welcome(welcome));
    }

    fn request(&mut self, tag: u64, envelope: Envelope) {
        if self.in_flight < self.door.config.native_credits as usize {
            self.in_flight += 1;
            self.batch.push((tag, envelope));
            return;
        }
        sometimes!(self.door.cx, true, "native: a request had no credit");
        let busy = Failure::new(Code::Busy, "as many requests are in flight as there are credits");
        // It had none, so none comes back.
        let answer = Err(busy.with("reason", "credits"));
        self.say(tag, &Message::Answer { answer, credits: 0 });
    }

    /// Writes what was pushed.
    fn tell(&mut self) {
        let mut pushed = std::mem::take(&mut self.pushed);
        for push in pushed.drain(..) {
            match push {
                Push::Answer { tag, answer } => {
                    always!(
                        self.door.cx,
                        self.in_flight > 0,
                        "native: one answer for each request",
                        "{tag}"
                    );
                    if !mutant!(self.door.cx, "native.in_flight_for_ever") {
                        self.in_flight -= 1;
                    }
                    let credits = u32::from(!mutant!(self.door.cx, "native.credit_is_kept"));
                    self.say(tag, &Message::Answer { answer, credits });
                }
                Push::Event { tag, event } => match self.subscriptions.tell(tag, event) {
                    Ok(Some(event)) => self.event(tag, event),
                    Ok(None) => {}
                    Err(subscriptions::Lagged) => self.lagged(tag),
                },
                Push::Lagged { tag } => {
                    if self.subscriptions.remove(tag) {
                        self.lagged(tag);
                    }
                }
            }
        }
        self.pushed = pushed;
    }

    fn event(&mut self, tag: u64, event: Arc<orloj_net::envelope::Event>) {
        let message = Message::Event(event);
        if let Err(long) = self.encoder.encode(tag, &message, &mut self.socket.output) {
            // A gap would not be seen.
            self.door.unsubscribe(&self.outbox, tag);
            self.subscriptions.remove(tag);
            self.say(tag, &Message::SubscriptionEnded(Some(long.into())));
        }
    }

    fn lagged(&mut self, tag: u64) {
        sometimes!(self.door.cx, true, "native: a subscription lagged");
        self.door.unsubscribe(&self.outbox, tag);
        let failure = Failure::new(Code::Busy, "too many events were left unread");
        self.say(tag, &Message::SubscriptionEnded(Some(failure.with("reason", "lagged"))));
    }

    fn say(&mut self, tag: u64, message: &Message) {
        let output = &mut self.socket.output;
        let Err(long) = self.encoder.encode(tag, message, output) else { return };
        let failure = Failure::from(long).with("reason", "frame");
        let shorter = match message {
            Message::Answer { credits, .. } => {
                Message::Answer { answer: Err(failure), credits: *credits }
            }
            Message::Finding(_) => Message::Finding(Err(failure)),
            // Nothing else is made of what clients have written.
            _ => return,
        };
        if self.encoder.encode(tag, &shorter, output).is_err() {
            self.last = Some(Ended::Closed);
        }
    }

    /// What the client does makes no sense.
    fn refuse(&mut self, what: &str, reason: &str) {
        let failure = Failure::new(Code::Invalid, what).with("reason", reason);
        self.goodbye(Some(failure), Ended::LastAnswer);
    }

    fn goodbye(&mut self, failure: Option<Failure>, ended: Ended) {
        self.say(0, &Message::Goodbye(failure));
        self.last = Some(ended);
    }

    /// Writes, reads and listens until there is something to do, or an end.
    async fn exchange(&mut self, pulse: &mut Sleep) -> Event {
        let mut stall: Option<Sleep> = None;
        std::future::poll_fn(|task| self.poll_exchange(task, pulse, &mut stall)).await
    }

    fn poll_exchange(
        &mut self,
        task: &mut task::Context<'_>,
        pulse: &mut Sleep,
        stall: &mut Option<Sleep>,
    ) -> Poll<Event> {
        for (tag, finding) in self.questions.poll(task) {
            self.say(tag, &Message::Finding(finding));
        }
        if self.last.is_none() && Pin::new(&mut *pulse).poll(task).is_ready() {
            self.listen_for_life(task, pulse);
        }
        match self.socket.poll_write(task) {
            Poll::Ready(Err(ended)) => return Poll::Ready(Event::End(ended)),
            Poll::Ready(Ok(true)) => *stall = None,
            Poll::Ready(Ok(false)) | Poll::Pending => {}
        }
        let waits = self.socket.waiting();
        if let (Some(ended), 0) = (self.last, waits) {
            return Poll::Ready(Event::End(ended));
        }
        if self.last.is_none() {
            let mut is_work =
                waits <= OUTPUT_HIGH && self.outbox.poll_take(task, &mut self.pushed).is_ready();
            if self.leaving.is_none() {
                match self.socket.poll_read(task) {
                    Poll::Ready(Ok(0) | Err(_)) => self.last = Some(Ended::Closed),
                    Poll::Ready(Ok(_)) => (self.heard, is_work) = (true, true),
                    Poll::Pending if self.bell.poll(task).is_ready() => {
                        self.leaving = Some(Ended::Drained);
                    }
                    Poll::Pending => {}
                }
            }
            if is_work {
                return Poll::Ready(Event::Work);
            }
            if let (Some(ended), 0, true) =
                (self.leaving, self.in_flight, self.questions.is_empty())
            {
                let why = (ended == Ended::Drained)
                    .then(|| Failure::new(Code::ShuttingDown, "the node is about to stop"));
                self.goodbye(why, ended);
            }
            if self.last.is_some() {
                // There is something to write now, or nothing to wait for.
                task.waker().wake_by_ref();
            }
        }
        if self.socket.waiting() == 0 {
            self.socket.rest();
            return Poll::Pending;
        }
        let cx: Context = self.door.cx;
        let stall = stall.get_or_insert_with(|| cx.sleep(self.door.config.output_patience));
        Pin::new(stall).poll(task).map(|()| Event::End(Ended::Stalled))
    }

    /// Nothing was heard for some time, or something was.
    fn listen_for_life(&mut self, task: &mut task::Context<'_>, pulse: &mut Sleep) {
        let heard = std::mem::take(&mut self.heard);
        if !self.greeted {
            let failure = Failure::new(Code::Timeout, "no hello came");
            self.goodbye(Some(failure.with("reason", "hello")), Ended::LastAnswer);
        } else if heard {
            self.pinged = false;
        } else if self.pinged {
            let failure = Failure::new(Code::Timeout, "no sign of life came");
            self.goodbye(Some(failure.with("reason", "silence")), Ended::Closed);
        } else {
            self.pinged = true;
            self.say(0, &Message::Ping);
        }
        pulse.reset(self.door.cx.now() + SILENCE);
        if Pin::new(pulse).poll(task).is_ready() {
            task.waker().wake_by_ref();
        }
    }
}

/// Also if its task is ended from outside.
impl Drop for Connection {
    fn drop(&mut self) {
        self.door.part(&self.outbox);
    }
}

/// What a client is told that is one too many.
pub(crate) fn too_many() -> Vec<u8> {
    let failure = Failure::new(Code::Busy, "as many clients are connected as may be");
    let mut goodbye = Vec::new();
    let message = Message::Goodbye(Some(failure.with("reason", "connections")));
    // It is short.
    let _ = Encoder::default().encode(0, &message, &mut goodbye);
    goodbye
}

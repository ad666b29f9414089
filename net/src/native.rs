//! The native protocol: causal commands, questions and subscriptions over one stream of bytes.
//!
//! A frame is a head of [`HEAD`] bytes and one FlatBuffers table, whose type the head's [`Kind`]
//! tells; `docs/src/protocol.md` has every byte. [`Decoder`] cuts a stream into frames,
//! [`Encoder`] writes them. What can be told apart is told apart: a request with a command or a
//! field that is not understood is refused alone, a stream that cannot be cut is [`Malformed`] and
//! ends.
//!
//! `native/generated.rs` is made by `planus rust net/schemas/native.fbs`, without the serde derives
//! and the comments, and formatted as everything here.

mod ask;
mod call;
mod event;
mod frame;
mod hello;
mod outcome;
mod source;

#[expect(
    dead_code,
    unreachable_pub,
    clippy::enum_variant_names,
    clippy::wrong_self_convention,
    clippy::undocumented_unsafe_blocks,
    clippy::allow_attributes,
    reason = "generated"
)]
mod generated;

use std::sync::Arc;

pub use frame::{Decoder, Encoder, Frame, HEAD, Malformed, TooLong};
use generated::orloj::native as table;
pub use hello::{Hello, Welcome};

use crate::envelope::{Code, Envelope, Event, Failure, Finding, Outcome, Question, SessionName};

/// The protocol's version, major and minor. A minor one only adds what others leave aside.
pub const FORMAT: (u16, u16) = (1, 0);

/// The major version, in every frame's head.
pub const VERSION: u8 = FORMAT.0 as u8;

/// The schema of what stands in the frames.
pub const SCHEMA: &str = include_str!("../schemas/native.fbs");

/// What a frame holds. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// The client's first frame.
    Hello = 1,
    /// The server's answer to it.
    Welcome = 2,
    /// A command.
    Request = 3,
    /// To a request.
    Answer = 4,
    /// Something that is asked beside the lanes.
    Question = 5,
    /// To a question.
    Finding = 6,
    /// Asks for events.
    Subscribe = 7,
    /// The subscription stands.
    Subscribed = 8,
    /// A step in the life of a command.
    Event = 9,
    /// More events may be sent.
    EventCredits = 10,
    /// Asks for no more events.
    Unsubscribe = 11,
    /// No more events come.
    SubscriptionEnded = 12,
    /// Asks for a sign of life, either way.
    Ping = 13,
    /// The sign of life.
    Pong = 14,
    /// The last frame of a connection, either way.
    Goodbye = 15,
}

impl Kind {
    /// All, in the order of their numbers.
    pub const ALL: [Kind; 15] = [
        Kind::Hello,
        Kind::Welcome,
        Kind::Request,
        Kind::Answer,
        Kind::Question,
        Kind::Finding,
        Kind::Subscribe,
        Kind::Subscribed,
        Kind::Event,
        Kind::EventCredits,
        Kind::Unsubscribe,
        Kind::SubscriptionEnded,
        Kind::Ping,
        Kind::Pong,
        Kind::Goodbye,
    ];

    /// The kind with that number.
    pub fn from_number(number: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// What a frame says. Those without a tag of their own in the text carry 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The client says who it is.
    Hello(Hello),
    /// The server says what holds on this connection.
    Welcome(Welcome),
    /// A command; its answer carries its tag.
    Request(Envelope),
    /// To the request with the tag.
    Answer {
        /// The outcome, or why it was not accepted.
        answer: Result<Outcome, Failure>,
        /// So many more requests may be in flight again.
        credits: u32,
    },
    /// A question; its finding carries its tag.
    Question(Question),
    /// To the question with the tag.
    Finding(Result<Finding, Failure>),
    /// Follows a session, or everything; the tag names the subscription from here on.
    Subscribe {
        /// Whose commands; `None` is everybody's.
        session: Option<SessionName>,
        /// How many events may be sent before more are granted.
        credits: u32,
    },
    /// The subscription stands: what is accepted from here on will be told.
    Subscribed,
    /// To the subscription with the tag.
    Event(Arc<Event>),
    /// So many more events may be sent to the subscription with the tag.
    EventCredits(u32),
    /// Ends the subscription with the tag.
    Unsubscribe,
    /// It has ended: as was asked, or why.
    SubscriptionEnded(Option<Failure>),
    /// Asks for a pong with the same tag.
    Ping,
    /// To the ping with the tag.
    Pong,
    /// Nothing follows; why.
    Goodbye(Option<Failure>),
}

impl Message {
    /// Which kind of frame it goes in.
    pub fn kind(&self) -> Kind {
        match self {
            Message::Hello(_) => Kind::Hello,
            Message::Welcome(_) => Kind::Welcome,
            Message::Request(_) => Kind::Request,
            Message::Answer { .. } => Kind::Answer,
            Message::Question(_) => Kind::Question,
            Message::Finding(_) => Kind::Finding,
            Message::Subscribe { .. } => Kind::Subscribe,
            Message::Subscribed => Kind::Subscribed,
            Message::Event(_) => Kind::Event,
            Message::EventCredits(_) => Kind::EventCredits,
            Message::Unsubscribe => Kind::Unsubscribe,
            Message::SubscriptionEnded(_) => Kind::SubscriptionEnded,
            Message::Ping => Kind::Ping,
            Message::Pong => Kind::Pong,
            Message::Goodbye(_) => Kind::Goodbye,
        }
    }

    fn read(kind: u8, from: &mut source::Source<'_>) -> Result<Message, source::Fault> {
        let Some(kind) = Kind::from_number(kind) else {
            let failure = Failure::new(Code::UnknownCommand, "a frame of a kind nobody knows");
            return Err(failure.with("kind", kind.to_string()).into());
        };
        Ok(match kind {
            Kind::Hello => Message::Hello(hello::read_hello(from)?),
            Kind::Welcome => Message::Welcome(hello::read_welcome(from)?),
            Kind::Request => Message::Request(call::read_request(from)?),
            Kind::Answer => {
                let root: table::AnswerRef<'_> = from.root()?;
                let answer = match (root.outcome()?, root.failure()?) {
                    (Some(outcome), None) => Ok(outcome::read_outcome(outcome, from)?),
                    (None, Some(failure)) => Err(outcome::read_failure(failure, from)?),
                    _ => return Err(source::Fault::Table),
                };
                Message::Answer { answer, credits: root.credits()? }
            }
            Kind::Question => Message::Question(ask::read_question(from)?),
            Kind::Finding => Message::Finding(ask::read_finding(from)?),
            Kind::Subscribe => {
                let root: table::SubscribeRef<'_> = from.root()?;
                let session = from.name(root.session()?)?;
                Message::Subscribe { session, credits: root.credits()? }
            }
            Kind::Subscribed => Message::Subscribed,
            Kind::Event => Message::Event(Arc::new(event::read_event(from)?)),
            Kind::EventCredits => {
                let root: table::EventCreditsRef<'_> = from.root()?;
                Message::EventCredits(root.credits()?)
            }
            Kind::Unsubscribe => Message::Unsubscribe,
            Kind::SubscriptionEnded => {
                let root: table::SubscriptionEndedRef<'_> = from.root()?;
                let failure = root.failure()?;
                let failure = failure.map(|failure| outcome::read_failure(failure, from));
                Message::SubscriptionEnded(failure.transpose()?)
            }
            Kind::Ping => Message::Ping,
            Kind::Pong => Message::Pong,
            Kind::Goodbye => {
                let root: table::GoodbyeRef<'_> = from.root()?;
                let failure = root.failure()?;
                let failure = failure.map(|failure| outcome::read_failure(failure, from));
                Message::Goodbye(failure.transpose()?)
            }
        })
    }

    /// The finished buffer.
    fn write<'a>(&self, to: &'a mut planus::Builder) -> &'a [u8] {
        match self {
            Message::Hello(hello) => hello::write_hello(hello, to),
            Message::Welcome(welcome) => hello::write_welcome(welcome, to),
            Message::Request(envelope) => call::write_request(envelope, to),
            Message::Answer { answer, credits } => {
                let outcome = answer.as_ref().ok().map(|it| outcome::write_outcome(it, to));
                let failure = answer.as_ref().err().map(|it| outcome::write_failure(it, to));
                let root = table::Answer::create(to, outcome, failure, *credits);
                to.finish(root, None)
            }
            Message::Question(question) => ask::write_question(question, to),
            Message::Finding(finding) => ask::write_finding(finding, to),
            Message::Subscribe { session, credits } => {
                let root = table::Subscribe::create(to, session.as_deref(), *credits);
                to.finish(root, None)
            }
            Message::Subscribed => {
                let root = table::Subscribed::create(to);
                to.finish(root, None)
            }
            Message::Event(event) => event::write_event(event, to),
            Message::EventCredits(credits) => {
                let root = table::EventCredits::create(to, *credits);
                to.finish(root, None)
            }
            Message::Unsubscribe => {
                let root = table::Unsubscribe::create(to);
                to.finish(root, None)
            }
            Message::SubscriptionEnded(failure) => {
                let failure = failure.as_ref().map(|failure| outcome::write_failure(failure, to));
                let root = table::SubscriptionEnded::create(to, failure);
                to.finish(root, None)
            }
            Message::Ping => {
                let root = table::Ping::create(to);
                to.finish(root, None)
            }
            Message::Pong => {
                let root = table::Pong::create(to);
                to.finish(root, None)
            }
            Message::Goodbye(failure) => {
                let failure = failure.as_ref().map(|failure| outcome::write_failure(failure, to));
                let root = table::Goodbye::create(to, failure);
                to.finish(root, None)
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! A daemon that runs, asked over the native protocol. What it says is shown in its JSON form.

use std::{future::poll_fn, task::Poll, time::Duration};

use bytes::{Bytes, BytesMut};
use clap::Args;
use futures_util::stream::{FuturesUnordered, Stream as _};
use orloj_kernel::{Context, Stream};
use orloj_net::{
    Commands,
    client::{Client, ClientConfig, Subscription},
    envelope::{self, Code, MESSAGE_MAX, Question, SessionName},
    json::{self, Ask, Message, Refused},
    wire::{Next, Wire},
};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use super::Failure;

/// How long one request may take: what a command may take is the daemon's to say.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// Lines that are sent before one of them is answered.
const AHEAD: usize = 1_024;
/// Bytes read at once.
const READ: usize = 64 << 10;

/// Which daemon, and how it is shown.
#[derive(Debug, Args)]
pub struct To {
    /// Where it takes the native protocol: its --native
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7380")]
    pub connect: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A daemon.
#[derive(Clone, Debug)]
pub struct Remote(Client);

impl Remote {
    /// A daemon that was not asked anything yet. Nothing is tried twice: whoever uses the tool sees
    /// what came of it.
    pub fn new(cx: Context, to: &To) -> Remote {
        let mut config = ClientConfig::new(&to.connect);
        config.name = concat!("orloj ", env!("CARGO_PKG_VERSION")).to_owned();
        (config.retries, config.deadline) = (0, PATIENCE);
        Remote(Client::new(cx, config))
    }

    /// What a failure of the client's means for the tool.
    pub fn failure(&self, failure: &envelope::Failure) -> Failure {
        match is_unreached(failure) {
            true => Failure::Remote(failure.message.clone()),
            false => Failure::Refused(json::failure(failure)),
        }
    }

    /// The `result` of a question.
    ///
    /// # Errors
    /// [`Failure::Refused`] with the daemon's own words; [`Failure::Remote`].
    pub async fn question(&self, question: Question) -> Result<Value, Failure> {
        let found = self.0.ask(question).await.map_err(|failure| self.failure(&failure))?;
        Ok(json::finding(None, &found)["result"].take())
    }

    /// Follows what happens to commands.
    ///
    /// # Errors
    /// As [`Remote::question`].
    pub async fn subscribe(&self, session: Option<SessionName>) -> Result<Subscription, Failure> {
        self.0.subscribe(session).await.map_err(|failure| self.failure(&failure))
    }

    /// The answer to a request, and why it was not reached if it was not.
    pub async fn exchange(&self, message: Message) -> (Value, Option<Failure>) {
        let Message { request, ask } = message;
        let (request, unreached) = (request.as_ref(), |failure: &envelope::Failure| {
            is_unreached(failure).then(|| self.failure(failure))
        });
        match ask {
            Ask::Command(envelope) => {
                let id = envelope.id.clone();
                let answer = self.0.send(envelope).await;
                let unreached = answer.as_ref().err().and_then(unreached);
                (json::answer(request, id.as_ref(), &answer), unreached)
            }
            Ask::Question(question) => match self.0.ask(question).await {
                Ok(found) => (json::finding(request, &found), None),
                Err(failure) => (json::refusal(request, None, &failure), unreached(&failure)),
            },
            Ask::Subscribe { .. } | Ask::Unsubscribe { .. } | Ask::Authenticate { .. } => {
                let text = "not here; `orloj tail` shows what happens";
                let failure = envelope::Failure::new(Code::Invalid, text).with("field", "type");
                (json::refusal(request, None, &failure), None)
            }
        }
    }

    /// As [`Remote::exchange`], of a text.
    async fn exchange_text(&self, text: Bytes) -> (Value, Option<Failure>) {
        match json::decode(&text) {
            Ok(message) => self.exchange(message).await,
            Err(Refused { request, id, failure, .. }) => {
                (json::refusal(request.as_ref(), id.as_ref(), &failure), None)
            }
        }
    }

    /// Sends the lines of `lines`, in order, and hands each answer to `tell` as it comes.
    ///
    /// # Errors
    /// [`Failure`]: the lines cannot be read, or the first of those that did not reach the daemon.
    pub async fn exchange_lines(
        &self,
        lines: &mut Stream,
        tell: &mut (dyn FnMut(Value) + Send),
    ) -> Result<(), Failure> {
        let mut wire = Wire::lines(MESSAGE_MAX);
        let (mut input, mut has_ended) = (BytesMut::new(), false);
        let mut answers = FuturesUnordered::new();
        let mut unreached = None;
        poll_fn(|task| {
            loop {
                while let Poll::Ready(Some((answer, why))) =
                    std::pin::Pin::new(&mut answers).poll_next(task)
                {
                    tell(answer);
                    unreached = unreached.take().or(why);
                }
                if has_ended {
                    let is_over = answers.is_empty();
                    return if is_over { Poll::Ready(Ok(())) } else { Poll::Pending };
                }
                if answers.len() >= AHEAD {
                    return Poll::Pending;
                }
                let text = match wire.next(&mut Vec::new()) {
                    Next::Text(text) => Some(text),
                    Next::Wait => None,
                    Next::Broken(failure, _) => {
                        return Poll::Ready(Err(Failure::Usage(failure.to_string())));
                    }
                    Next::Closed | Next::Refused => std::unreachable!("lines have no such words"),
                };
                if let Some(text) = text {
                    answers.push(self.exchange_text(text));
                    continue;
                }
                input.clear();
                input.reserve(READ);
                match std::pin::pin!(lines.read_buf(&mut input)).poll(task) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(0)) => {
                        has_ended = true;
                        if let Some(text) = wire.rest() {
                            answers.push(self.exchange_text(text));
                        }
                    }
                    Poll::Ready(Ok(_)) => wire.feed(&input),
                    Poll::Ready(Err(e)) => {
                        let said = format!("standard input: {e}");
                        return Poll::Ready(Err(Failure::Usage(said)));
                    }
                }
            }
        })
        .await?;
        unreached.map_or(Ok(()), Err)
    }
}

/// Whether the daemon has not said anything to it.
fn is_unreached(failure: &envelope::Failure) -> bool {
    let reason = failure.detail("reason");
    failure.code == Code::Unavailable
        && matches!(reason, Some("connect" | "disconnected" | "unknown_fate"))
}

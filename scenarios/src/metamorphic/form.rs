//! The forms in which a script can come, and what either end makes of it.

use bytes::BytesMut;
use futures_util::future::join_all;
use orloj_db::{Embedded, Node};
use orloj_invariants::Request;
use orloj_kernel::{Context, Stream};
use orloj_net::{
    Command, Commands,
    client::{Client, ClientConfig},
    envelope::{Call, End, Envelope, Failure, Outcome},
    json::{self, Ask, Message},
    resp::{ReplyDecoder, ReplyLimits, encode_request},
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Variant;
use crate::client::wire;

/// The session that a script may use.
const SESSION: &str = "s";

/// How many names a script has given.
#[derive(Default)]
pub(super) struct Names(u64);

/// One way to ask.
pub(super) struct Asker {
    way: Way,
    is_named: bool,
    is_session: bool,
}

enum Way {
    Embedded(Embedded),
    Native(Client),
    Json(Stream),
    Resp(Stream),
}

/// What came: an answer as it is, or as JSON has it.
pub(super) enum Came {
    End(End),
    Json(Value),
}

impl Asker {
    pub(super) async fn new(
        cx: Context,
        variant: &Variant,
        node: &Node,
        names: &mut Names,
    ) -> Result<Asker, String> {
        let connect = async |port: u16| {
            let connected = cx.connect(&format!("127.0.0.1:{port}")).await;
            connected.map_err(|why| format!("no connection: {why}"))
        };
        let form = variant.of("form");
        let way = match form {
            0 => Way::Embedded(node.commands()),
            1 => Way::Native(Client::new(cx, ClientConfig::new("127.0.0.1:6380"))),
            2 => Way::Json(connect(7070).await?),
            _ => {
                let mut stream = connect(6379).await?;
                let mut hello = Vec::new();
                encode_request(&["HELLO", if form == 4 { "3" } else { "2" }], &mut hello);
                stream.write_all(&hello).await.map_err(|why| why.to_string())?;
                replies(&mut stream, 1).await?;
                Way::Resp(stream)
            }
        };
        let is_session = variant.of("session") == 1;
        // What makes a session is no command of the script.
        if is_session && names.0 == 0 {
            let make = Envelope::new(Call::CreateSession).session(SESSION);
            node.commands().send(make).await.map_err(|why| why.to_string())?;
        }
        names.0 += 1;
        Ok(Asker { way, is_named: variant.of("named") == 1, is_session })
    }

    /// The answers to commands that go out together, in their order.
    pub(super) async fn ask(
        &mut self,
        commands: &[Command],
        names: &mut Names,
    ) -> Result<Vec<Came>, String> {
        let envelopes: Vec<Envelope> = commands
            .iter()
            .map(|command| {
                let mut envelope = Envelope::new(Call::Data(command.clone()));
                names.0 += 1;
                if self.is_named {
                    envelope = envelope.id(format!("n{}", names.0));
                }
                if self.is_session { envelope.session(SESSION) } else { envelope }
            })
            .collect();
        match &mut self.way {
            Way::Embedded(door) => ends(door.send_all(envelopes).await),
            Way::Native(client) => {
                let client = &*client;
                ends(join_all(envelopes.into_iter().map(|one| client.send(one))).await)
            }
            Way::Json(stream) => {
                let line = |envelope| {
                    let message = Message { request: None, ask: Ask::Command(envelope) };
                    json::encode(&message) + "\n"
                };
                let text: String = envelopes.into_iter().map(line).collect();
                stream.write_all(text.as_bytes()).await.map_err(|why| why.to_string())?;
                lines(stream, commands.len()).await
            }
            Way::Resp(stream) => {
                let mut bytes = Vec::new();
                let request = |command: &Command| Request::Store(command.clone());
                for command in commands {
                    encode_request(&wire::spell_request(&request(command)), &mut bytes);
                }
                stream.write_all(&bytes).await.map_err(|why| why.to_string())?;
                let replies = replies(stream, commands.len()).await?.into_iter();
                let read = |(command, reply): (&Command, _)| {
                    let shown = format!("{reply:?}");
                    let answer = wire::read(&request(command), reply);
                    answer.map(|answer| Came::End(End::Ok(answer))).ok_or(shown)
                };
                commands.iter().zip(replies).map(read).collect()
            }
        }
    }
}

fn ends(answers: Vec<Result<Outcome, Failure>>) -> Result<Vec<Came>, String> {
    let end = |answer: Result<Outcome, Failure>| match answer {
        Ok(outcome) => Ok(Came::End(outcome.end)),
        Err(failure) => Err(format!("not accepted: {failure}")),
    };
    answers.into_iter().map(end).collect()
}

async fn replies(stream: &mut Stream, count: usize) -> Result<Vec<orloj_net::resp::Reply>, String> {
    let mut decoder = ReplyDecoder::new(ReplyLimits::default());
    let (mut input, mut replies) = (BytesMut::new(), Vec::new());
    while replies.len() < count {
        match decoder.decode(&mut input).map_err(|why| why.to_string())? {
            Some(reply) => replies.push(reply),
            None => more(stream, &mut input).await?,
        }
    }
    Ok(replies)
}

async fn lines(stream: &mut Stream, count: usize) -> Result<Vec<Came>, String> {
    let (mut input, mut lines) = (BytesMut::new(), Vec::new());
    while lines.len() < count {
        match input.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                let line = input.split_to(end + 1);
                let value = serde_json::from_slice(&line).map_err(|why| why.to_string())?;
                lines.push(Came::Json(value));
            }
            None => more(stream, &mut input).await?,
        }
    }
    Ok(lines)
}

async fn more(stream: &mut Stream, input: &mut BytesMut) -> Result<(), String> {
    match stream.read_buf(input).await {
        Ok(0) => Err("the node hung up".to_owned()),
        Ok(_) => Ok(()),
        Err(why) => Err(why.to_string()),
    }
}

/// An answer's end in words, without what is said of its session and its name.
pub(super) fn of_json(answer: &Value) -> String {
    let mut said = String::new();
    for part in ["outcome", "result", "error"] {
        let Some(value) = answer.get(part) else { continue };
        // Where a scan goes on is said in each protocol's own way.
        let mut value = value.clone();
        if let Some(page) = value.as_object_mut()
            && let Some(next) = page.get_mut("next")
        {
            *next = Value::Null;
        }
        said += &format!("{value} ");
    }
    said.trim_end().to_owned()
}

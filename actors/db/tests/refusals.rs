//! Goal: what only a node in trouble refuses is refused with the same code over every transport:
//! `Internal`, `ShuttingDown`, and `Unavailable` of what a restart interrupted.
//! Method: a node in a simulated world whose redactor meddles, that is asked to stop under load, or
//! that ends while a slow disk keeps a command waiting; and a client of each kind.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use orloj_db::{CommandLimits, Node, NodeConfig};
use orloj_kernel::{Context, Stream};
use orloj_net::{
    Command, Commands, Expiry,
    client::{Client, ClientConfig},
    envelope::{
        Call, Code, Envelope, Failure, Finding, Outcome, Question,
        redaction::{Purpose, Redactor},
    },
    json,
    native::{Decoder, Encoder, Hello, Message},
};
use orloj_sim::{Control, disk::LatencyProfile};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MS: Duration = Duration::from_millis(1);

fn config() -> NodeConfig {
    let mut config = NodeConfig::new("data", "0.0.0.0:6379");
    config.native = Some("0.0.0.0:7380".to_owned());
    config.native_credits = 10_000;
    config.ws = Some("0.0.0.0:7070".to_owned());
    config.commands = CommandLimits { session_rate: 0, global_rate: 0, ..config.commands };
    config
}

fn set(key: &str, value: &str) -> Envelope {
    Envelope::new(Command::Set {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        expiry: Expiry::None,
        condition: None,
        get: false,
    })
}

fn get(key: &str) -> Envelope {
    Envelope::new(Command::Get { key: key.to_owned().into() })
}

/// The forms of a stream of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Native,
    Lines,
    /// WebSocket.
    Socket,
    /// Lines on a stream that the node is given: its standard input and output.
    Attached,
}

impl Form {
    /// How a client is told that nothing more comes. A line has no words for it.
    fn goodbye(self) -> Option<String> {
        match self {
            Form::Native => Some("ShuttingDown".to_owned()),
            Form::Socket => Some("1001".to_owned()),
            Form::Lines | Form::Attached => None,
        }
    }
}

const FORMS: [Form; 4] = [Form::Native, Form::Lines, Form::Socket, Form::Attached];

/// A client that writes what it likes.
struct Raw {
    form: Form,
    stream: Stream,
    input: BytesMut,
    decoder: Decoder,
    /// What it was told last.
    goodbye: Option<String>,
}

/// Code and reason of a refusal or a failure; `None` is ok.
type Told = Option<(Code, String)>;

fn told(failure: Option<&Failure>) -> Told {
    let reason = |failure: &Failure| failure.detail("reason").unwrap_or_default().to_owned();
    failure.map(|failure| (failure.code, reason(failure)))
}

fn answered(answer: &Result<Outcome, Failure>) -> Told {
    told(answer.as_ref().map_or_else(Some, |outcome| outcome.end.failure()))
}

impl Raw {
    async fn connect(cx: Context, node: &Node, form: Form) -> Raw {
        let stream = match form {
            Form::Native => cx.connect("127.0.0.1:7380").await,
            Form::Lines | Form::Socket => cx.connect("127.0.0.1:7070").await,
            Form::Attached => {
                let mut listener = cx.listen("127.0.0.1:9999").await.expect("it is free");
                let stream = cx.connect("127.0.0.1:9999").await;
                let (served, _) = listener.accept().await.expect("it listens");
                cx.spawn("attached", node.attach(served));
                stream
            }
        };
        let stream = stream.expect("it listens");
        let (input, decoder) = (BytesMut::new(), Decoder::default());
        let mut raw = Raw { form, stream, input, decoder, goodbye: None };
        match form {
            Form::Native => {
                let mut bytes = Vec::new();
                let hello = Message::Hello(Hello::new("raw"));
                Encoder::default().encode(0, &hello, &mut bytes).expect("it is short");
                raw.write(&bytes).await;
                assert!(matches!(raw.frame().await, Some(Message::Welcome(_))));
            }
            Form::Socket => {
                raw.write(
                    b"GET / HTTP/1.1\r\nHost: node:7070\r\nUpgrade: websocket\r\n\
                      Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                      Sec-WebSocket-Version: 13\r\n\r\n",
                )
                .await;
                while !raw.input.ends_with(b"\r\n\r\n") {
                    assert!(raw.read().await);
                }
                raw.input.clear();
            }
            Form::Lines | Form::Attached => {}
        }
        raw
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("it reads");
    }

    async fn read(&mut self) -> bool {
        self.stream.read_buf(&mut self.input).await.is_ok_and(|read| read > 0)
    }

    fn encode(&self, envelope: Envelope) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.form == Form::Native {
            let message = Message::Request(envelope);
            Encoder::default().encode(7, &message, &mut bytes).expect("it is short");
            return bytes;
        }
        let ask = json::Ask::Command(envelope);
        let mut text = json::encode(&json::Message { request: None, ask }).into_bytes();
        match self.form {
            Form::Socket => {
                let length = u16::try_from(text.len()).expect("short").to_be_bytes();
                // With a mask of zeros, which changes nothing.
                bytes.extend([0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0]);
                bytes.append(&mut text);
                bytes
            }
            _ => [text, vec![b'\n']].concat(),
        }
    }

    async fn frame(&mut self) -> Option<Message> {
        loop {
            match self.decoder.decode(&mut self.input).expect("the node's are well formed") {
                Some(frame) => return Some(frame.message.expect("known")),
                None if self.read().await => {}
                None => return None,
            }
        }
    }

    /// A line, or a frame of text.
    async fn text(&mut self) -> Option<Value> {
        loop {
            let whole = match (self.form, &self.input[..]) {
                (Form::Socket, [0x81, 126, high, low, ..]) => {
                    Some((4, 4 + usize::from(u16::from_be_bytes([*high, *low]))))
                }
                (Form::Socket, [0x81, length, ..]) => Some((2, 2 + usize::from(*length))),
                (Form::Socket, [0x88, _, high, low, ..]) => {
                    self.goodbye = Some(u16::from_be_bytes([*high, *low]).to_string());
                    return None;
                }
                (Form::Socket, _) => None,
                (_, bytes) => bytes.iter().position(|byte| *byte == b'\n').map(|end| (0, end + 1)),
            };
            if let Some((start, end)) = whole.filter(|(_, end)| *end <= self.input.len()) {
                let text = self.input.split_to(end);
                return Some(serde_json::from_slice(&text[start..]).expect("it is JSON"));
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// The next answer; `None` when the node has said goodbye.
    async fn next(&mut self) -> Option<Told> {
        if self.form == Form::Native {
            return match self.frame().await? {
                Message::Answer { answer, .. } => Some(answered(&answer)),
                Message::Goodbye(failure) => {
                    self.goodbye = failure.map(|failure| failure.code.name().to_owned());
                    None
                }
                other => panic!("{other:?}"),
            };
        }
        let answer = self.text().await?;
        let Some(error) = answer.get("error") else { return Some(None) };
        let code = Code::ALL.into_iter().find(|code| error["code"] == code.name());
        let reason = error["details"]["reason"].as_str().unwrap_or_default().to_owned();
        Some(Some((code.expect("it is one"), reason)))
    }

    async fn ask(&mut self, envelope: Envelope) -> Told {
        let bytes = self.encode(envelope);
        self.write(&bytes).await;
        self.next().await.expect("an answer")
    }
}

/// Asks in every way there is.
async fn everywhere(
    cx: Context,
    node: &Node,
    name: &str,
    ask: impl Fn(&str) -> Envelope,
) -> Vec<Told> {
    let ask = |way: &str| ask(&format!("{name}-{way}"));
    let mut all = vec![answered(&node.commands().send(ask("embedded")).await)];
    let config = ClientConfig { retries: 0, ..ClientConfig::new("127.0.0.1:7380") };
    all.push(answered(&Client::new(cx, config).send(ask("client")).await));
    for form in FORMS {
        let mut raw = Raw::connect(cx, node, form).await;
        all.push(raw.ask(ask(&format!("{form:?}"))).await);
    }
    all
}

struct Meddles;
impl Redactor for Meddles {
    fn redact(&self, envelope: &mut Envelope, _: Purpose) {
        if matches!(envelope.call, Call::Data(Command::Set { .. })) {
            envelope.if_session_version = Some(7);
        }
    }
}

#[orloj_sim::test(seeds = 4)]
async fn a_defect_is_internal_and_leaves_no_trace(cx: Context) {
    let mut config = config();
    config.redaction.redactor = Some(Arc::new(Meddles));
    let node = Node::start(config, cx).await.expect("it starts");
    for told in everywhere(cx, &node, "id", |id| set("k", "v").id(id)).await {
        assert_eq!(told, Some((Code::Internal, "redactor".to_owned())));
    }
    for told in everywhere(cx, &node, "other", |id| get("k").id(id)).await {
        assert_eq!(told, None, "the node goes on");
    }
    node.stop().await.expect("in order");
}

#[orloj_sim::test(seeds = 4)]
async fn what_a_restart_interrupted_is_unavailable(cx: Context) {
    let node = Node::start(config(), cx).await.expect("it starts");
    // More than a page has room for.
    let pairs = (0..2_000).map(|n| (format!("key:{n:04}").into(), "v".repeat(100).into()));
    let fill = Envelope::new(Command::MSet { pairs: pairs.collect() });
    node.commands().send(fill).await.expect("it is done");
    node.stop().await.expect("in order");
    let node = Node::start(config(), cx).await.expect("it starts");
    let warm = Envelope::new(Command::DbSize).id("warm");
    node.commands().send(warm).await.expect("it is done");
    // What the node itself looks at is read by then.
    cx.sleep(1_000 * MS).await;
    let slow = 5_000_000_000;
    let slow_reads = LatencyProfile { read: (slow, slow), ..LatencyProfile::SOLID_STATE };
    Control.set_disk_latency("test", slow_reads);
    let (commands, asked) = (node.commands(), get("key:1000").id("slow"));
    let waits = cx.spawn("waits", async move { commands.send(asked).await });
    cx.sleep(500 * MS).await;
    let known = node.commands().ask(Question::Outcome("slow".into())).await;
    assert_eq!(known, Ok(Finding::Outcome(None)), "it is in flight");
    drop(node);
    // Whoever was waiting is told that nobody knows.
    let left = waits.await.expect("it ends").expect_err("the node is gone");
    assert_eq!(told(Some(&left)), Some((Code::Unavailable, "unknown_fate".to_owned())));
    Control.set_disk_latency("test", LatencyProfile::SOLID_STATE);
    cx.sleep(10_000 * MS).await;
    let node = Node::start(config(), cx).await.expect("it starts");
    for told in everywhere(cx, &node, "", |_| get("key:1000").id("slow")).await {
        assert_eq!(told, Some((Code::Unavailable, "restart_in_flight".to_owned())));
    }
    node.stop().await.expect("in order");
}

/// A full disk takes no command: each is told that nothing of it happened, and by the same id it is
/// done when there is room again.
#[orloj_sim::test(seeds = 4)]
async fn what_the_disk_does_not_take_is_a_storage_failure(cx: Context) {
    let mut config = config();
    config.storage.segment_bytes = 64 << 10;
    let node = Node::start(config, cx).await.expect("it starts");
    Control.limit_disk("test", Some(0));
    let value = "v".repeat(20_000);
    let asked = |id: &str| set("k", &value).id(id);
    // The journal has taken its next room beforehand.
    while node.commands().send(set("k", &value)).await.is_ok() {}
    for told in everywhere(cx, &node, "id", asked).await {
        assert_eq!(told, Some((Code::StorageFailure, "journal_failed".to_owned())));
    }
    Control.limit_disk("test", None);
    cx.sleep(1_000 * MS).await;
    for told in everywhere(cx, &node, "id", asked).await {
        assert_eq!(told, None, "there is room");
    }
    node.stop().await.expect("in order");
}

/// A client that has many requests under way when the node is asked to stop is answered all that
/// the node has taken, and then told; whoever asks from within is refused.
#[orloj_sim::test(seeds = 4)]
async fn a_node_that_stops_says_so(cx: Context) {
    for form in FORMS {
        let node = Node::start(config(), cx).await.expect("it starts");
        let commands = node.commands();
        let mut raw = Raw::connect(cx, &node, form).await;
        let requests: Vec<u8> = (0..100).flat_map(|_| raw.encode(set("k", "v"))).collect();
        raw.write(&requests).await;
        assert_eq!(raw.next().await, Some(None), "{form:?}");
        let stopping = cx.spawn("node", node.stop());
        let mut last = None;
        while let Some(told) = raw.next().await {
            let is_so = matches!(told, None | Some((Code::ShuttingDown, _)));
            assert!(is_so && last.is_none(), "{form:?}: {told:?} behind {last:?}");
            last = told;
        }
        let is_told = last.is_some() || form == Form::Native;
        assert!(is_told, "{form:?} heard no reason");
        stopping.await.expect("it runs").expect("in order");
        assert_eq!(raw.goodbye, form.goodbye(), "{form:?}");
        let late = answered(&commands.send(get("k")).await);
        assert_eq!(late, Some((Code::ShuttingDown, String::new())), "from within");
    }
}

//! Operations of a node's clients, over both protocols.

use std::{future::poll_fn, pin::Pin, task::Poll, time::Duration};

use bytes::{Bytes, BytesMut};
use orloj_db::{CommandLimits, Durability, Node, NodeConfig};
use orloj_kernel::{Context, Shutdown, Stream};
use orloj_net::{
    Command, Commands, Condition, Expiry, Key,
    client::{Client, ClientConfig},
    envelope::{Envelope, Filter, Question},
    resp::{Reply, ReplyDecoder, ReplyLimits, encode_request},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Cost, Meter, Sums, VALUE, calm, key, set_disk};
use crate::node::{ADDRESS, NATIVE, NODE};

/// How often an operation is done that is counted.
const TIMES: u64 = 200;
/// How often before, so that what is made once is there.
const BEFORE: u64 = 50;
/// Commands that are sent together.
const TOGETHER: u64 = 100;

pub(super) fn all() -> Result<Vec<Cost>, String> {
    let mut costs = Vec::new();
    for mode in [Durability::Strict, Durability::Buffered, Durability::InMemory] {
        let mut add = |what: &str, times, figures: Result<Sums, String>| {
            let name = format!("{what}.{mode}");
            let Sums(figures) = figures.map_err(|why| format!("{name}: {why}"))?;
            costs.push(Cost { name, times, figures });
            Ok::<(), String>(())
        };
        add("resp.set", TIMES, world(mode, |cx| singly(cx, set)))?;
        add("resp.get", TIMES, world(mode, |cx| singly(cx, get)))?;
        add("resp.pipeline-of-100", TIMES / 10, world(mode, pipeline))?;
        if mode == Durability::Buffered {
            continue;
        }
        add("native.command", TIMES, world(mode, commands))?;
        add("native.lane-of-100", TIMES / 10, world(mode, lane))?;
        add("native.history-page-of-100", TIMES / 10, world(mode, history))?;
    }
    Ok(costs)
}

/// A node on its machine, and `drive` on another.
fn world<F>(mode: Durability, drive: impl FnOnce(Context) -> F) -> Result<Sums, String>
where
    F: Future<Output = Result<Sums, String>> + Send + 'static,
{
    let mut sim = calm();
    sim.host(NODE, move |cx| async move {
        let config = NodeConfig {
            durability: mode,
            native: Some("0.0.0.0:6380".to_owned()),
            commands: CommandLimits { session_rate: 0, global_rate: 0, ..CommandLimits::default() },
            ..NodeConfig::new("data", "0.0.0.0:6379")
        };
        let node = Node::start(config, cx).await.expect("a calm world starts a node");
        node.run(&Shutdown::new()).await.expect("nobody stops it");
    });
    let cx = sim.idle_host("client");
    set_disk(&mut sim);
    let driver = drive(cx);
    let ended = sim.run(cx, async move {
        cx.sleep(Duration::from_secs(1)).await;
        driver.await
    });
    ended.map_err(|failure| format!("{}: {}", failure.law, failure.evidence))?
}

fn set(number: u64, out: &mut Vec<u8>) {
    encode_request(&[&b"SET"[..], &key(number % 100), VALUE], out);
}

fn get(number: u64, out: &mut Vec<u8>) {
    encode_request(&[&b"GET"[..], &key(number % 100)], out);
}

/// One request after the other over RESP, each on the answer to the one before.
async fn singly(cx: Context, request: fn(u64, &mut Vec<u8>)) -> Result<Sums, String> {
    let mut line = Line::open(cx).await?;
    for number in 0..BEFORE {
        line.ask(1, |out| set(number, out)).await?;
    }
    let meter = Meter::start();
    for number in 0..TIMES {
        line.ask(1, |out| request(number % BEFORE, out)).await?;
    }
    Ok(meter.stop())
}

/// A hundred requests in one write.
async fn pipeline(cx: Context) -> Result<Sums, String> {
    let mut line = Line::open(cx).await?;
    let many = |out: &mut Vec<u8>| (0..TOGETHER).for_each(|number| set(number, out));
    line.ask(TOGETHER, many).await?;
    let meter = Meter::start();
    for _ in 0..TIMES / 10 {
        line.ask(TOGETHER, many).await?;
    }
    Ok(meter.stop())
}

fn envelope(number: u64) -> Envelope {
    let value = Bytes::from_static(VALUE);
    let (expiry, condition) = (Expiry::None, None::<Condition>);
    let key = Key::copy_from_slice(&key(number % 100));
    let command = Command::Set { key, value, expiry, condition, get: false };
    let (id, session) = (Some(format!("id-{number:06}").into()), Some("session".into()));
    Envelope { id, session, ..Envelope::new(command) }
}

/// Sends commands one after the other.
async fn send(client: &Client, numbers: std::ops::Range<u64>) -> Result<(), String> {
    for number in numbers {
        client.send(envelope(number)).await.map_err(|failure| failure.to_string())?;
    }
    Ok(())
}

/// One command after the other, each on the outcome of the one before.
async fn commands(cx: Context) -> Result<Sums, String> {
    let client = Client::new(cx, ClientConfig::new(NATIVE));
    send(&client, 0..BEFORE).await?;
    let meter = Meter::start();
    send(&client, BEFORE..BEFORE + TIMES).await?;
    Ok(meter.stop())
}

/// A hundred commands of one session at once.
async fn lane(cx: Context) -> Result<Sums, String> {
    let client = Client::new(cx, ClientConfig::new(NATIVE));
    send(&client, 0..BEFORE).await?;
    let meter = Meter::start();
    for round in 0..TIMES / 10 {
        let first = BEFORE + round * TOGETHER;
        let tasks: Vec<_> = (first..first + TOGETHER)
            .map(|number| {
                let client = client.clone();
                cx.spawn("sender", async move { client.send(envelope(number)).await })
            })
            .collect();
        for task in tasks {
            let outcome = task.await.map_err(|_| "a sender was lost".to_owned())?;
            outcome.map_err(|failure| failure.to_string())?;
        }
    }
    Ok(meter.stop())
}

/// The newest hundred commands, again and again.
async fn history(cx: Context) -> Result<Sums, String> {
    let client = Client::new(cx, ClientConfig::new(NATIVE));
    send(&client, 0..2 * TOGETHER).await?;
    let filter = Filter { limit: TOGETHER as u32, ..Filter::default() };
    let meter = Meter::start();
    for _ in 0..TIMES / 10 {
        let found = client.ask(Question::History(filter.clone())).await;
        found.map_err(|failure| failure.to_string())?;
    }
    Ok(meter.stop())
}

/// A connection that speaks RESP.
struct Line {
    stream: Stream,
    decoder: ReplyDecoder,
    input: BytesMut,
    output: Vec<u8>,
}

impl Line {
    async fn open(cx: Context) -> Result<Line, String> {
        let stream = cx.connect(ADDRESS).await.map_err(|error| error.to_string())?;
        let decoder = ReplyDecoder::new(ReplyLimits::default());
        Ok(Line { stream, decoder, input: BytesMut::new(), output: Vec::new() })
    }

    /// Writes what `request` writes, and waits for so many replies.
    async fn ask(&mut self, replies: u64, request: impl Fn(&mut Vec<u8>)) -> Result<(), String> {
        let Line { stream, decoder, input, output } = self;
        output.clear();
        request(output);
        let mut sent = 0;
        let mut heard = 0;
        poll_fn(|task| {
            loop {
                while sent < output.len() {
                    match Pin::new(&mut *stream).poll_write(task, &output[sent..]) {
                        Poll::Ready(Ok(n)) if n > 0 => sent += n,
                        Poll::Ready(_) => return Poll::Ready(Err("it takes nothing".to_owned())),
                        Poll::Pending => break,
                    }
                }
                while let Some(reply) = decoder.decode(input).map_err(|e| e.to_string())? {
                    if let Reply::Error(text) = reply {
                        return Poll::Ready(Err(String::from_utf8_lossy(&text).into_owned()));
                    }
                    heard += 1;
                }
                if heard == replies {
                    return Poll::Ready(Ok(()));
                }
                let mut space = [0; 4 << 10];
                let mut space = ReadBuf::new(&mut space);
                match std::task::ready!(Pin::new(&mut *stream).poll_read(task, &mut space)) {
                    Ok(()) if !space.filled().is_empty() => {
                        input.extend_from_slice(space.filled());
                    }
                    _ => return Poll::Ready(Err("the connection has ended".to_owned())),
                }
            }
        })
        .await
    }
}

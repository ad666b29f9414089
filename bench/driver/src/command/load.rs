//! The load: connections that each have one request in flight, over RESP or the native protocol.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use orloj_net::{
    Command, Expiry,
    envelope::{Call, Envelope, Filter, Finding, Question},
    native::{Decoder, Encoder, Hello, Message},
};
use rustix::event::{PollFd, PollFlags, poll};

use crate::server::Server;

/// Keys that are written and read.
const KEYS: u64 = 100_000;
/// Bytes of a value.
const VALUE: usize = 16;
/// Requests that the pipelined connection has in flight.
const WINDOW: u64 = 200;

/// What is asked again and again.
#[derive(Clone, Copy)]
pub(crate) enum Ask {
    Set,
    Get,
}

impl Ask {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Ask::Set => "set",
            Ask::Get => "get",
        }
    }

    fn command(self, number: u64) -> Command {
        let key = key(number).into();
        match self {
            Ask::Set => Command::Set {
                key,
                value: vec![b'x'; VALUE].into(),
                expiry: Expiry::None,
                condition: None,
                get: false,
            },
            Ask::Get => Command::Get { key },
        }
    }
}

/// A number in disorder.
fn key(number: u64) -> String {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    format!("key:{:012}", mixed % KEYS)
}

/// How one connection speaks.
enum Tongue {
    Plain,
    Native { encoder: Encoder, decoder: Decoder, session: String },
}

struct Connection {
    stream: TcpStream,
    tongue: Tongue,
    input: BytesMut,
    output: Vec<u8>,
    /// Numbers of requests so far, never repeated.
    next: u64,
    own: u64,
}

/// Many connections with one request each in flight.
pub(crate) struct Load(Vec<Connection>);

impl Load {
    pub(crate) fn plain(server: &Server, clients: usize) -> Result<Load> {
        let connect = |own| Connection::plain(server, own);
        (0..clients as u64).map(connect).collect::<Result<_>>().map(Load)
    }

    pub(crate) fn native(server: &Server, clients: usize) -> Result<Load> {
        let connect = |own| Connection::native(server, own);
        (0..clients as u64).map(connect).collect::<Result<_>>().map(Load)
    }

    /// Has `operations` done.
    pub(crate) fn run(&mut self, ask: Ask, operations: u64) -> Result<()> {
        let clients = self.0.len() as u64;
        let (mut sent, mut done) = (clients.min(operations), 0);
        for connection in self.0.iter_mut().take(sent as usize) {
            connection.send(ask)?;
        }
        while done < operations {
            let mut fds: Vec<PollFd<'_>> =
                self.0.iter().map(|c| PollFd::new(&c.stream, PollFlags::IN)).collect();
            poll(&mut fds, None)?;
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            for (connection, is_ready) in self.0.iter_mut().zip(ready) {
                if is_ready && connection.read_some()? {
                    done += 1;
                    if sent < operations {
                        sent += 1;
                        connection.send(ask)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The median of round trips on one connection, in microseconds.
    pub(crate) fn round_trip(&mut self, trips: usize) -> Result<f64> {
        let connection = self.0.first_mut().context("no connection")?;
        let mut times = Vec::with_capacity(trips);
        for _ in 0..trips {
            let begun = Instant::now();
            connection.send(Ask::Set)?;
            while !connection.read_some()? {}
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }
}

impl Connection {
    fn plain(server: &Server, own: u64) -> Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", server.port()))?;
        stream.set_nodelay(true)?;
        let (input, output) = (BytesMut::new(), Vec::new());
        Ok(Connection { stream, tongue: Tongue::Plain, input, output, next: 0, own })
    }

    fn native(server: &Server, own: u64) -> Result<Connection> {
        let native = Native::connect(server)?;
        let Native { stream, mut encoder, mut decoder, mut input } = native;
        // A name of its own, whoever else connected before.
        let session = format!("bench-{own}-{}", stream.local_addr()?.port());
        let make = Envelope::new(Call::CreateSession).session(session.as_str());
        let mut output = Vec::new();
        encoder.encode(0, &Message::Request(make), &mut output)?;
        let mut stream = stream;
        stream.write_all(&output)?;
        output.clear();
        answer(&mut stream, &mut decoder, &mut input)?;
        let tongue = Tongue::Native { encoder, decoder, session };
        Ok(Connection { stream, tongue, input, output, next: 0, own })
    }

    fn send(&mut self, ask: Ask) -> Result<()> {
        self.next += 1;
        let command = ask.command(self.next * 50 + self.own);
        match &mut self.tongue {
            Tongue::Plain => match &command {
                Command::Set { key, value, .. } => {
                    write!(self.output, "*3\r\n$3\r\nSET\r\n${}\r\n", key.len())?;
                    self.output.extend_from_slice(key);
                    write!(self.output, "\r\n${}\r\n", value.len())?;
                    self.output.extend_from_slice(value);
                    self.output.extend_from_slice(b"\r\n");
                }
                Command::Get { key } => {
                    write!(self.output, "*2\r\n$3\r\nGET\r\n${}\r\n", key.len())?;
                    self.output.extend_from_slice(key);
                    self.output.extend_from_slice(b"\r\n");
                }
                _ => bail!("not of the load"),
            },
            Tongue::Native { encoder, session, .. } => {
                let id = format!("{session}:{}", self.next);
                let envelope = Envelope::new(command).session(session.as_str()).id(id);
                encoder.encode(self.next, &Message::Request(envelope), &mut self.output)?;
            }
        }
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// Reads what there is; whether the answer is whole.
    fn read_some(&mut self) -> Result<bool> {
        fill(&mut self.stream, &mut self.input)?;
        match &mut self.tongue {
            Tongue::Plain => {
                let is_bulk = self.input.starts_with(b"$") && !self.input.starts_with(b"$-1");
                let lines = self.input.iter().filter(|byte| **byte == b'\n').count();
                ensure!(self.input.first() != Some(&b'-'), "an error");
                let is_whole = lines == if is_bulk { 2 } else { 1 };
                if is_whole {
                    self.input.clear();
                }
                Ok(is_whole)
            }
            Tongue::Native { decoder, .. } => match decoder.decode(&mut self.input)? {
                Some(frame) => check(frame.message).map(|()| true),
                None => Ok(false),
            },
        }
    }
}

fn fill(stream: &mut TcpStream, input: &mut BytesMut) -> Result<()> {
    let mut bytes = [0; 16 << 10];
    let read = stream.read(&mut bytes)?;
    ensure!(read > 0, "the server has closed the connection");
    input.extend_from_slice(&bytes[..read]);
    Ok(())
}

fn check(message: Result<Message, orloj_net::envelope::Failure>) -> Result<()> {
    match message? {
        Message::Answer { answer, .. } => {
            let outcome = answer?;
            ensure!(outcome.end.is_ok(), "a command failed: {:?}", outcome.end);
            Ok(())
        }
        other => bail!("not an answer: {:?}", other.kind()),
    }
}

fn frame(stream: &mut TcpStream, decoder: &mut Decoder, input: &mut BytesMut) -> Result<Message> {
    loop {
        if let Some(frame) = decoder.decode(input)? {
            return Ok(frame.message?);
        }
        fill(stream, input)?;
    }
}

fn answer(stream: &mut TcpStream, decoder: &mut Decoder, input: &mut BytesMut) -> Result<()> {
    check(Ok(frame(stream, decoder, input)?))
}

/// One connection that has many requests in flight.
pub(crate) struct Native {
    stream: TcpStream,
    encoder: Encoder,
    decoder: Decoder,
    input: BytesMut,
}

impl Native {
    pub(crate) fn connect(server: &Server) -> Result<Native> {
        let mut stream = TcpStream::connect(("127.0.0.1", server.native_port()))?;
        stream.set_nodelay(true)?;
        let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
        let (mut input, mut output) = (BytesMut::new(), Vec::new());
        encoder.encode(0, &Message::Hello(Hello::new("bench")), &mut output)?;
        stream.write_all(&output)?;
        match frame(&mut stream, &mut decoder, &mut input)? {
            Message::Welcome(_) => Ok(Native { stream, encoder, decoder, input }),
            other => bail!("no welcome: {:?}", other.kind()),
        }
    }

    /// Sends `count` commands, with a bounded number in flight.
    fn pipeline(
        &mut self,
        count: u64,
        make: impl Fn(u64) -> Envelope,
        mut progress: impl FnMut(u64),
    ) -> Result<()> {
        let (mut sent, mut done) = (0, 0);
        let mut output = Vec::new();
        while done < count {
            while sent < count && sent - done < WINDOW {
                self.encoder.encode(sent, &Message::Request(make(sent)), &mut output)?;
                sent += 1;
            }
            self.stream.write_all(&output)?;
            output.clear();
            answer(&mut self.stream, &mut self.decoder, &mut self.input)?;
            done += 1;
            while let Some(frame) = self.decoder.decode(&mut self.input)? {
                check(frame.message)?;
                done += 1;
            }
            if done % 4096 < WINDOW {
                progress(done);
            }
        }
        Ok(())
    }

    pub(crate) fn create_sessions(&mut self, count: u64) -> Result<()> {
        let make = |n| Envelope::new(Call::CreateSession).session(format!("user-{n:08}"));
        self.pipeline(count, make, |_| ())
    }

    /// Sends one command in each.
    pub(crate) fn use_sessions(&mut self, count: u64) -> Result<()> {
        let make = |n| Envelope::new(Ask::Set.command(n)).session(format!("user-{n:08}"));
        self.pipeline(count, make, |_| ())
    }

    /// Makes a history of `count` commands in a thousand sessions.
    pub(crate) fn fill(&mut self, count: u64, progress: impl FnMut(u64)) -> Result<()> {
        let sessions = |n| Envelope::new(Call::CreateSession).session(format!("filler-{n:04}"));
        self.pipeline(1000, sessions, |_| ())?;
        let make = |n: u64| {
            let session = format!("filler-{:04}", n * 7 % 1000);
            Envelope::new(Ask::Set.command(n)).session(session).id(format!("fill-{n}"))
        };
        self.pipeline(count, make, progress)
    }

    /// Asks for pages of a hundred commands, of sessions and of all, and says how many
    /// milliseconds each took.
    pub(crate) fn pages(&mut self, count: u64, sessions: u64) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for n in 0..count {
            let session = (n % 2 == 0).then(|| format!("filler-{:04}", n * 31 % sessions).into());
            let filter = Filter { session, limit: 100, ..Filter::default() };
            let mut output = Vec::new();
            let question = Message::Question(Question::History(filter));
            self.encoder.encode(n, &question, &mut output)?;
            let begun = Instant::now();
            self.stream.write_all(&output)?;
            match frame(&mut self.stream, &mut self.decoder, &mut self.input)? {
                Message::Finding(Ok(Finding::History(page))) => {
                    ensure!(page.commands.len() == 100, "{} commands", page.commands.len());
                }
                other => bail!("no history: {:?}", other.kind()),
            }
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    }
}

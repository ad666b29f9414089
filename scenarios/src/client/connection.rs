//! One connection of a client: requests out, replies in, and who still waits for one.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use bytes::BytesMut;
use orloj_invariants::{Loss, OpId, Request};
use orloj_kernel::{Context, Stream};
use orloj_net::{
    Answer, Command, Key,
    resp::{Reply, ReplyDecoder, ReplyLimits},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wire;
use crate::{node, recorder::Recorder};

/// How a server with no room for another connection says so.
const TURNED_AWAY: &[u8] = b"ERR max number of clients";

/// What a reply is awaited for.
enum Awaited {
    Greeting,
    Answer(OpId, Request),
}

pub(super) struct Connection {
    stream: Option<Stream>,
    client: u32,
    number: u32,
    recorder: Arc<Recorder>,
    output: Vec<u8>,
    sent: usize,
    input: BytesMut,
    decoder: ReplyDecoder,
    awaited: VecDeque<Awaited>,
    /// The page of a scan that was heard last, and the position it gave, if it was not the end.
    scan: Option<(OpId, Key)>,
    last: Option<Answer>,
}

impl Connection {
    pub(super) async fn open(
        cx: Context,
        client: u32,
        number: u32,
        recorder: &Arc<Recorder>,
    ) -> io::Result<Connection> {
        let stream = cx.connect(node::ADDRESS).await?;
        recorder.calls(client, number, stream.local_addr()?);
        Ok(Connection {
            stream: Some(stream),
            client,
            number,
            recorder: recorder.clone(),
            output: Vec::new(),
            sent: 0,
            input: BytesMut::new(),
            decoder: ReplyDecoder::new(ReplyLimits::default()),
            awaited: VecDeque::new(),
            scan: None,
            last: None,
        })
    }

    /// Says which protocol it speaks.
    pub(super) fn greet(&mut self, resp3: bool) {
        wire::greeting(resp3, &mut self.output);
        self.awaited.push_back(Awaited::Greeting);
    }

    /// Puts a request into the output.
    pub(super) fn ask(&mut self, request: Request, resumes: Option<OpId>) {
        let (client, number) = (self.client, self.number);
        wire::encode(&request, &mut self.output);
        let id = self.recorder.asks(client, number, request.clone(), resumes);
        self.awaited.push_back(Awaited::Answer(id, request));
    }

    /// How many replies are awaited.
    pub(super) fn waits(&self) -> usize {
        self.awaited.len()
    }

    /// Where the scan of which a page was heard last goes on.
    pub(super) fn scan(&self) -> Option<(OpId, Key)> {
        self.scan.clone()
    }

    /// The answer that was heard last.
    pub(super) fn last(&mut self) -> Option<Answer> {
        self.last.take()
    }

    /// Writes the output, and reads meanwhile, until no more than `keep` replies are awaited.
    pub(super) async fn hear(&mut self, keep: usize) -> Result<(), ()> {
        poll_fn(|task| {
            loop {
                self.poll_send(task)?;
                if self.awaited.len() <= keep && self.sent == self.output.len() {
                    return Poll::Ready(Ok(()));
                }
                std::task::ready!(self.poll_read(task, 64 << 10))?;
            }
        })
        .await
    }

    /// Writes the output and reads nothing.
    pub(super) async fn send(&mut self) -> Result<(), ()> {
        poll_fn(|task| {
            self.poll_send(task)?;
            if self.sent == self.output.len() { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Reads once, at most so many bytes.
    pub(super) async fn read_some(&mut self, bytes: usize) -> Result<(), ()> {
        poll_fn(|task| self.poll_read(task, bytes)).await
    }

    /// Gives the connection up: every reply that was awaited is lost.
    pub(super) fn leave(&mut self, how: Loss) {
        self.stream = None;
        for awaited in self.awaited.drain(..) {
            if let Awaited::Answer(id, _) = awaited {
                self.recorder.loses(id, how);
            }
        }
    }

    fn poll_send(&mut self, task: &mut task::Context<'_>) -> Result<(), ()> {
        let stream = self.stream.as_mut().ok_or(())?;
        while self.sent < self.output.len() {
            match Pin::new(&mut *stream).poll_write(task, &self.output[self.sent..]) {
                Poll::Ready(Ok(n)) if n > 0 => self.sent += n,
                Poll::Ready(_) => return Err(()),
                Poll::Pending => return Ok(()),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }

    fn poll_read(&mut self, task: &mut task::Context<'_>, max: usize) -> Poll<Result<(), ()>> {
        let stream = self.stream.as_mut().ok_or(())?;
        let mut space = [0; 4 << 10];
        let room = max.min(space.len());
        let mut space = ReadBuf::new(&mut space[..room]);
        match std::task::ready!(Pin::new(stream).poll_read(task, &mut space)) {
            Ok(()) if !space.filled().is_empty() => {
                self.input.extend_from_slice(space.filled());
                Poll::Ready(self.take_replies())
            }
            Ok(()) | Err(_) => Poll::Ready(Err(())),
        }
    }

    fn take_replies(&mut self) -> Result<(), ()> {
        loop {
            match self.decoder.decode(&mut self.input) {
                Ok(None) => return Ok(()),
                // Turned away at the door: nothing that was sent has been read.
                Ok(Some(Reply::Error(text))) if text.starts_with(TURNED_AWAY) => return Err(()),
                Ok(Some(reply)) => self.take(reply),
                Err(error) => {
                    self.wonder(format!("bytes that are no reply: {error}"));
                    return Err(());
                }
            }
        }
    }

    fn take(&mut self, reply: Reply) {
        match self.awaited.pop_front() {
            None => self.wonder(wire::show(&reply)),
            Some(Awaited::Greeting) => {
                if !wire::is_greeting(&reply) {
                    self.wonder(format!("{} in reply to HELLO", wire::show(&reply)));
                }
            }
            Some(Awaited::Answer(id, request)) => {
                // What cannot be an answer to this request is heard all the same, word for word.
                let answer = wire::read(&request, reply.clone())
                    .unwrap_or_else(|| Answer::Text(wire::show(&reply).into()));
                if let (Request::Store(Command::Scan { .. }), Answer::Page { next, .. }) =
                    (&request, &answer)
                {
                    self.scan = next.clone().map(|cursor| (id, cursor));
                }
                self.last = Some(answer.clone());
                self.recorder.hears(id, answer);
            }
        }
    }

    fn wonder(&self, what: String) {
        self.recorder.wonders(self.client, self.number, what);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.leave(Loss::Closed);
    }
}

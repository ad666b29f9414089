//! Session: one connection, from its first byte to its last.
//!
//! It reads what there is, cuts every complete command out of it, answers what needs no store in
//! place and sends the rest to the sequencer as one batch, then writes all answers in the order of
//! the commands with one write. While a client is slow to take its answers the session goes on
//! reading, so that a client which sends everything before it reads anything is served; the answers
//! that may wait are bounded, and a client that leaves more, or takes none for too long, is
//! disconnected.
//!
//! Invariant: answers leave in the order of their commands, one for each, and those that wait take
//! no more than the limit and one answer.

mod bell;

use std::{io, pin::Pin, sync::Arc, task::Poll, time::Duration};

use bytes::BytesMut;
use orloj_kernel::{Addr, Context, Reply, Sleep, Stream, always, buggify, mutant, sometimes};
use orloj_net::{
    Answer, Refusal,
    resp::{Decoder, Limits, Progress, Request, encode_protocol_error},
    session::{Form, Session, Step},
};
use tokio::io::{AsyncReadExt, AsyncWrite};

pub(crate) use bell::Bell;

use crate::{
    NodeConfig,
    board::Board,
    sequencer::{self, Waiting, Work},
};

/// Room made for a read while little comes in, in bytes.
const READ_SMALL: usize = 4 << 10;
/// Room made for a read while much comes in.
const READ_LARGE: usize = 64 << 10;
/// Most room made at once for a value that was announced and has not come.
const READ_AHEAD: usize = 1 << 20;
/// Buffers above this are given back when a connection falls idle.
const KEPT: usize = 8 << 10;
/// Bytes of a client's further words that are read and dropped after its connection's last answer,
/// so that the close does not reset the connection and take the answer with it.
const LINGER: usize = 64 << 10;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client closed, or its network did.
    Closed,
    /// The client asked for it, or sent what cannot be understood.
    LastAnswer,
    /// The node is stopping, and everything received was answered.
    Drained,
    /// More answers waited for the client than may.
    OutputLimit,
    /// The client took no answer for too long.
    Stalled,
    /// What became of its commands is unknown.
    Unknown,
}

/// What a session needs of the node.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) cx: Context,
    pub(crate) config: Arc<NodeConfig>,
    pub(crate) board: Arc<Board>,
    pub(crate) sequencer: Addr<sequencer::Msg>,
}

/// A place in the order of answers.
struct Due {
    form: Form,
    /// Absent while the store has it.
    answer: Option<Answer>,
}

pub(crate) struct Connection {
    ports: Ports,
    stream: Stream,
    bell: Arc<Bell>,
    session: Session,
    decoder: Decoder,
    limits: Limits,
    input: BytesMut,
    /// Room to make for the next read.
    room: usize,
    requests: Vec<Result<Request, Refusal>>,
    due: Vec<Due>,
    work: Work,
    output: Vec<u8>,
    /// Bytes of `output` that were written.
    sent: usize,
    /// Nothing more is read: close when `output` is written.
    last: Option<Ended>,
}

/// What there is to do next.
enum Event {
    /// Bytes came in.
    Input,
    /// It is over.
    End(Ended),
}

impl Connection {
    pub(crate) fn new(ports: Ports, stream: Stream, id: u64, bell: Arc<Bell>) -> Connection {
        let show = |addr: io::Result<std::net::SocketAddr>| {
            addr.map_or_else(|_| "?:0".to_owned(), |addr| addr.to_string())
        };
        let (peer, local) = (show(stream.peer_addr()), show(stream.local_addr()));
        let limits = ports.config.limits;
        let session = Session::new(id, peer, local, ports.config.password.clone());
        let decoder = Decoder::new(session.limits(limits));
        Connection {
            ports,
            stream,
            bell,
            session,
            decoder,
            limits,
            input: BytesMut::new(),
            room: READ_SMALL,
            requests: Vec::new(),
            due: Vec::new(),
            work: Work { connection: id, ..Work::default() },
            output: Vec::new(),
            sent: 0,
            last: None,
        }
    }

    /// Serves the client until one of the two sides is done.
    pub(crate) async fn serve(mut self) -> Ended {
        loop {
            match self.exchange().await {
                Event::Input => {}
                Event::End(ended) => {
                    self.part(ended).await;
                    return ended;
                }
            }
            if let Err(ended) = self.answer_input().await {
                self.part(ended).await;
                return ended;
            }
        }
    }

    /// Answers every complete command that was read.
    async fn answer_input(&mut self) -> Result<(), Ended> {
        while self.last.is_none() {
            let mut requests = std::mem::take(&mut self.requests);
            let progress = self.decoder.decode(&mut self.input, &mut requests);
            let answered = match requests.is_empty() {
                true => Ok(()),
                false => self.answer(&mut requests).await,
            };
            requests.clear();
            self.requests = requests;
            answered?;
            match progress {
                _ if self.last.is_some() => {}
                Ok(Progress::Full) => self.write_some().await?,
                Ok(Progress::Wait { missing }) => {
                    self.make_room(missing);
                    break;
                }
                Err(error) => {
                    encode_protocol_error(error, &mut self.output);
                    self.last = Some(Ended::LastAnswer);
                }
            }
        }
        Ok(())
    }

    async fn answer(&mut self, requests: &mut Vec<Result<Request, Refusal>>) -> Result<(), Ended> {
        let Ports { cx, board, .. } = &self.ports;
        {
            let cursors = board.cursors();
            for request in requests.drain(..) {
                // Nearly every request is a command for the store, and moves once.
                let form = self.session.pass();
                if let (Some(form), Ok(Request::Data(_))) = (form, &request) {
                    if let Ok(Request::Data(command)) = request {
                        self.work.commands.push(command);
                    }
                    self.due.push(Due { form, answer: None });
                    continue;
                }
                let (form, step) = self.session.step(request, &cursors, || board.facts(cx));
                let answer = match step {
                    Step::Ask(command) => {
                        self.work.commands.push(command);
                        None
                    }
                    Step::Answer(answer) => Some(answer),
                    Step::Node(call) => Some(board.call(call)),
                    Step::Last(answer) => {
                        self.last = Some(Ended::LastAnswer);
                        Some(answer)
                    }
                };
                self.due.push(Due { form, answer });
                if self.last.is_some() {
                    break;
                }
            }
        }
        if self.ports.config.password.is_some() {
            self.decoder.set_limits(self.session.limits(self.limits));
        }
        if !self.work.commands.is_empty() {
            self.ask_store().await?;
        }
        self.encode()
    }

    /// Has the collected commands executed.
    async fn ask_store(&mut self) -> Result<(), Ended> {
        let asked = self.work.commands.len();
        let ordinal = self.work.ordinal + asked as u64;
        let (reply, answer) = Reply::new();
        let work = std::mem::take(&mut self.work);
        let sent =
            self.ports.sequencer.send(sequencer::Msg::Execute(Waiting { work, reply })).await;
        // Whoever had the work last may have carried it out, or not.
        sent.map_err(|_| Ended::Unknown)?;
        self.work = answer.await.map_err(|_| Ended::Unknown)?;
        self.work.ordinal = ordinal;
        let cx = self.ports.cx;
        if mutant!(cx, "session.reorder_replies") && asked > 1 {
            self.work.answers.swap(asked - 2, asked - 1);
        }
        always!(
            cx,
            self.work.answers.len() == asked,
            "session: one answer for each command",
            "{} for {asked}",
            self.work.answers.len()
        );
        sometimes!(cx, asked > 1, "session: a pipeline went to the store as one batch");
        if buggify!(cx, "session: lingers before it answers") {
            cx.yield_now().await;
        }
        Ok(())
    }

    /// Writes the answers, in order, into the output.
    fn encode(&mut self) -> Result<(), Ended> {
        let Ports { cx, board, config, .. } = &self.ports;
        let mut cursors = board.cursors();
        let mut answers = self.work.answers.iter();
        for Due { form, answer } in &self.due {
            let Some(answer) = answer.as_ref().or_else(|| answers.next()) else {
                std::unreachable!("one answer for each command")
            };
            let waits = self.output.len() - self.sent;
            if waits > config.output_max && !mutant!(cx, "session.unbounded_output") {
                sometimes!(cx, true, "session: a client left too many answers unread");
                return Err(Ended::OutputLimit);
            }
            always!(
                cx,
                waits <= config.output_max,
                "session: the answers that wait are bounded",
                "{waits} bytes of {}",
                config.output_max
            );
            form.write(answer, &mut cursors, &mut self.output);
        }
        self.due.clear();
        self.work.answers.clear();
        Ok(())
    }

    /// Writes and reads until there is input, or an end.
    async fn exchange(&mut self) -> Event {
        let mut stall: Option<Sleep> = None;
        std::future::poll_fn(|task| {
            match self.poll_write(task) {
                Poll::Ready(Err(ended)) => return Poll::Ready(Event::End(ended)),
                Poll::Ready(Ok(true)) => stall = None,
                Poll::Ready(Ok(false)) | Poll::Pending => {}
            }
            let waits = self.sent < self.output.len();
            if let (Some(ended), false) = (self.last, waits) {
                return Poll::Ready(Event::End(ended));
            }
            if self.last.is_none() {
                match self.poll_read(task) {
                    Poll::Ready(Ok(0)) => self.last = Some(Ended::Closed),
                    Poll::Ready(Ok(_)) => return Poll::Ready(Event::Input),
                    Poll::Ready(Err(_)) => return Poll::Ready(Event::End(Ended::Closed)),
                    Poll::Pending if self.bell.poll(task).is_ready() => {
                        self.last = Some(Ended::Drained);
                    }
                    Poll::Pending => {}
                }
                if let (Some(ended), false) = (self.last, waits) {
                    return Poll::Ready(Event::End(ended));
                }
            }
            if !waits {
                self.rest();
                return Poll::Pending;
            }
            let patience = self.ports.config.output_patience;
            let stall = stall.get_or_insert_with(|| self.ports.cx.sleep(patience));
            Pin::new(stall).poll(task).map(|()| Event::End(Ended::Stalled))
        })
        .await
    }

    /// Reads whatever there is; 0 at the end of the stream.
    fn poll_read(&mut self, task: &mut std::task::Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(self.room);
        let before = self.input.capacity() - self.input.len();
        let read = std::pin::pin!(self.stream.read_buf(&mut self.input)).poll(task);
        if let Poll::Ready(Ok(n)) = read {
            // Much at once announces more.
            self.room = if n >= before.min(READ_SMALL) { READ_LARGE } else { READ_SMALL };
        }
        read
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

    /// Writes what the client takes now, and waits for nothing.
    async fn write_some(&mut self) -> Result<(), Ended> {
        std::future::poll_fn(|task| match self.poll_write(task) {
            Poll::Ready(Err(ended)) => Poll::Ready(Err(ended)),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Ready(Ok(())),
        })
        .await
    }

    fn make_room(&mut self, missing: usize) {
        self.room = self.room.max(missing.min(READ_AHEAD));
    }

    /// Nothing is going on: gives large buffers back.
    fn rest(&mut self) {
        if self.input.is_empty() && self.input.capacity() > KEPT {
            self.input = BytesMut::new();
        }
        if self.output.capacity() > KEPT {
            self.output = Vec::new();
        }
        if self.due.capacity() > KEPT / size_of::<Due>() {
            self.due = Vec::new();
            self.requests = Vec::new();
            (self.work.commands, self.work.answers) = (Vec::new(), Vec::new());
        }
    }

    /// Closes the connection so that the last answer arrives.
    async fn part(&mut self, ended: Ended) {
        let cx = self.ports.cx;
        cx.trace("session", format_args!("{} ended: {ended:?}", self.session.id()));
        if !matches!(ended, Ended::LastAnswer | Ended::Drained) {
            return;
        }
        let linger = async {
            std::future::poll_fn(|task| Pin::new(&mut self.stream).poll_shutdown(task)).await?;
            let mut left = LINGER;
            while left > 0 {
                self.input.clear();
                self.input.reserve(READ_SMALL);
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

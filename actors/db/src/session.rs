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

use std::{pin::Pin, sync::Arc, task::Poll};

use orloj_kernel::{Addr, Context, Reply, Sleep, Stream, always, buggify, mutant, sometimes};
use orloj_net::{
    Answer, Refusal,
    resp::{Decoder, Limits, Progress, Request, encode_protocol_error},
    session::{Form, Session, Step},
};

pub(crate) use bell::Bell;

use crate::{
    NodeConfig,
    board::Board,
    sequencer::{self, Waiting, Work},
    socket::{Ended, KEPT, Socket},
};

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
    socket: Socket,
    bell: Arc<Bell>,
    session: Session,
    decoder: Decoder,
    limits: Limits,
    requests: Vec<Result<Request, Refusal>>,
    due: Vec<Due>,
    work: Work,
    /// Nothing more is read: close when everything is written.
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
        let socket = Socket::new(stream);
        let (peer, local) = socket.ends();
        let limits = ports.config.limits;
        let session = Session::new(id, peer, local, ports.config.password.clone());
        let decoder = Decoder::new(session.limits(limits));
        Connection {
            ports,
            socket,
            bell,
            session,
            decoder,
            limits,
            requests: Vec::new(),
            due: Vec::new(),
            work: Work { connection: id, ..Work::default() },
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
            let progress = self.decoder.decode(&mut self.socket.input, &mut requests);
            let answered = match requests.is_empty() {
                true => Ok(()),
                false => self.answer(&mut requests).await,
            };
            requests.clear();
            self.requests = requests;
            answered?;
            match progress {
                _ if self.last.is_some() => {}
                Ok(Progress::Full) => self.socket.write_some().await?,
                Ok(Progress::Wait { missing }) => {
                    self.socket.make_room(missing);
                    if mutant!(self.ports.cx, "session.partial_request_is_dropped") {
                        self.socket.input.clear();
                    }
                    break;
                }
                Err(error) => {
                    encode_protocol_error(error, &mut self.socket.output);
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
        if mutant!(cx, "session.own_answers_overtake") {
            self.due.sort_by_key(|due| due.answer.is_none());
        }
        let mut answers = self.work.answers.iter();
        for Due { form, answer } in &self.due {
            let Some(answer) = answer.as_ref().or_else(|| answers.next()) else {
                std::unreachable!("one answer for each command")
            };
            let waits = self.socket.waiting();
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
            form.write(answer, &mut cursors, &mut self.socket.output);
        }
        self.due.clear();
        self.work.answers.clear();
        Ok(())
    }

    /// Writes and reads until there is input, or an end.
    async fn exchange(&mut self) -> Event {
        let mut stall: Option<Sleep> = None;
        std::future::poll_fn(|task| {
            match self.socket.poll_write(task) {
                Poll::Ready(Err(ended)) => return Poll::Ready(Event::End(ended)),
                Poll::Ready(Ok(true)) => stall = None,
                Poll::Ready(Ok(false)) | Poll::Pending => {}
            }
            let waits = self.socket.waiting() > 0;
            if let (Some(ended), false) = (self.last, waits) {
                return Poll::Ready(Event::End(ended));
            }
            if self.last.is_none() {
                match self.socket.poll_read(task) {
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

    /// Nothing is going on: gives large buffers back.
    fn rest(&mut self) {
        self.socket.rest();
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
        self.socket.part(&cx, ended).await;
    }
}

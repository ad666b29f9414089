//! The witness of a run: clients and node tell it what they do, and it makes the history.
//!
//! The node's account names a connection and a place in it; a client's account names a client and a
//! request. They meet in the address of the client's end of the connection.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use orloj_db::{Observer, Seen, Summary};
use orloj_invariants::{
    Dump, Durability, End, Ending, Executed, Halt, History, Life, Loss, Moment, OpId, Operation,
    Quiet, Request, Surplus, show_answer, show_command,
};
use orloj_net::{Answer, Command, UnixMs};
use orloj_sim::{Control, graph::Kind};

use crate::Tally;

/// Shared by everybody in the world. Nothing is held across an await.
pub(crate) struct Recorder {
    inner: Mutex<Inner>,
    /// Whether somebody reads the story.
    tells: bool,
}

struct Inner {
    durability: Durability,
    ops: Vec<Operation>,
    /// How many requests each client has sent.
    numbers: BTreeMap<u32, u32>,
    place_of: BTreeMap<OpId, usize>,
    /// Who is behind an address, and on which of its connections.
    callers: BTreeMap<SocketAddr, (u32, u32)>,
    /// What each connection has asked of the store, in order.
    asked: BTreeMap<(u32, u32), Vec<OpId>>,
    /// The node's connections, by its own numbers.
    peers: BTreeMap<u64, SocketAddr>,
    /// Pages of scans that were asked for with the position another page had given.
    resumed: BTreeMap<OpId, OpId>,
    lives: Vec<Life>,
    surplus: Vec<Surplus>,
    quiet: Option<Quiet>,
    dumps: Vec<Dump>,
    halt: Option<Halt>,
    /// How the node is about to go down, if by the scenario's hand.
    strike: Ending,
    /// What the node said when its process ended by itself.
    ended: Option<String>,
    waiting: Option<Waker>,
}

/// An operation's number in what is recorded of a run.
pub(crate) fn number(op: OpId) -> u64 {
    u64::from(op.client) << 32 | u64::from(op.number)
}

/// True time, for the history.
pub(crate) fn now() -> Moment {
    Moment(Control.now().0)
}

impl Recorder {
    pub(crate) fn new(durability: Durability, tells: bool) -> Arc<Recorder> {
        let inner = Inner {
            durability,
            ops: Vec::new(),
            numbers: BTreeMap::new(),
            place_of: BTreeMap::new(),
            callers: BTreeMap::new(),
            asked: BTreeMap::new(),
            peers: BTreeMap::new(),
            resumed: BTreeMap::new(),
            lives: Vec::new(),
            surplus: Vec::new(),
            quiet: None,
            dumps: Vec::new(),
            halt: None,
            strike: Ending::Stopped,
            ended: None,
            waiting: None,
        };
        Arc::new(Recorder { inner: Mutex::new(inner), tells })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, target: &'static str, line: impl FnOnce() -> String) {
        if self.tells {
            Control.tell(target, &line());
        }
    }

    fn tell_of(&self, kind: Kind, op: OpId, target: &'static str, line: impl FnOnce() -> String) {
        if self.tells {
            Control.tell_of(kind, number(op), target, &line());
        }
    }

    // What clients say.

    /// A client has a connection, and this is the address of its end.
    pub(crate) fn calls(&self, client: u32, connection: u32, from: SocketAddr) {
        self.inner().callers.insert(from, (client, connection));
    }

    /// A client sends a request.
    pub(crate) fn asks(
        &self,
        client: u32,
        connection: u32,
        request: Request,
        resumes: Option<OpId>,
    ) -> OpId {
        let mut inner = self.inner();
        let number = inner.numbers.entry(client).or_default();
        let id = OpId { client, number: *number };
        *number += 1;
        let place = inner.ops.len();
        inner.place_of.insert(id, place);
        if let Request::Store(command) = &request {
            let line = || format!("{id}: {}", show_command(command));
            self.tell_of(Kind::Begin, id, "client", line);
            inner.asked.entry((client, connection)).or_default().push(id);
        }
        inner.resumed.extend(resumes.map(|earlier| (id, earlier)));
        inner.ops.push(Operation { id, connection, invoked: now(), request, end: End::Open });
        id
    }

    /// The reply to a request has come.
    pub(crate) fn hears(&self, id: OpId, answer: Answer) {
        self.tell_of(Kind::End, id, "client", || format!("{id} heard {}", show_answer(&answer)));
        self.ends(id, End::Answered { at: now(), answer });
    }

    /// The reply will not come.
    pub(crate) fn loses(&self, id: OpId, how: Loss) {
        let line = || format!("{id} lost its connection ({how:?})");
        self.tell_of(Kind::End, id, "client", line);
        self.ends(id, End::Lost { at: now(), how });
    }

    fn ends(&self, id: OpId, end: End) {
        let mut inner = self.inner();
        if let Some(place) = inner.place_of.get(&id).copied() {
            inner.ops[place].end = end;
        }
    }

    /// A client got something it had not asked for, or that is no reply.
    pub(crate) fn wonders(&self, client: u32, connection: u32, what: String) {
        self.inner().surplus.push(Surplus { client, connection, at: now(), what });
    }

    // What the scenario says.

    /// The node is about to be struck.
    pub(crate) fn strikes(&self, how: Ending) {
        self.inner().strike = how;
    }

    /// Faults have stopped.
    pub(crate) fn quiet(&self, quiet: Quiet) {
        self.inner().quiet = Some(quiet);
    }

    /// The store was read whole. The node's time is that of the last command it executed.
    pub(crate) fn dumps(&self, recoveries: u32, entries: Vec<orloj_invariants::Entry>) {
        let mut inner = self.inner();
        let executed = inner.lives.iter().rev().flat_map(|life| life.executed.last()).next();
        let at = executed.map_or(UnixMs(0), |executed| executed.at);
        inner.dumps.push(Dump { seen: now(), at, recoveries, entries });
    }

    /// Whether the node has recovered and not died since.
    pub(crate) fn is_up(&self) -> bool {
        self.inner().lives.last().is_some_and(|life| life.ended.is_none())
    }

    /// Whether, and why, the node refuses to serve.
    pub(crate) fn halt(&self) -> Option<Halt> {
        self.inner().halt.clone()
    }

    // What the node says.

    /// The node's process has ended by itself. With `refuses` it will not serve its data.
    pub(crate) fn node_ended(&self, why: String, refuses: Option<Halt>) {
        self.tell("node", || format!("ended: {why}"));
        let mut inner = self.inner();
        inner.halt = inner.halt.take().or(refuses);
        inner.ended = Some(why);
        let waiting = inner.waiting.take();
        drop(inner);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until the node's process has ended by itself, and says why.
    pub(crate) async fn until_node_ended(&self) -> String {
        std::future::poll_fn(|task| {
            let mut inner = self.inner();
            match inner.ended.take() {
                Some(why) => Poll::Ready(why),
                None => {
                    inner.waiting = Some(task.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// The node is gone, however it went.
    fn died(&self) {
        let mut inner = self.inner();
        let how = std::mem::replace(&mut inner.strike, Ending::Stopped);
        if let Some(life) = inner.lives.last_mut() {
            life.ended.get_or_insert((now(), how));
        }
    }

    /// Sizes of what was seen.
    pub(crate) fn tally(&self) -> Tally {
        let inner = self.inner();
        let count = |f: fn(&End) -> bool| inner.ops.iter().filter(|op| f(&op.end)).count() as u64;
        Tally {
            requests: inner.ops.len() as u64,
            answered: count(|end| matches!(end, End::Answered { .. })),
            lost: count(|end| matches!(end, End::Lost { .. })),
            executed: inner.lives.iter().map(|life| life.executed.len() as u64).sum(),
            lives: inner.lives.len() as u64,
        }
    }

    /// Everything that was observed.
    pub(crate) fn history(&self) -> History {
        let mut inner = self.inner();
        // A client knows the position of a scan by a number; what it stood for the node has said.
        let mut given: BTreeMap<OpId, Option<orloj_net::Key>> = BTreeMap::new();
        for executed in inner.lives.iter().flat_map(|life| &life.executed) {
            if let (Some(op), Answer::Page { next, .. }) = (executed.op, &executed.answer) {
                given.insert(op, next.clone());
            }
        }
        for (id, earlier) in std::mem::take(&mut inner.resumed) {
            let Some(place) = inner.place_of.get(&id).copied() else { continue };
            if let Request::Store(Command::Scan { after, .. }) = &mut inner.ops[place].request {
                *after = given.get(&earlier).cloned().flatten();
            }
        }
        History {
            durability: inner.durability,
            ops: std::mem::take(&mut inner.ops),
            surplus: std::mem::take(&mut inner.surplus),
            lives: std::mem::take(&mut inner.lives),
            quiet: inner.quiet,
            dumps: std::mem::take(&mut inner.dumps),
            halt: inner.halt.take(),
        }
    }
}

impl Observer for Recorder {
    fn recovered(&self, summary: &Summary) {
        let recovered = summary.turn;
        self.tell("node", || format!("recovered turn {recovered}, {} keys", summary.keys));
        let mut inner = self.inner();
        if let Some(life) = inner.lives.last_mut() {
            life.ended.get_or_insert((now(), Ending::Stopped));
        }
        inner.lives.push(Life {
            began: now(),
            recovered,
            executed: Vec::new(),
            newest: 0,
            ended: None,
        });
    }

    fn connected(&self, connection: u64, peer: SocketAddr) {
        self.inner().peers.insert(connection, peer);
    }

    fn executed(&self, seen: &Seen<'_>) {
        let mut inner = self.inner();
        let caller = inner.peers.get(&seen.connection).and_then(|peer| inner.callers.get(peer));
        let asked = caller.and_then(|caller| inner.asked.get(caller));
        let op = asked.and_then(|asked| asked.get(usize::try_from(seen.ordinal).ok()?)).copied();
        let version = seen.turn;
        let line = || {
            let who = op.map_or("nobody".to_owned(), |op| op.to_string());
            let (command, answer) = (show_command(seen.command), show_answer(seen.answer));
            format!("{who}: {command} -> {answer}, turn {version}")
        };
        match op {
            Some(op) => self.tell_of(Kind::Step, op, "node", line),
            None => self.tell("node", line),
        }
        let (command, answer) = (seen.command.clone().detach(), seen.answer.clone());
        let executed = Executed { op, version, at: seen.at, command, answer, seen: now() };
        if let Some(life) = inner.lives.last_mut() {
            life.executed.push(executed);
        }
    }

    fn committed(&self, turn: u64) {
        if let Some(life) = self.inner().lives.last_mut() {
            life.newest = turn;
        }
    }

    fn undone(&self, turn: u64) {
        self.tell("node", || format!("undid turn {turn} and what rested on it"));
        if let Some(life) = self.inner().lives.last_mut() {
            life.executed.retain(|executed| executed.version < turn);
            life.newest = turn - 1;
        }
    }
}

/// Held by the node's process. Whatever ends the process drops it, at that very moment.
pub(crate) struct LifeLine(pub(crate) Arc<Recorder>);

impl Drop for LifeLine {
    fn drop(&mut self) {
        self.0.died();
    }
}

//! The recorder of a graph: what is told to it while the world runs.

use std::collections::{BTreeMap, VecDeque};

use super::{Event, Graph, Kind, NO_HOST, Packet};
use crate::{fault::Faults, net::NetEvent, task::TaskId};

/// A turn that has begun. It becomes an event when something happens in it.
struct Turn {
    task: TaskId,
    host: u32,
    actor: &'static str,
    at: u64,
    choices: u64,
}

/// What has woken a task since its last turn.
#[derive(Default)]
struct Woken {
    by: Vec<u32>,
    timer: bool,
}

/// Something on its way through the network, by what it will arrive as.
type Way = (u8, u32, u32);

/// The graph as far as it has come.
#[derive(Default)]
pub(crate) struct Tape {
    events: Vec<Event>,
    edges: Vec<(u32, u32)>,
    pub(crate) packets: Vec<Packet>,
    /// Whether packets are kept.
    pub(crate) keeps_packets: bool,
    /// Whether nothing more is kept: the run is over, or was stopped to look at it.
    pub(crate) is_over: bool,
    /// The event that what happens now follows.
    current: Option<u32>,
    turn: Option<Turn>,
    /// Whether it is a timer that is being carried out.
    timer: bool,
    /// What each task did last.
    last: BTreeMap<u64, u32>,
    woken: BTreeMap<u64, Woken>,
    /// What is on its way: by where it arrives, in order, with its length.
    on_way: BTreeMap<Way, VecDeque<(u32, u32)>>,
    /// Operations of disks under way, by slot and life.
    disk: BTreeMap<(u32, u32), u32>,
    /// What last wrote to a file, by host and path.
    written: BTreeMap<(u32, String), u32>,
    /// What happened to a host last: its end or its start.
    fates: BTreeMap<u32, u32>,
    /// Operations of the workload: where each began, and what was done for it last.
    operations: BTreeMap<u64, (u32, u32)>,
    /// Faults that have been told.
    pub(crate) told: Faults,
}

impl Tape {
    /// A task's turn begins.
    pub(crate) fn turn(
        &mut self,
        task: TaskId,
        (host, actor): (u32, &'static str),
        at: u64,
        choices: u64,
    ) {
        (self.current, self.timer) = (None, false);
        self.turn = Some(Turn { task, host, actor, at, choices });
    }

    /// Something happens in no task's turn.
    pub(crate) fn no_turn(&mut self, timer: bool) {
        (self.current, self.turn, self.timer) = (None, None, timer);
    }

    /// The event that what happens now follows; the turn becomes one if it is the first.
    fn now(&mut self) -> Option<u32> {
        let Some(turn) = self.turn.as_ref() else { return self.current };
        if self.current.is_some() {
            return self.current;
        }
        let task = turn.task.0;
        let woken = self.woken.remove(&task).unwrap_or_default();
        let before = self.last.get(&task).copied();
        let text = if woken.timer { "its timer is over" } else { "" };
        let event = Event {
            at: turn.at,
            host: turn.host,
            kind: Kind::Turn,
            actor: turn.actor,
            text: text.to_owned(),
            of: None,
            before,
            operation: None,
            choices: turn.choices,
        };
        let id = self.push(event);
        self.edges.extend(before.into_iter().chain(woken.by).map(|cause| (cause, id)));
        self.last.insert(task, id);
        self.current = Some(id);
        self.current
    }

    fn push(&mut self, event: Event) -> u32 {
        let id = self.events.len() as u32;
        self.events.push(event);
        id
    }

    /// Something happened. Its host is that of the turn, or of the event that it follows, if `host`
    /// is [`NO_HOST`].
    pub(crate) fn record(
        &mut self,
        at: u64,
        host: u32,
        (kind, actor): (Kind, Option<&'static str>),
        text: String,
        of: Option<u32>,
        choices: u64,
    ) -> u32 {
        let before = self.now();
        let turn = self.turn.as_ref();
        let around = || {
            let current = before.map_or(NO_HOST, |event| self.events[event as usize].host);
            turn.map_or(current, |turn| turn.host)
        };
        let host = if host == NO_HOST { around() } else { host };
        let actor = actor.or(turn.map(|turn| turn.actor)).unwrap_or("");
        let task = turn.map(|turn| turn.task.0);
        let operation = None;
        let id = self.push(Event { at, host, kind, actor, text, of, before, operation, choices });
        self.edges.extend(before.into_iter().chain(of).map(|cause| (cause, id)));
        self.current = Some(id);
        if let Some(task) = task {
            self.last.insert(task, id);
        }
        match kind {
            Kind::Crash => {
                self.fates.insert(host, id);
            }
            Kind::Boot => {
                let fate = self.fates.insert(host, id);
                self.edges.extend(fate.map(|cause| (cause, id)));
            }
            _ => {}
        }
        id
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> u32 {
        self.events.len() as u32
    }

    /// What was recorded last.
    pub(crate) fn newest(&self) -> Option<&Event> {
        self.events.last()
    }

    /// A task is woken by what happens now.
    pub(crate) fn wake(&mut self, task: TaskId) {
        if self.is_over {
            return;
        }
        if self.timer && self.current.is_none() {
            self.woken.entry(task.0).or_default().timer = true;
            return;
        }
        if let Some(by) = self.now() {
            let woken = &mut self.woken.entry(task.0).or_default().by;
            if woken.last() != Some(&by) {
                woken.push(by);
            }
        }
    }

    /// `sent` will arrive as `event`.
    pub(crate) fn sends(&mut self, sent: u32, event: NetEvent) {
        let (way, len) = way(event);
        self.on_way.entry(way).or_default().push_back((sent, len));
    }

    /// What sent `event`, which arrives.
    pub(crate) fn sent(&mut self, event: NetEvent) -> Option<u32> {
        let (way, len) = way(event);
        let queue = self.on_way.get_mut(&way)?;
        let place = queue.iter().position(|(_, l)| *l == len).unwrap_or(0);
        let (sent, _) = queue.remove(place)?;
        if queue.is_empty() {
            self.on_way.remove(&way);
        }
        Some(sent)
    }

    /// The disk begins an operation.
    pub(crate) fn disk_begins(&mut self, op: (u32, u32), asked: u32) {
        self.disk.insert(op, asked);
    }

    /// What asked for an operation that is carried out now.
    pub(crate) fn disk_asked(&mut self, op: (u32, u32)) -> Option<u32> {
        self.disk.remove(&op)
    }

    /// `event` uses a file, and what wrote to it last is a cause.
    pub(crate) fn uses(&mut self, event: u32, host: u32, path: &str, writes: bool) {
        let key = (host, path.to_owned());
        self.edges.extend(self.written.get(&key).map(|cause| (*cause, event)));
        if writes {
            self.written.insert(key, event);
        }
    }

    /// `event` is about an operation of the workload.
    pub(crate) fn is_about(&mut self, event: u32, operation: u64) {
        self.events[event as usize].operation = Some(operation);
        let kind = self.events[event as usize].kind;
        let (began, last) = match (kind, self.operations.get(&operation)) {
            (Kind::Begin, _) | (_, None) => (event, event),
            (_, Some((began, last))) => (*began, *last),
        };
        if last != event {
            self.edges.push((last, event));
            if kind == Kind::End {
                self.events[event as usize].of = Some(began);
            }
        }
        self.operations.insert(operation, (began, event));
    }

    /// What was recorded, whole.
    pub(crate) fn finish(self, hosts: Vec<String>) -> Graph {
        Graph::new(hosts, self.events, self.edges, self.packets)
    }
}

/// Where something arrives, and its length.
fn way(event: NetEvent) -> (Way, u32) {
    match event {
        NetEvent::Bytes { conn, life, len, side } => ((side, conn, life), len),
        NetEvent::Fin { conn, life, side } => ((2 + side, conn, life), 0),
        NetEvent::Reset { conn, life, side } => ((4 + side, conn, life), 0),
        NetEvent::Room { conn, life, side } => ((6 + side, conn, life), 0),
        NetEvent::Syn { dial, life } => ((8, dial, life), 0),
        NetEvent::DialDone { dial, life } => ((9, dial, life), 0),
        NetEvent::DialTimeout { dial, life } => ((10, dial, life), 0),
        NetEvent::Packet { slot } => ((11, slot, 0), 0),
    }
}

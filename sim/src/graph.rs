//! Who caused what: the events of a run with their causes, recorded on request.
//!
//! An event's causes are what came before it in the same turn of the same task, whatever woke that
//! turn, and, for a delivery or the end of an operation, what sent or began it. So happened-before
//! is a graph without circles whose edges lead back in the order of recording, and the cone of an
//! event is what it can rest on. What one task tells another through shared memory alone, without
//! waking it, leaves no edge.
//!
//! Recording reads the world and changes nothing in it: the run and its hash stay the same.

mod notes;
mod tape;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    net::SocketAddr,
};

pub(crate) use tape::Tape;

/// In the place of a host: the world itself.
pub const NO_HOST: u32 = u32::MAX;

/// What sort of event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A task ran, from one wait to the next.
    Turn,
    /// A connection was asked for.
    Connect,
    /// Something left for another host.
    Send,
    /// It arrived.
    Deliver,
    /// It waits for a link that is cut.
    Held,
    /// It was sent to nobody who could take it.
    Lost,
    /// An operation of the disk was asked for.
    Disk,
    /// It was carried out.
    DiskDone,
    /// A sync was carried out: what was written before it is durable.
    Synced,
    /// A fault was injected.
    Fault,
    /// A host went down.
    Crash,
    /// A host came up.
    Boot,
    /// A host stands still.
    Pause,
    /// It goes on.
    Resume,
    /// A line of the story.
    Story,
    /// Somebody asked for an operation.
    Begin,
    /// Something was done for it.
    Step,
    /// It ended for whoever had asked.
    End,
    /// A promise was broken.
    Broken,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: &[Kind] = &[
        Kind::Turn,
        Kind::Connect,
        Kind::Send,
        Kind::Deliver,
        Kind::Held,
        Kind::Lost,
        Kind::Disk,
        Kind::DiskDone,
        Kind::Synced,
        Kind::Fault,
        Kind::Crash,
        Kind::Boot,
        Kind::Pause,
        Kind::Resume,
        Kind::Story,
        Kind::Begin,
        Kind::Step,
        Kind::End,
        Kind::Broken,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Turn => "turn",
            Kind::Connect => "connect",
            Kind::Send => "send",
            Kind::Deliver => "deliver",
            Kind::Held => "held",
            Kind::Lost => "lost",
            Kind::Disk => "disk",
            Kind::DiskDone => "disk-done",
            Kind::Synced => "synced",
            Kind::Fault => "fault",
            Kind::Crash => "crash",
            Kind::Boot => "boot",
            Kind::Pause => "pause",
            Kind::Resume => "resume",
            Kind::Story => "story",
            Kind::Begin => "begin",
            Kind::Step => "step",
            Kind::End => "end",
            Kind::Broken => "broken",
        }
    }

    /// Whether it is something that struck, or its end.
    pub fn is_strike(self) -> bool {
        matches!(self, Kind::Fault | Kind::Crash | Kind::Boot | Kind::Pause | Kind::Resume)
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Simulated nanoseconds since the run began.
    pub at: u64,
    /// The number of its host, or [`NO_HOST`].
    pub host: u32,
    /// What sort of event.
    pub kind: Kind,
    /// The task that was running, or who wrote the line.
    pub actor: &'static str,
    /// What happened, in words.
    pub text: String,
    /// Its other half, which came before: the send of a delivery, the beginning of an operation.
    pub of: Option<u32>,
    /// What its task did before, be it in an earlier turn.
    pub before: Option<u32>,
    /// The operation of the workload that it is about.
    pub operation: Option<u64>,
    /// How many choices had been made.
    pub choices: u64,
}

/// What a packet on the wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A connection is asked for.
    Syn,
    /// It is granted.
    SynAck,
    /// It is refused, or ends without order.
    Reset,
    /// One end will send no more.
    Fin,
    /// Bytes of a stream.
    Data,
    /// A datagram.
    Datagram,
}

/// Something that reached a host over the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When it arrived.
    pub at: u64,
    /// Where it came from.
    pub from: SocketAddr,
    /// Where it went.
    pub to: SocketAddr,
    /// What it is.
    pub segment: Segment,
    /// What it carried.
    pub bytes: Vec<u8>,
}

/// What is kept of a run when its causes are recorded.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The names of the hosts, by number.
    pub hosts: Vec<String>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What arrived over the network, if that was asked for.
    pub packets: Vec<Packet>,
    /// Where the causes of each event begin in `causes`, and one more.
    starts: Vec<u32>,
    causes: Vec<u32>,
}

impl Graph {
    /// A graph of `events` and of pairs of cause and effect.
    pub(crate) fn new(
        hosts: Vec<String>,
        events: Vec<Event>,
        mut edges: Vec<(u32, u32)>,
        packets: Vec<Packet>,
    ) -> Graph {
        edges.sort_unstable_by_key(|(cause, effect)| (*effect, *cause));
        edges.dedup();
        edges.retain(|(cause, effect)| cause < effect);
        let mut starts = Vec::with_capacity(events.len() + 1);
        let mut next = 0;
        for event in 0..=events.len() as u32 {
            while next < edges.len() && edges[next].1 < event {
                next += 1;
            }
            starts.push(next as u32);
        }
        let causes = edges.into_iter().map(|(cause, _)| cause).collect();
        Graph { hosts, events, packets, starts, causes }
    }

    /// What event number `event` rests on directly, each before it, in order.
    pub fn causes(&self, event: u32) -> &[u32] {
        let at = |n: u32| self.starts[n as usize] as usize;
        &self.causes[at(event)..at(event + 1)]
    }

    /// The name of an event's host, or `world`.
    pub fn host(&self, event: &Event) -> &str {
        self.hosts.get(event.host as usize).map_or("world", String::as_str)
    }

    /// The causal cone of some events, themselves included: every event that they can rest on, in
    /// order, with how far away it is. A step back within one task on one host counts
    /// [`Graph::OWN`], one along a message, a wake-up or an operation 1: what others told it is
    /// nearer than what it did before.
    pub fn cone(&self, of: &[u32]) -> Vec<(u32, u32)> {
        let mut distance: BTreeMap<u32, u32> = BTreeMap::new();
        let mut heap: BinaryHeap<Reverse<(u32, u32)>> =
            of.iter().map(|e| Reverse((0, *e))).collect();
        while let Some(Reverse((far, event))) = heap.pop() {
            if distance.contains_key(&event) {
                continue;
            }
            distance.insert(event, far);
            let own = &self.events[event as usize];
            for cause in self.causes(event) {
                let earlier = own.kind == Kind::Turn && own.before == Some(*cause);
                let step = if earlier { Graph::OWN } else { 1 };
                heap.push(Reverse((far + step, *cause)));
            }
        }
        distance.into_iter().collect()
    }

    /// What a step back to an earlier turn of the same task counts in [`Graph::cone`].
    pub const OWN: u32 = 8;
}

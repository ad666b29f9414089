//! Histories written by hand: one line an event, one millisecond between two of them.

use std::time::Duration;

use bytes::Bytes;
use orloj_net::{Answer, Command, Expiry, Refusal, UnixMs};

use crate::{
    Dump, Durability, End, Ending, Entry, Executed, Halt, History, Law, Life, Loss, Moment, OpId,
    Operation, Quiet, Request, Surplus, Timeline,
};

/// The wall clock of the node when true time is 0.
const WALL: u64 = 1_000_000;

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn ok() -> Answer {
    Answer::Ok
}

pub(crate) fn nil() -> Answer {
    Answer::Nil
}

pub(crate) fn int(n: i64) -> Answer {
    Answer::Int(n)
}

pub(crate) fn bulk(text: &str) -> Answer {
    Answer::Bulk(bytes(text).into())
}

pub(crate) fn not_an_integer() -> Answer {
    Answer::Error(Refusal::NotAnInteger)
}

pub(crate) fn page(next: Option<&str>, keys: &[&str]) -> Answer {
    Answer::Page { next: next.map(bytes), keys: keys.iter().map(|key| bytes(key)).collect() }
}

pub(crate) fn get(key: &str) -> Command {
    Command::Get { key: bytes(key) }
}

pub(crate) fn set(key: &str, value: &str) -> Command {
    let (key, value) = (bytes(key), bytes(value));
    Command::Set { key, value, expiry: Expiry::None, condition: None, get: false }
}

pub(crate) fn incr(key: &str, by: i64) -> Command {
    Command::Incr { key: bytes(key), by }
}

pub(crate) fn append(key: &str, more: &str) -> Command {
    Command::Append { key: bytes(key), value: bytes(more) }
}

pub(crate) fn del(keys: &[&str]) -> Command {
    Command::Del { keys: keys.iter().map(|key| bytes(key)).collect() }
}

pub(crate) fn scan(count: u32) -> Command {
    Command::Scan { after: None, pattern: None, count }
}

/// A history in the making.
#[derive(Clone)]
pub(crate) struct Tale {
    history: History,
    now: u64,
    connections: Vec<u32>,
    told: usize,
}

pub(crate) fn strict() -> Tale {
    Tale::new(Durability::Strict)
}

pub(crate) fn buffered(window_ms: u64) -> Tale {
    Tale::new(Durability::Buffered { window: Duration::from_millis(window_ms) })
}

pub(crate) fn in_memory() -> Tale {
    Tale::new(Durability::InMemory)
}

impl Tale {
    fn new(durability: Durability) -> Tale {
        let life =
            Life { began: Moment(0), recovered: 0, executed: Vec::new(), newest: 0, ended: None };
        let history = History {
            durability,
            ops: Vec::new(),
            surplus: Vec::new(),
            lives: vec![life],
            quiet: None,
            dumps: Vec::new(),
            halt: None,
        };
        Tale { history, now: 0, connections: vec![0; 8], told: 0 }
    }

    fn tick(&mut self) -> Moment {
        self.now += 1_000_000;
        Moment(self.now)
    }

    fn wall(&self) -> UnixMs {
        UnixMs(WALL + self.now / 1_000_000)
    }

    fn life(&mut self) -> &mut Life {
        self.history.lives.last_mut().expect("a tale has a life")
    }

    fn told(&mut self) -> &mut Operation {
        &mut self.history.ops[self.told]
    }

    fn ran(&mut self) -> &mut Executed {
        self.life().executed.last_mut().expect("a command ran")
    }

    fn asks(&mut self, client: u32, request: Request) -> &mut Tale {
        let number = self.history.ops.iter().filter(|op| op.id.client == client).count() as u32;
        let (id, connection) = (OpId { client, number }, self.connections[client as usize]);
        let invoked = self.tick();
        self.history.ops.push(Operation { id, connection, invoked, request, end: End::Open });
        self.told = self.history.ops.len() - 1;
        self
    }

    /// A client sends a command; what follows in the chain is about it.
    pub(crate) fn op(&mut self, client: u32, command: Command) -> &mut Tale {
        self.asks(client, Request::Store(command))
    }

    pub(crate) fn echo(&mut self, client: u32, text: &str) -> &mut Tale {
        self.asks(client, Request::Echo(bytes(text)))
    }

    pub(crate) fn id(&mut self) -> OpId {
        self.told().id
    }

    /// What follows is about an earlier request again.
    pub(crate) fn again(&mut self, id: OpId) -> &mut Tale {
        self.told = self.history.ops.iter().position(|op| op.id == id).expect("it was asked");
        self
    }

    pub(crate) fn last_op(&mut self) -> &mut Tale {
        self.told = self.history.ops.len() - 1;
        self
    }

    /// The node executes it.
    pub(crate) fn runs(&mut self, version: u64, answer: Answer) -> &mut Tale {
        let (seen, at, op) = (self.tick(), self.wall(), Some(self.told().id));
        let Request::Store(mut command) = self.told().request.clone() else {
            panic!("an ECHO is not executed")
        };
        command.fix_time(at);
        self.life().executed.push(Executed { op, version, at, command, answer, seen });
        self
    }

    pub(crate) fn with_wall(&mut self, ms: u64) -> &mut Tale {
        self.ran().at = UnixMs(ms);
        self
    }

    pub(crate) fn seen_at_ms(&mut self, ms: u64) -> &mut Tale {
        self.ran().seen = Moment(ms * 1_000_000);
        self
    }

    pub(crate) fn as_command(&mut self, command: Command) -> &mut Tale {
        self.ran().command = command;
        self
    }

    pub(crate) fn forget_sender(&mut self) -> &mut Tale {
        self.ran().op = None;
        self
    }

    /// The client hears this.
    pub(crate) fn answers(&mut self, answer: Answer) -> &mut Tale {
        let at = self.tick();
        self.told().end = End::Answered { at, answer };
        self
    }

    pub(crate) fn loses(&mut self, how: Loss) -> &mut Tale {
        let at = self.tick();
        self.told().end = End::Lost { at, how };
        self
    }

    pub(crate) fn reconnect(&mut self, client: u32) -> &mut Tale {
        self.connections[client as usize] += 1;
        self
    }

    pub(crate) fn surplus(&mut self, client: u32, what: &str) -> &mut Tale {
        let (at, what) = (self.tick(), what.to_owned());
        self.history.surplus.push(Surplus { client, connection: 0, at, what });
        self
    }

    pub(crate) fn wait_ms(&mut self, ms: u64) -> &mut Tale {
        self.now += ms * 1_000_000;
        self
    }

    pub(crate) fn crash(&mut self) -> &mut Tale {
        let at = self.tick();
        self.life().ended = Some((at, Ending::Crash));
        self
    }

    pub(crate) fn power_loss(&mut self) -> &mut Tale {
        let at = self.tick();
        self.life().ended = Some((at, Ending::PowerLoss));
        self
    }

    pub(crate) fn recovers(&mut self, recovered: u64) -> &mut Tale {
        let began = self.tick();
        let life = Life { began, recovered, executed: Vec::new(), newest: 0, ended: None };
        self.history.lives.push(life);
        self
    }

    pub(crate) fn quiet(&mut self, bound_ms: u64) -> &mut Tale {
        let (began, bound) = (self.tick(), Duration::from_millis(bound_ms));
        self.history.quiet = Some(Quiet { began, bound });
        self
    }

    pub(crate) fn dump(&mut self, recoveries: u32, entries: &[(&str, &str)]) -> &mut Tale {
        let (seen, at) = (self.tick(), self.wall());
        let entry =
            |(k, v): &(&str, &str)| Entry { key: bytes(k), value: bytes(v), deadline: None };
        let entries = entries.iter().map(entry).collect();
        self.history.dumps.push(Dump { seen, at, recoveries, entries });
        self
    }

    /// In the last dump, `key` has a deadline in so many milliseconds.
    pub(crate) fn expiring(&mut self, key: &str, ms: i64) -> &mut Tale {
        let deadline = Some(UnixMs(self.wall().0.saturating_add_signed(ms)));
        let dump = self.history.dumps.last_mut().expect("a dump was made");
        let entry = dump.entries.iter_mut().find(|entry| entry.key == key.as_bytes());
        entry.expect("the key is in the dump").deadline = deadline;
        self
    }

    pub(crate) fn halts(&mut self, allowed: bool) -> &mut Tale {
        let at = self.tick();
        self.history.halt = Some(Halt { at, cause: "damage".to_owned(), allowed });
        self
    }

    /// Asserts that the history obeys the law.
    pub(crate) fn holds(&self, law: &Law) {
        if let Err(violation) = law.check(&Timeline::new(&self.history)) {
            panic!("{} should hold: {}", law.name, violation.evidence);
        }
    }

    /// Asserts that the history breaks the law, and that the evidence says this.
    pub(crate) fn breaks(&self, law: &Law, evidence: &str) {
        match law.check(&Timeline::new(&self.history)) {
            Ok(()) => panic!("{} should be broken", law.name),
            Err(v) => assert!(v.evidence.contains(evidence), "{}", v.evidence),
        }
    }
}

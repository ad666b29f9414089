//! From a vector of arguments to what is asked: a command for the store, or a word to the session.

pub(super) mod data;
pub(super) mod local;

use std::fmt;

use bytes::Bytes;

use super::{Version, table};
use crate::words::{Command, Expiry, HiddenValue, Refusal, parse_i64};

/// The arguments of one command, its name first: places in one shared block of bytes.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    block: &'a Bytes,
    /// `from..to` of each argument in `block`.
    places: &'a [(u32, u32)],
    key_max: usize,
}

impl<'a> Args<'a> {
    /// Views `places`, each `from..to` in `block`.
    ///
    /// # Panics
    ///
    /// If there is not even a name. Reading an argument panics if its place is not in `block`.
    pub fn new(block: &'a Bytes, places: &'a [(u32, u32)]) -> Args<'a> {
        assert!(!places.is_empty(), "a command has a name");
        Args { block, places, key_max: usize::MAX }
    }

    /// How many there are, the name included.
    #[allow(clippy::len_without_is_empty)] // There is always a name.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Argument `i`, 0 being the name, borrowed.
    #[inline]
    pub fn get(&self, i: usize) -> &'a [u8] {
        let (from, to) = self.places[i];
        &self.block[from as usize..to as usize]
    }

    /// Argument `i` as a slice that shares the block.
    #[inline]
    pub fn bytes(&self, i: usize) -> Bytes {
        let (from, to) = self.places[i];
        self.block.slice(from as usize..to as usize)
    }

    /// Argument `i` as a key, if it is not longer than keys may be.
    #[inline]
    fn key(&self, i: usize) -> Result<Bytes, Refusal> {
        match self.key_too_long(i) {
            None => Ok(self.bytes(i)),
            Some(refusal) => Err(refusal),
        }
    }

    /// Why argument `i` cannot be a key, if it cannot.
    #[inline]
    fn key_too_long(&self, i: usize) -> Option<Refusal> {
        let (from, to) = self.places[i];
        let len = (to - from) as usize;
        (len > self.key_max).then_some(Refusal::KeyTooLong { len, max: self.key_max })
    }

    /// Arguments `from` and all that follow.
    fn rest(&self, from: usize) -> impl Iterator<Item = Bytes> + use<'a> {
        let args = *self;
        (from..args.len()).map(move |i| args.bytes(i))
    }

    /// Argument `i` as an integer.
    fn integer(&self, i: usize) -> Result<i64, Refusal> {
        parse_i64(self.get(i)).ok_or(Refusal::NotAnInteger)
    }

    /// Whether argument `i` is `word`, in any case.
    fn is(&self, i: usize, word: &str) -> bool {
        self.get(i).eq_ignore_ascii_case(word.as_bytes())
    }
}

/// What one command asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Ask the store.
    Data(Command),
    /// Ask the store for a page of keys, once the session has found where `cursor` points.
    Scan {
        /// What the client sent; 0 is the beginning.
        cursor: u64,
        /// The glob keys must match, if not all do.
        pattern: Option<Bytes>,
        /// How many keys to examine, at least 1.
        count: u32,
    },
    /// The session answers by itself.
    Local(Local),
}

/// What a session answers by itself.
#[derive(Clone, PartialEq, Eq)]
pub enum Local {
    /// Switch protocol, perhaps authenticate, perhaps take a name; describe the server.
    Hello {
        /// The protocol to speak from this answer on; `None` keeps the current one.
        version: Option<Version>,
        /// User and password.
        auth: Option<(Bytes, Bytes)>,
        /// The connection's new name.
        name: Option<Bytes>,
    },
    /// Authenticate.
    Auth {
        /// The user, if named.
        user: Option<Bytes>,
        /// The password.
        password: Bytes,
    },
    /// CLIENT and its subcommands.
    Client(ClientCall),
    /// COMMAND and its subcommands.
    Command(CommandCall),
    /// CONFIG and its subcommands.
    Config(ConfigCall),
    /// Describe the server, section by section; none named is the usual ones.
    Info {
        /// The sections wanted, in any case.
        sections: Vec<Bytes>,
    },
    /// Answer PONG, or the message.
    Ping {
        /// What to answer instead.
        message: Option<Bytes>,
    },
    /// Answer the message.
    Echo {
        /// What to answer.
        message: Bytes,
    },
    /// Choose a database.
    Select {
        /// Its number.
        index: i64,
    },
    /// A page of keys of a type that no key has.
    NoKeys,
    /// The wall clock.
    Time,
    /// Back to the state of a new connection.
    Reset,
    /// Answer, then close.
    Quit,
}

/// CLIENT's subcommands.
#[derive(Clone, PartialEq, Eq)]
pub enum ClientCall {
    /// The connection's number.
    Id,
    /// The connection's name.
    GetName,
    /// Names the connection.
    SetName(Bytes),
    /// The client library's name.
    SetLibName(Bytes),
    /// The client library's version.
    SetLibVersion(Bytes),
    /// One line about this connection.
    Info,
    /// Whether answers are sent from here on.
    Reply(ReplyMode),
    /// Accepted and without effect: NO-EVICT, NO-TOUCH.
    Hint,
    /// What there is.
    Help,
}

/// What CLIENT REPLY sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    /// Answer every command.
    On,
    /// Answer none, this one included.
    Off,
    /// Answer neither this one nor the next.
    Skip,
}

/// COMMAND's subcommands.
#[derive(Clone, PartialEq, Eq)]
pub enum CommandCall {
    /// Every command, described.
    All,
    /// How many there are.
    Count,
    /// Their names, perhaps only those that match a glob.
    List {
        /// The glob.
        pattern: Option<Bytes>,
    },
    /// The named ones, described; none named is all.
    Info(Vec<Bytes>),
    /// The named ones, documented; none named is all.
    Docs(Vec<Bytes>),
    /// The keys in a command line.
    GetKeys(Vec<Bytes>),
    /// What there is.
    Help,
}

/// CONFIG's subcommands.
#[derive(Clone, PartialEq, Eq)]
pub enum ConfigCall {
    /// The settings whose names match one of the globs.
    Get(Vec<Bytes>),
    /// New values for settings.
    Set(Vec<(Bytes, Bytes)>),
    /// Forget what was counted.
    ResetStat,
    /// What there is.
    Help,
}

impl Local {
    /// The command's name, lower case.
    pub fn name(&self) -> &'static str {
        match self {
            Local::Hello { .. } => "hello",
            Local::Auth { .. } => "auth",
            Local::Client(_) => "client",
            Local::Command(_) => "command",
            Local::Config(_) => "config",
            Local::Info { .. } => "info",
            Local::Ping { .. } => "ping",
            Local::Echo { .. } => "echo",
            Local::Select { .. } => "select",
            Local::NoKeys => "scan",
            Local::Time => "time",
            Local::Reset => "reset",
            Local::Quit => "quit",
        }
    }
}

/// Names only: what these words carry are passwords, messages and names.
impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..self.len()).map(|i| HiddenValue(self.get(i)))).finish()
    }
}

/// Reads one command. Keys longer than `key_max` bytes are refused.
///
/// # Errors
///
/// The [`Refusal`] to answer instead, when there is no such command or it does not take these
/// arguments. The stream is intact: the next command is unaffected.
pub fn read_request(args: Args<'_>, key_max: usize) -> Result<Request, Refusal> {
    read_any(&Args { key_max, ..args })
}

/// As [`read_request`], appending to `out`. The two commands that servers are measured by are built
/// where they stay: a word that is moved right after it was put together stalls the processor.
#[inline]
pub(super) fn push_request(
    args: Args<'_>,
    key_max: usize,
    out: &mut Vec<Result<Request, Refusal>>,
) {
    let args = Args { key_max, ..args };
    let name = match args.get(0) {
        [a, b, c] => [a | 32, b | 32, c | 32],
        _ => return out.push(read_any(&args)),
    };
    match (&name, args.len()) {
        (b"get", 2) if args.key_too_long(1).is_none() => {
            out.push(Ok(Request::Data(Command::Get { key: args.bytes(1) })));
        }
        (b"set", 3) if args.key_too_long(1).is_none() => {
            let (key, value) = (args.bytes(1), args.bytes(2));
            let (expiry, condition, get) = (Expiry::None, None, false);
            let set = Command::Set { key, value, expiry, condition, get };
            out.push(Ok(Request::Data(set)));
        }
        _ => out.push(read_any(&args)),
    }
}

fn read_any(args: &Args<'_>) -> Result<Request, Refusal> {
    let Some(spec) = table::find(args.get(0)) else {
        let tail: Vec<Bytes> = args.rest(1).take(crate::words::ECHO_MAX).collect();
        return Err(Refusal::unknown_command(args.get(0), &tail));
    };
    if !spec.accepts(args.len()) {
        return Err(Refusal::WrongArity { command: spec.full });
    }
    if let Some(sub) = spec.sub(args)? {
        return (sub.read)(args);
    }
    (spec.read)(args)
}

#[cfg(test)]
mod tests;

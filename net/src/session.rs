//! The state of one RESP connection, and every answer that needs nothing else.
//!
//! Requests go through [`Session::step`] one by one, in the order they came. Each yields what to do
//! and the [`Form`] its answer takes, because a pipeline may switch protocol or fall silent in its
//! middle while earlier answers are still on their way. Answers are written in the same order.
//!
//! Invariant: before a client has authenticated, where it must, no request reaches the store.

mod describe;
mod facts;
mod info;

pub use facts::{REDIS_VERSION, ServerFacts, Settings};

use std::fmt;
use std::mem::take;

use bytes::Bytes;

use crate::Cursors;
use crate::resp::{
    ClientCall, ConfigCall, Limits, Local, ReplyMode, Request, Version, encode_answer,
};
use crate::words::{Answer, Command, Refusal};

/// The number of databases. Redis has sixteen unless told otherwise; here there is one.
pub const DATABASES: i64 = 1;

/// What one request comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Ask the store; its answer is the client's.
    Ask(Command),
    /// This is the answer.
    Answer(Answer),
    /// The node must do this, and answer `Ok` or why not.
    Node(NodeCall),
    /// This is the answer, and the last: ignore what follows, and close once it is written.
    Last(Answer),
}

/// What a client may ask of the whole node.
#[derive(Clone, PartialEq, Eq)]
pub enum NodeCall {
    /// Give these settings these values, all or none. They exist, may be changed, and are not so
    /// already; whether the values make sense is for the node to say.
    Configure(Vec<(Bytes, Bytes)>),
    /// Start counting commands and connections from zero.
    ResetStats,
}

/// Settings by name: a value may be a secret.
impl fmt::Debug for NodeCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeCall::Configure(pairs) => {
                f.write_str("Configure ")?;
                f.debug_list().entries(pairs.iter().map(|(name, _)| name)).finish()
            }
            NodeCall::ResetStats => f.write_str("ResetStats"),
        }
    }
}

/// How one answer is written: decided when its request was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    version: Version,
    silent: bool,
}

impl Form {
    /// The protocol the answer is written in.
    pub fn version(self) -> Version {
        self.version
    }

    /// Appends the answer to `out`; nothing if the client does not want it. A page of keys gets its
    /// cursor from `cursors`.
    pub fn write(self, answer: &Answer, cursors: &mut Cursors, out: &mut Vec<u8>) {
        match answer {
            _ if self.silent => {}
            Answer::Page { next, keys } => cursors.encode_page(next.as_ref(), keys, out),
            answer => encode_answer(answer, self.version, out),
        }
    }
}

/// One connection.
#[derive(Clone)]
pub struct Session {
    id: u64,
    peer: String,
    local: String,
    password: Option<Bytes>,
    authenticated: bool,
    version: Version,
    /// CLIENT REPLY OFF: nothing is answered.
    silent: bool,
    /// CLIENT REPLY SKIP: the request being taken, or the one after it, is not answered.
    skip_this: bool,
    skip_next: bool,
    name: Bytes,
    lib_name: Bytes,
    lib_version: Bytes,
}

impl Session {
    /// A connection just accepted. `id` is its number, unique in this run of the server; `peer` and
    /// `local` are the addresses CLIENT INFO shows; with a `password` the client must authenticate
    /// before anything else.
    pub fn new(id: u64, peer: String, local: String, password: Option<Bytes>) -> Session {
        Session {
            id,
            peer,
            local,
            authenticated: password.is_none(),
            password,
            version: Version::Resp2,
            silent: false,
            skip_this: false,
            skip_next: false,
            name: Bytes::new(),
            lib_name: Bytes::new(),
            lib_version: Bytes::new(),
        }
    }

    /// The connection's number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The protocol spoken now.
    pub fn version(&self) -> Version {
        self.version
    }

    /// What the client may send now, given what it may send once authenticated. Give it to the
    /// decoder whenever a step may have changed it.
    pub fn limits(&self, full: Limits) -> Limits {
        if self.authenticated { full } else { full.unauthenticated() }
    }

    /// The form of the next answer, if a command that is the next request goes to the store as it
    /// is. [`Session::step`] says the same at more cost.
    #[inline]
    pub fn pass(&mut self) -> Option<Form> {
        let plain = self.authenticated && !(self.silent || self.skip_this || self.skip_next);
        plain.then_some(Form { version: self.version, silent: false })
    }

    /// Takes the next request of the connection, or the refusal the codec has for it.
    ///
    /// `facts` is called only by the few requests that describe the server.
    pub fn step(
        &mut self,
        request: Result<Request, Refusal>,
        cursors: &Cursors,
        facts: impl FnOnce() -> ServerFacts,
    ) -> (Form, Step) {
        self.skip_this = take(&mut self.skip_next);
        let step = match request {
            Ok(request) if !self.authenticated && !opens_door(&request) => {
                refused(Refusal::AuthRequired)
            }
            Ok(Request::Data(command)) => Step::Ask(command),
            Ok(Request::Scan { cursor, pattern, count }) => match cursors.resume(cursor) {
                Ok(after) => Step::Ask(Command::Scan { after, pattern, count }),
                Err(refusal) => refused(refusal),
            },
            Ok(Request::Local(local)) => self.local(local, facts).unwrap_or_else(refused),
            Err(refusal) => refused(refusal),
        };
        let silent = self.silent || self.skip_this;
        (Form { version: self.version, silent }, step)
    }

    fn local(
        &mut self,
        local: Local,
        facts: impl FnOnce() -> ServerFacts,
    ) -> Result<Step, Refusal> {
        let answer = match local {
            Local::Hello { version, auth, name } => {
                self.hello(version, auth, name)?;
                describe::hello(self.id, self.version)
            }
            Local::Auth { user, password } => {
                self.authenticate(user.as_deref(), &password)?;
                Answer::Ok
            }
            Local::Client(call) => self.client(call),
            Local::Command(call) => describe::command(call)?,
            Local::Config(ConfigCall::Get(globs)) => facts().settings.matching(&globs),
            Local::Config(ConfigCall::Set(pairs)) => match facts().settings.changes(pairs)? {
                changes if changes.is_empty() => Answer::Ok,
                changes => return Ok(Step::Node(NodeCall::Configure(changes))),
            },
            Local::Config(ConfigCall::ResetStat) => return Ok(Step::Node(NodeCall::ResetStats)),
            Local::Config(ConfigCall::Help) => describe::help("config"),
            Local::Info { sections } => Answer::Text(info::render(&facts(), &sections).into()),
            Local::Ping { message: None } => Answer::Simple("PONG"),
            Local::Ping { message: Some(message) } | Local::Echo { message } => {
                Answer::Bulk(message.into())
            }
            Local::Select { index } if (0..DATABASES).contains(&index) => Answer::Ok,
            Local::Select { .. } => return Err(Refusal::DbIndex),
            Local::NoKeys => Answer::Page { next: None, keys: Vec::new() },
            Local::Time => {
                let now = facts().now_micros;
                let part = |number: u64| Answer::Bulk(number.to_string().into());
                Answer::List(vec![part(now / 1_000_000), part(now % 1_000_000)])
            }
            Local::Reset => {
                self.authenticated = self.password.is_none();
                self.version = Version::Resp2;
                self.silent = false;
                self.name = Bytes::new();
                Answer::Simple("RESET")
            }
            Local::Quit => return Ok(Step::Last(Answer::Ok)),
        };
        Ok(Step::Answer(answer))
    }

    /// All of HELLO or nothing: a refusal leaves the connection as it was.
    fn hello(
        &mut self,
        version: Option<Version>,
        auth: Option<(Bytes, Bytes)>,
        name: Option<Bytes>,
    ) -> Result<(), Refusal> {
        match auth {
            Some((user, password)) => self.authenticate(Some(&user), &password)?,
            None if !self.authenticated => return Err(Refusal::HelloAuthRequired),
            None => {}
        }
        if let Some(name) = name {
            self.name = own(&name);
        }
        self.version = version.unwrap_or(self.version);
        Ok(())
    }

    /// There is one user, `default`. Without a password configured it takes any, if named; AUTH
    /// with a password alone is then refused, because whoever sends it believes there is one.
    fn authenticate(&mut self, user: Option<&[u8]>, password: &[u8]) -> Result<(), Refusal> {
        let known = user.is_none_or(|user| user == b"default");
        match &self.password {
            None if user.is_none() => Err(Refusal::AuthNotConfigured),
            None if known => Ok(()),
            Some(expected) if known && same(expected, password) => {
                self.authenticated = true;
                Ok(())
            }
            _ => Err(Refusal::WrongPassword),
        }
    }

    fn client(&mut self, call: ClientCall) -> Answer {
        match call {
            ClientCall::Id => Answer::Int(i64::try_from(self.id).unwrap_or(i64::MAX)),
            ClientCall::GetName if self.name.is_empty() => Answer::Nil,
            ClientCall::GetName => Answer::Bulk(self.name.clone().into()),
            ClientCall::SetName(name) => {
                self.name = own(&name);
                Answer::Ok
            }
            ClientCall::SetLibName(name) => {
                self.lib_name = own(&name);
                Answer::Ok
            }
            ClientCall::SetLibVersion(version) => {
                self.lib_version = own(&version);
                Answer::Ok
            }
            ClientCall::Info => Answer::Text(self.describe().into()),
            ClientCall::Reply(mode) => {
                // SKIP silences itself and the next command, OFF itself and all that follow.
                match mode {
                    ReplyMode::On => (self.silent, self.skip_this) = (false, false),
                    ReplyMode::Off => self.silent = true,
                    // Where nothing is answered there is nothing to skip.
                    ReplyMode::Skip => {
                        (self.skip_this, self.skip_next) = (!self.silent, !self.silent);
                    }
                }
                Answer::Ok
            }
            ClientCall::Hint => Answer::Ok,
            ClientCall::Help => describe::help("client"),
        }
    }

    /// One line as CLIENT INFO prints it. Names are printable by the codec's rules.
    fn describe(&self) -> String {
        let text = String::from_utf8_lossy;
        format!(
            "id={} addr={} laddr={} name={} flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 \
             user=default redir=-1 resp={} lib-name={} lib-ver={}\n",
            self.id,
            self.peer,
            self.local,
            text(&self.name),
            self.version.number(),
            text(&self.lib_name),
            text(&self.lib_version),
        )
    }
}

fn refused(refusal: Refusal) -> Step {
    Step::Answer(refusal.into())
}

/// What a client may ask before it has authenticated.
fn opens_door(request: &Request) -> bool {
    matches!(
        request,
        Request::Local(Local::Hello { .. } | Local::Auth { .. } | Local::Reset | Local::Quit)
    )
}

/// What a session keeps must not keep a read buffer alive.
fn own(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// Whether two secrets are the same, in a time that depends on the length of what was sent alone.
pub fn same(expected: &[u8], sent: &[u8]) -> bool {
    let mut difference = expected.len() ^ sent.len();
    for (i, byte) in sent.iter().enumerate() {
        let expected = expected.get(i % expected.len().max(1)).copied().unwrap_or(0);
        difference |= usize::from(expected ^ byte);
    }
    difference == 0
}

/// Passwords stay out of logs.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("peer", &self.peer)
            .field("version", &self.version)
            .field("silent", &self.silent)
            .field("authenticated", &self.authenticated)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

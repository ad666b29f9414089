//! The first two frames of a connection.

use std::fmt;

use bytes::Bytes;
use planus::Builder;

use super::{
    VERSION,
    source::{Fault, Source},
    table,
};
use crate::{envelope::Safety, session::same};

/// What a client says of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// The least version of the protocol that it speaks.
    pub version_min: u16,
    /// The greatest.
    pub version_max: u16,
    /// Its name, for people.
    pub client: String,
    /// What it can do beyond the version.
    pub capabilities: Vec<String>,
    /// If the server asks for one.
    pub password: Option<Bytes>,
}

impl Hello {
    /// Of a client that speaks the version that is spoken here.
    pub fn new(client: impl Into<String>) -> Hello {
        Hello {
            version_min: u16::from(VERSION),
            version_max: u16::from(VERSION),
            client: client.into(),
            capabilities: Vec::new(),
            password: None,
        }
    }

    /// Whether it speaks the version that is spoken here.
    pub fn is_understood(&self) -> bool {
        (self.version_min..=self.version_max).contains(&u16::from(VERSION))
    }

    /// Whether its password is the one. How long that takes tells nothing.
    pub fn knows(&self, password: &[u8]) -> bool {
        self.password.as_ref().is_some_and(|sent| same(password, sent))
    }
}

/// A password stays out of every log.
impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("versions", &(self.version_min..=self.version_max))
            .field("client", &self.client)
            .field("capabilities", &self.capabilities)
            .field("password", &self.password.is_some())
            .finish()
    }
}

/// What holds on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version that is spoken from here on.
    pub version: u16,
    /// The server's name and release, for people.
    pub server: String,
    /// What the server can do beyond the version.
    pub capabilities: Vec<String>,
    /// Requests that may be in flight at once.
    pub credits: u32,
    /// Most bytes of a frame's table.
    pub message_max: u32,
    /// Most bytes of a key.
    pub key_max: u32,
    /// Most bytes of a value.
    pub value_max: u32,
    /// Most events of one subscription that may wait unread.
    pub event_credits_max: u32,
    /// When commands are answered that do not say.
    pub durability: Option<Safety>,
    /// Names the connection for as long as the server runs.
    pub connection: u64,
}

pub(super) fn write_hello<'a>(hello: &Hello, to: &'a mut Builder) -> &'a [u8] {
    let root = table::Hello::create(
        to,
        hello.version_min,
        hello.version_max,
        hello.client.as_str(),
        hello.capabilities.as_slice(),
        hello.password.as_deref(),
    );
    to.finish(root, None)
}

pub(super) fn read_hello(from: &mut Source<'_>) -> Result<Hello, Fault> {
    let root: table::HelloRef<'_> = from.root()?;
    Ok(Hello {
        version_min: root.version_min()?,
        version_max: root.version_max()?,
        client: from.string(root.client()?)?,
        capabilities: read_words(root.capabilities()?, from)?,
        password: root.password()?.map(|bytes| from.bytes(bytes)).transpose()?,
    })
}

pub(super) fn write_welcome<'a>(welcome: &Welcome, to: &'a mut Builder) -> &'a [u8] {
    let root = table::Welcome::create(
        to,
        welcome.version,
        welcome.server.as_str(),
        welcome.capabilities.as_slice(),
        welcome.credits,
        welcome.message_max,
        welcome.key_max,
        welcome.value_max,
        welcome.event_credits_max,
        write_safety(welcome.durability),
        welcome.connection,
    );
    to.finish(root, None)
}

pub(super) fn read_welcome(from: &mut Source<'_>) -> Result<Welcome, Fault> {
    let root: table::WelcomeRef<'_> = from.root()?;
    Ok(Welcome {
        version: root.version()?,
        server: from.string(root.server()?)?,
        capabilities: read_words(root.capabilities()?, from)?,
        credits: root.credits()?,
        message_max: root.message_max()?,
        key_max: root.key_max()?,
        value_max: root.value_max()?,
        event_credits_max: root.event_credits_max()?,
        durability: Safety::ALL.get(usize::from(root.durability()?).wrapping_sub(1)).copied(),
        connection: root.connection()?,
    })
}

pub(super) fn write_safety(safety: Option<Safety>) -> u8 {
    safety.map_or(0, |safety| safety as u8 + 1)
}

fn read_words(
    words: Option<planus::Vector<'_, planus::Result<&str>>>,
    from: &mut Source<'_>,
) -> Result<Vec<String>, Fault> {
    from.list(words, |from, word| from.string(Some(word?)))
}

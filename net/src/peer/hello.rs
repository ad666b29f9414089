//! The first two messages of a connection.
//!
//! | of a hello | |
//! |---|---|
//! | 8 | `orlojpee` |
//! | 2 + 2 | least and greatest version of the protocol |
//! | 32 | the cluster |
//! | 8, string, 8 | own id, name, incarnation |
//! | 8 | the id of the node that is meant |
//! | string | release |
//! | 1 + 1 | least and greatest version of entries |
//! | 8 | greatest term in which it has voted |
//! | 1 + 8 + 8 | whether it has a last entry, its term and index, or 0 |
//!
//! | of a welcome | |
//! |---|---|
//! | 2 | version of the protocol |
//! | 8, string, 8 | own id, name, incarnation |
//! | string | release |
//! | 1 + 1 | least and greatest version of entries |
//!
//! A refusal is 1 byte, the reason, and a string. Numbers are little-endian; a string is a `u16`
//! length and UTF-8.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// How a hello begins.
const MAGIC: &[u8; 8] = b"orlojpee";
/// Longest name, release or text.
const STRING_MAX: usize = 1 << 10;

/// Bytes that are no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Senseless;

impl fmt::Display for Senseless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a greeting that makes no sense")
    }
}

impl std::error::Error for Senseless {}

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The term of its leader.
    pub term: u64,
    /// Counted from 0.
    pub index: u64,
}

/// A node says who it is, and whom it means to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The least and the greatest version of the protocol that it speaks.
    pub versions: (u16, u16),
    /// The cluster that it belongs to.
    pub cluster: [u8; 32],
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Drawn at each start of its process.
    pub incarnation: u64,
    /// Whom it means to reach.
    pub to: u64,
    /// Its release, for people.
    pub release: String,
    /// The least and the greatest version of entries that it reads.
    pub entries: (u8, u8),
    /// The greatest term in which it has voted.
    pub term: u64,
    /// The last entry of its log.
    pub last: Option<Position>,
}

/// It is listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The version that is spoken.
    pub version: u16,
    /// Who was reached.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Drawn at each start of its process.
    pub incarnation: u64,
    /// Its release, for people.
    pub release: String,
    /// The least and the greatest version of entries that it reads.
    pub entries: (u8, u8),
}

/// Why a node is not listened to. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// It did not say hello.
    NotPeer = 1,
    /// There is no version of the protocol, or of entries, that both speak.
    Version = 2,
    /// It belongs to another cluster.
    WrongCluster = 3,
    /// It has reached another node than it meant.
    WrongNode = 4,
    /// Its id is somebody else's.
    DuplicateId = 5,
    /// No member has its id.
    UnknownNode = 6,
    /// It was a member.
    Removed = 7,
    /// It has forgotten what it knew before.
    Rewound = 8,
}

impl Reason {
    /// All, in the order of their numbers.
    pub const ALL: [Reason; 8] = [
        Reason::NotPeer,
        Reason::Version,
        Reason::WrongCluster,
        Reason::WrongNode,
        Reason::DuplicateId,
        Reason::UnknownNode,
        Reason::Removed,
        Reason::Rewound,
    ];

    /// The reason with that number.
    pub fn from_number(number: u8) -> Option<Reason> {
        Reason::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// It is not listened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The same, for people.
    pub text: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.reason, self.text)
    }
}

impl std::error::Error for Refusal {}

fn put_string(out: &mut BytesMut, string: &str) {
    let mut end = string.len().min(STRING_MAX);
    while !string.is_char_boundary(end) {
        end -= 1;
    }
    out.put_u16_le(end as u16);
    out.put_slice(&string.as_bytes()[..end]);
}

fn take_string(from: &mut &[u8]) -> Option<String> {
    let len = usize::from(from.try_get_u16_le().ok()?);
    let (string, rest) = from.split_at_checked(len).filter(|_| len <= STRING_MAX)?;
    *from = rest;
    String::from_utf8(string.to_vec()).ok()
}

/// All of `bytes` as what `read` makes of it.
fn whole<T>(bytes: &[u8], read: impl FnOnce(&mut &[u8]) -> Option<T>) -> Result<T, Senseless> {
    let mut from = bytes;
    read(&mut from).filter(|_| from.is_empty()).ok_or(Senseless)
}

impl Hello {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(MAGIC);
        out.put_u16_le(self.versions.0);
        out.put_u16_le(self.versions.1);
        out.put_slice(&self.cluster);
        out.put_u64_le(self.id);
        put_string(&mut out, &self.name);
        out.put_u64_le(self.incarnation);
        out.put_u64_le(self.to);
        put_string(&mut out, &self.release);
        out.put_slice(&[self.entries.0, self.entries.1]);
        out.put_u64_le(self.term);
        out.put_u8(u8::from(self.last.is_some()));
        let last = self.last.unwrap_or(Position { term: 0, index: 0 });
        out.put_u64_le(last.term);
        out.put_u64_le(last.index);
        out.freeze()
    }

    /// Out of its bytes.
    ///
    /// # Errors
    /// [`Senseless`].
    pub fn decode(bytes: &[u8]) -> Result<Hello, Senseless> {
        whole(bytes, |from| {
            let magic = from.split_off(..MAGIC.len())?;
            if magic != MAGIC {
                return None;
            }
            let versions = (from.try_get_u16_le().ok()?, from.try_get_u16_le().ok()?);
            let cluster = from.split_off(..32)?.try_into().ok()?;
            let id = from.try_get_u64_le().ok()?;
            let name = take_string(from)?;
            let incarnation = from.try_get_u64_le().ok()?;
            let to = from.try_get_u64_le().ok()?;
            let release = take_string(from)?;
            let entries = (from.try_get_u8().ok()?, from.try_get_u8().ok()?);
            let term = from.try_get_u64_le().ok()?;
            let has_last = from.try_get_u8().ok()?;
            let last =
                Position { term: from.try_get_u64_le().ok()?, index: from.try_get_u64_le().ok()? };
            let last = match (has_last, last) {
                (0, Position { term: 0, index: 0 }) => None,
                (1, last) => Some(last),
                _ => return None,
            };
            Some(Hello {
                versions,
                cluster,
                id,
                name,
                incarnation,
                to,
                release,
                entries,
                term,
                last,
            })
        })
    }
}

impl Welcome {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u16_le(self.version);
        out.put_u64_le(self.id);
        put_string(&mut out, &self.name);
        out.put_u64_le(self.incarnation);
        put_string(&mut out, &self.release);
        out.put_slice(&[self.entries.0, self.entries.1]);
        out.freeze()
    }

    /// Out of its bytes.
    ///
    /// # Errors
    /// [`Senseless`].
    pub fn decode(bytes: &[u8]) -> Result<Welcome, Senseless> {
        whole(bytes, |from| {
            Some(Welcome {
                version: from.try_get_u16_le().ok()?,
                id: from.try_get_u64_le().ok()?,
                name: take_string(from)?,
                incarnation: from.try_get_u64_le().ok()?,
                release: take_string(from)?,
                entries: (from.try_get_u8().ok()?, from.try_get_u8().ok()?),
            })
        })
    }
}

impl Refusal {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(self.reason as u8);
        put_string(&mut out, &self.text);
        out.freeze()
    }

    /// Out of its bytes.
    ///
    /// # Errors
    /// [`Senseless`], also for a reason of a later release.
    pub fn decode(bytes: &[u8]) -> Result<Refusal, Senseless> {
        whole(bytes, |from| {
            let reason = Reason::from_number(from.try_get_u8().ok()?)?;
            Some(Refusal { reason, text: take_string(from)? })
        })
    }
}

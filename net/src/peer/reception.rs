//! Who is listened to.

use std::collections::{BTreeMap, BTreeSet};

use super::{Hello, Position, Reason, Refusal, Welcome};

/// The versions of the protocol that are spoken here: the least and the greatest.
const VERSIONS: (u16, u16) = (1, 1);

/// What a node knows of another member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The greatest term in which it is known to have voted.
    pub term: u64,
}

/// A node, and what it judges a hello by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reception {
    /// The cluster that it belongs to.
    pub cluster: [u8; 32],
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Drawn at each start of the process.
    pub incarnation: u64,
    /// Its release, for people.
    pub release: String,
    /// The least and the greatest version of entries that it reads.
    pub entries: (u8, u8),
    /// All members of the cluster, by id, itself among them.
    pub members: BTreeMap<u64, Member>,
    /// Who was one. Ids are never given to another.
    pub removed: BTreeSet<u64>,
}

impl Reception {
    /// What it says of itself to the node with id `to`; `term` and `last` are of its own disk.
    pub fn hello(&self, to: u64, term: u64, last: Option<Position>) -> Hello {
        Hello {
            versions: VERSIONS,
            cluster: self.cluster,
            id: self.id,
            name: self.name.clone(),
            incarnation: self.incarnation,
            to,
            release: self.release.clone(),
            entries: self.entries,
            term,
            last,
        }
    }

    /// Whether the node is listened to. `connected` is the incarnation of a node of that id which
    /// is connected, and alive.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, hello: &Hello, connected: Option<u64>) -> Result<Welcome, Refusal> {
        let refused = |reason, text: String| Err(Refusal { reason, text });
        let ((least, greatest), entries) = (hello.versions, hello.entries);
        let version = VERSIONS.1.min(greatest);
        if version < VERSIONS.0.max(least) {
            let (low, high) = VERSIONS;
            let text = format!("{least} to {greatest}, and {low} to {high} is spoken here");
            return refused(Reason::Version, text);
        }
        if self.entries.1.min(entries.1) < self.entries.0.max(entries.0) {
            let (ours, theirs) = (self.entries, entries);
            let (low, high) = ours;
            let text = format!("entries {} to {}, and {low} to {high} here", theirs.0, theirs.1);
            return refused(Reason::Version, text);
        }
        if hello.cluster != self.cluster {
            let text = format!("{} belongs to another cluster than {}", hello.name, self.name);
            return refused(Reason::WrongCluster, text);
        }
        if hello.to != self.id {
            let (own, name, to) = (self.id, &self.name, hello.to);
            return refused(
                Reason::WrongNode,
                format!("this is {name}, id {own}, and not id {to}"),
            );
        }
        let id = hello.id;
        if self.removed.contains(&id) {
            return refused(Reason::Removed, format!("id {id} is no member any more"));
        }
        let Some(member) = self.members.get(&id) else {
            return refused(Reason::UnknownNode, format!("no member has id {id}"));
        };
        if id == self.id || member.name != hello.name {
            let text = format!("id {id} is {}, and not {}", member.name, hello.name);
            return refused(Reason::DuplicateId, text);
        }
        if connected.is_some_and(|connected| connected != hello.incarnation) {
            let text = format!("another process with id {id} is connected");
            return refused(Reason::DuplicateId, text);
        }
        if hello.term < member.term {
            let (told, known) = (hello.term, member.term);
            let text = format!("{} voted in term {known}, and knows of {told} only", hello.name);
            return refused(Reason::Rewound, text);
        }
        Ok(Welcome {
            version,
            id: self.id,
            name: self.name.clone(),
            incarnation: self.incarnation,
            release: self.release.clone(),
            entries: self.entries,
        })
    }
}

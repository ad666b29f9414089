//! The types with which openraft is instantiated, once.

use std::fmt;

use openraft::{
    RaftTypeConfig,
    impls::{
        BoxedErrorSource, Entry as LogEntry, EntryPayload, InlineBatch, ProgressResponder, Vote,
        leader_id_std::LeaderId,
    },
    vote::leader_id_std::CommittedLeaderId,
};

use crate::{Ambient, Entry};

/// Our choice of everything that openraft leaves open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Types;

/// Where a node of the cluster is reached, and what people call it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Where its peers connect: `host:port`.
    pub address: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.address)
    }
}

/// What doing an entry came to on the node that proposed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The last turn that changed the state, this entry's if it did.
    pub turn: u64,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "turn {}", self.turn)
    }
}

impl RaftTypeConfig for Types {
    type D = Entry;
    type R = Applied;
    type NodeId = u64;
    type Node = Peer;
    type Term = u64;
    // One leader a term, so that a term can be a fencing token.
    type LeaderId = LeaderId<u64, u64>;
    type Vote = Vote<Self::LeaderId>;
    type Payload = EntryPayload<Entry, u64, Peer>;
    type Entry = LogEntry<CommittedLeaderId<u64>, Self::Payload>;
    type AsyncRuntime = Ambient;
    type Responder<T>
        = ProgressResponder<Self, T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

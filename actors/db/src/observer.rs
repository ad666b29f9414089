//! A seam for checkers: what the node executed, with the turn of the state each command saw.

use std::net::SocketAddr;

use orloj_net::{
    Answer, Command, UnixMs,
    envelope::{Envelope, Failure, Id, Outcome, SessionName},
};

use crate::Summary;

/// One command as the sequencer executed it.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The connection it came from, as CLIENT ID shows it.
    pub connection: u64,
    /// How many commands for the store that connection had sent before.
    pub ordinal: u64,
    /// The command, its deadlines absolute.
    pub command: &'a Command,
    /// What the store answered. The client hears it later, or never.
    pub answer: &'a Answer,
    /// The turn behind it: its own if that changed anything, else the last that did. Commands of
    /// one turn happen together, in the order in which they are told.
    pub turn: u64,
    /// The time it was executed at. Never goes back within a life of the node.
    pub at: UnixMs,
}

/// A step in the life of a command inside an envelope, as the sequencer made it.
#[derive(Debug)]
pub struct Lived<'a> {
    /// The turn behind it. Steps and commands of one turn happen together, in the order in which
    /// they are told.
    pub turn: u64,
    /// The time of it. Never goes back within a life of the node.
    pub at: UnixMs,
    /// The number of the step on its lane; 0 where there is none.
    pub lane_sequence: u64,
    /// Which step.
    pub step: Step<'a>,
}

/// What can happen to a command inside an envelope. Commands are known by the row of the history in
/// which they were accepted, which grows in the order of acceptance.
#[derive(Debug)]
pub enum Step<'a> {
    /// It was refused and left no trace.
    Refused {
        /// What was asked.
        envelope: &'a Envelope,
        /// Why not.
        failure: &'a Failure,
    },
    /// It repeats an earlier one, whose outcome, perhaps yet to come, is its answer.
    Repeated {
        /// What was asked.
        envelope: &'a Envelope,
        /// The earlier one.
        row: u64,
    },
    /// It was accepted.
    Accepted {
        /// Its row.
        row: u64,
        /// Its id, or the one it was given.
        id: &'a Id,
        /// What was asked.
        envelope: &'a Envelope,
    },
    /// Its lane came to it.
    Started {
        /// Its row.
        row: u64,
    },
    /// It has its outcome.
    Finished {
        /// Its row.
        row: u64,
        /// How it ended.
        outcome: &'a Outcome,
    },
    /// Of a session that was deleted no row is left: its lane is forgotten, and one that is made
    /// again counts from 1.
    Forgotten {
        /// Its name.
        session: &'a SessionName,
    },
}

/// Is told what a node does, in order. Called between two steps of the node: it must not wait.
pub trait Observer: Send + Sync {
    /// Recovery is complete, and a new life begins with the state it found.
    fn recovered(&self, _summary: &Summary) {}
    /// A client was accepted.
    fn connected(&self, _connection: u64, _peer: SocketAddr) {}
    /// A turn changed the store: by commands, which are told next, or because time has passed.
    fn committed(&self, _turn: u64) {}
    /// A command was executed.
    fn executed(&self, _seen: &Seen<'_>) {}
    /// Something happened to a command inside an envelope. What recovery makes of those that were
    /// in flight is told before anything else of a life.
    fn lived(&self, _lived: &Lived<'_>) {}
    /// Rows of the history before `first` are no longer kept: ids of commands that were accepted
    /// there are unknown from here on.
    fn trimmed(&self, _first: u64) {}
    /// The disk took nothing from `turn` on: commands seen with that turn or a later one have not
    /// happened, and later ones take these numbers again.
    fn undone(&self, _turn: u64) {}
}

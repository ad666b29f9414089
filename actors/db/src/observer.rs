//! A seam for checkers: what the node executed, with the turn of the state each command saw.

use std::net::SocketAddr;

use orloj_net::{Answer, Command, UnixMs};

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
    /// The disk took nothing from `turn` on: commands seen with that turn or a later one have not
    /// happened, and later ones take these numbers again.
    fn undone(&self, _turn: u64) {}
}

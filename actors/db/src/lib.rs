//! The database as actors: sessions, sequencer, journal, node.

mod state;

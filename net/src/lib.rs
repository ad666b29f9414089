//! Bytes on a wire: the protocol's words, and the RESP codec that carries them.
//!
//! [`words`] is what every front end, the database, the model and the checkers say to each other:
//! a closed set of commands, answers and refusals. [`resp`] turns bytes into words and back, and
//! [`session`] is what one connection remembers between them. [`envelope`] is what clients of
//! causal commands say: who asks, what it rests on, and the one outcome. [`native`] carries that in
//! frames, and [`client`] speaks it from the other side; [`json`] is its form in JSON, and [`wire`]
//! cuts a stream into such texts, by lines or by WebSocket. [`peer`] is what the nodes of a cluster
//! say to each other.
//!
//! Invariant: nothing here waits, reads a clock, opens a socket or draws a random number; only the
//! client does, through its Context. Bytes come in, words and bytes go out, and the same bytes
//! always give the same words.

pub mod client;
mod commands;
mod cursors;
pub mod envelope;
pub mod json;
pub mod native;
pub mod peer;
pub mod resp;
pub mod session;
pub mod wire;
pub mod words;

pub use commands::{Commands, Events};
pub use cursors::Cursors;
pub use words::{
    Answer, Blob, Command, Condition, Deadline, ExpireCondition, Expiry, Key, Real, Refusal,
    TimeForm, UnixMs, Value, glob_matches, parse_i64, write_i64,
};

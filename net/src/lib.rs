//! Bytes on a wire: the protocol's words, and the RESP codec that carries them.
//!
//! [`words`] is what every front end, the database, the model and the checkers say to each other:
//! a closed set of commands, answers and refusals. [`resp`] turns bytes into words and back, and
//! [`session`] is what one connection remembers between them.
//!
//! Invariant: nothing here waits, reads a clock, opens a socket or draws a random number. Bytes
//! come in, words and bytes go out, and the same bytes always give the same words.

mod cursors;
pub mod resp;
pub mod session;
pub mod words;

pub use cursors::Cursors;
pub use words::{
    Answer, Blob, Command, Condition, Deadline, ExpireCondition, Expiry, Key, Real, Refusal,
    TimeForm, UnixMs, Value, glob_matches, parse_i64, write_i64,
};

//! Bytes on a wire: the protocol's words, and the RESP codec that carries them.
//!
//! [`words`] is what every front end, the database, the model and the checkers say to each other:
//! a closed set of commands, answers and refusals. [`resp`] turns bytes into words and back.
//!
//! Invariant: nothing here waits, reads a clock, opens a socket or draws a random number. Bytes
//! come in, words and bytes go out, and the same bytes always give the same words.

pub mod words;

pub use words::{
    Answer, Command, Condition, Deadline, ExpireCondition, Expiry, Key, Real, Refusal, TimeForm,
    UnixMs, Value,
};

//! RESP2 and RESP3, without I/O.
//!
//! Requests: [`Decoder`] takes every complete command off the front of a read buffer and turns each
//! into a [`Request`]. Answers: [`encode_answer`] appends an answer to a write buffer in either
//! version. Clients, tests and tools read what a server sends with [`ReplyDecoder`].
//!
//! Invariant: how the bytes were cut into reads never changes what they mean, and no byte is
//! examined more than a constant number of times, however they were cut.

mod client;
mod encode;
mod inline;
mod limits;
mod parse;
mod reply;
mod request;
mod table;

pub use client::encode_command;
pub(crate) use encode::write_page;
pub use encode::{
    Version, encode_answer, encode_protocol_error, encode_push, encode_request, write_bulk,
};
pub use limits::{Limits, ProtocolError};
pub use parse::{Decoder, Progress};
pub use reply::{Reply, ReplyDecoder, ReplyError, ReplyLimits};
pub use request::{
    Args, ClientCall, CommandCall, ConfigCall, Local, ReplyMode, Request, read_request,
};
pub use table::{COMMANDS, Spec, find};

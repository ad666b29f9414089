//! Causal commands as JSON: one object asks, one object answers.
//!
//! A request has a `type` ([`TYPES`] lists all with their fields) and the fields of its envelope;
//! a scalar `request` in it is repeated in whatever answers it, so that answers can come in any
//! order. Keys and values are strings, or `{"base64": "…"}` where they are not UTF-8. A field that
//! its type does not have is refused, as is one that stands there twice: what was misspelt must not
//! be dropped in silence. `docs/src/json.md` is the reference.

mod answer;
mod fields;
mod parse;
mod request;
mod types;

pub use answer::{answer, event, failure, finding, refusal, state};
pub use fields::{byte_string, from_base64, milliseconds};
pub use parse::{DEPTH_MAX, VALUES_MAX};
pub use request::{Ask, Message, Refused, decode, encode};
pub use types::{ENVELOPE, Field, Kind, TYPES, fields_of};

/// Most bytes of a `request` that is a string.
pub const REQUEST_MAX: usize = 256;

#[cfg(test)]
mod tests;

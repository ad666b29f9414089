//! What the storage engine promises, stated apart from how it keeps it.
//!
//! A simulation records a [`History`]: what the users of a database wrote, what they were told, and
//! what they were shown at which version. [`judge`] learns from it which write has which version,
//! makes the ordered map of versions that a single-threaded engine would hold, and compares.
//!
//! A write whose outcome nobody was told is neither there nor not there: it counts as soon as
//! somebody was shown a value of it, with all that it did, and until then it may excuse that a key
//! is missing, and nothing else.

mod history;
mod laws;
mod model;
mod values;

#[cfg(test)]
mod testing;

pub use history::{
    Begin, CacheUse, Change, Dump, Failure, Found, History, KeyspaceId, Listing, Look, Read, Span,
    Told, Version, Write, WriteId,
};
pub use laws::{ENGINE_LAWS, EngineLaw, judge};
pub use model::Model;
pub use values::{value, written_by};

//! Port conformance on both runtimes, real processes, real clients.

/// The code on the book's page about actors, compiled and run as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../../docs/src/actors.md")]
pub struct WritingActors;

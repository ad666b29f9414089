//! Port conformance on both runtimes, real processes, real clients.

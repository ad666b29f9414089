//! How much of each row is run, the same for every peer.

use std::time::Duration;

/// How much of each row is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Keys in the database of most rows.
    pub(crate) keys: u64,
    /// Gets.
    pub(crate) gets: u64,
    /// Scans.
    pub(crate) scans: u64,
    /// Puts and deletes, each a commit of its own.
    pub(crate) writes: u64,
    /// Operations of a YCSB mix.
    pub(crate) mixed: u64,
    /// How long a strict row is run.
    pub(crate) strict_time: Duration,
    /// Keys in the large database of the growth rows.
    pub(crate) large_keys: u64,
    /// Keys and values written before the process is killed, in bytes.
    pub(crate) reopen_bytes: u64,
}

/// Keys in the small database of the growth rows, and in that of the strict rows.
pub(crate) const SMALL_KEYS: u64 = 100_000;
/// Entries in one commit of a load.
pub(crate) const BATCH: usize = 1000;
/// Entries of a scan.
pub(crate) const SCAN: usize = 100;
/// Writers of `strict16`.
pub(crate) const WRITERS: u64 = 16;

impl Sizes {
    /// What RESULTS.md is measured with.
    pub(crate) const FULL: Sizes = Sizes {
        keys: 1_000_000,
        gets: 1_000_000,
        scans: 50_000,
        writes: 200_000,
        mixed: 500_000,
        strict_time: Duration::from_secs(3),
        large_keys: 10_000_000,
        reopen_bytes: 200_000_000,
    };

    /// Enough for a tendency within minutes.
    pub(crate) const QUICK: Sizes = Sizes {
        keys: 500_000,
        gets: 200_000,
        scans: 5_000,
        writes: 30_000,
        mixed: 50_000,
        strict_time: Duration::from_millis(500),
        large_keys: 1_000_000,
        reopen_bytes: 20_000_000,
    };
}

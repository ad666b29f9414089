//! What the device itself gives, measured beside the rows that wait for it.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::disk::{self, Case, Latencies, Layout};

/// Appenders of the case that `strict16` is held against.
const WRITERS: usize = 16;
/// What a put appends: key, value, and a little for the record around them.
const RECORD: usize = 128;

/// The best that each case has shown so far.
pub(super) struct Device {
    cases: Vec<(Case, Option<Latencies>)>,
}

impl Device {
    pub(super) fn new() -> Device {
        let cases = vec![
            Case::append(Layout::Growing, RECORD, 1),
            Case::append(Layout::Growing, 4096, 1),
            // The cases that the strict rows are held against.
            Case::append(Layout::Prewritten, RECORD, 1),
            Case::append(Layout::Prewritten, RECORD, WRITERS),
            Case::append(Layout::Prewritten, 4096, 1),
            Case::append(Layout::Prewritten, 4096, WRITERS),
            // Bandwidth.
            Case::append(Layout::Growing, 1 << 20, 1),
            Case::append(Layout::Prewritten, 1 << 20, 1),
        ];
        Device { cases: cases.into_iter().map(|case| (case, None)).collect() }
    }

    /// Measures every case for `time` in `dir`.
    ///
    /// # Errors
    ///
    /// What the file system refuses.
    pub(super) fn measure(&mut self, dir: &Path, time: Duration) -> Result<()> {
        std::fs::create_dir_all(dir)?;
        for (case, best) in &mut self.cases {
            let latencies = disk::measure(case, dir, time)?;
            if best.as_ref().is_none_or(|best| best.per_second() < latencies.per_second()) {
                *best = Some(latencies);
            }
        }
        Ok(())
    }

    /// What `row` would show without an engine: the median latency of one appender, or what sixteen
    /// reach together that sync each for itself, on a prewritten file. An engine that writes many
    /// commits at once passes the second. `None` for a row that does not sync.
    pub(super) fn figure(&self, row: &str) -> Option<f64> {
        let best = |threads| {
            let mut cases = self.cases.iter();
            let of = |case: &Case| (case.layout, case.threads, case.len);
            let wanted = (Layout::Prewritten, threads, RECORD);
            cases.find(|(case, _)| of(case) == wanted).and_then(|(_, best)| best.as_ref())
        };
        match row {
            "strict1-p50" => best(1).map(|best| best.percentile_us(50)),
            "strict16-rate" => best(WRITERS).map(Latencies::per_second),
            _ => None,
        }
    }

    /// Prints a line for each case that was measured.
    pub(super) fn report(&self, json: bool) {
        let measured: Vec<_> =
            self.cases.iter().filter_map(|(case, best)| Some((case, best.as_ref()?))).collect();
        if !json && !measured.is_empty() {
            println!();
            disk::print_header();
        }
        for (case, best) in measured {
            disk::report(case, best, json);
        }
    }
}

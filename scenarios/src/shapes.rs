//! The generator audit: which shapes of data a run has produced.
//!
//! A workload that never makes a key that another begins with, or a value as long as what still
//! fits a page, says nothing about them, however many seeds hold. So each declares the shapes that
//! it means to make, as places of the kind [`SiteKind::Shape`], and counts them in the history of
//! every run. A campaign that never met one fails.

mod commands;
mod engine;
mod node;

use std::collections::BTreeSet;

use orloj_kernel::Site;

use crate::Met;

pub(crate) use commands::of_commands;
pub(crate) use engine::of_engine;
pub(crate) use node::of_node;

/// How near a deadline an operation has to be, in milliseconds, to be just before or after it.
const NEAR_MS: u64 = 3;
/// More bytes of keys and values than a page of the tree holds.
const PAGE: usize = 4096;

/// Shapes of one run, as they are counted.
#[derive(Default)]
struct Shapes(Vec<Met>);

impl Shapes {
    /// So many times.
    fn add(&mut self, site: &'static Site, times: u64) {
        self.0.push(Met { site, passed: 1, hit: times, first: None });
    }
}

/// Declares a shape and counts it: how many of `items` satisfy `is`.
macro_rules! shape {
    ($shapes:expr, $name:literal, $times:expr) => {
        $shapes.add(orloj_kernel::site!(orloj_kernel::SiteKind::Shape, $name), $times as u64)
    };
}
use shape;

/// Results by their size: nothing, one, many.
#[derive(Default)]
struct Sizes([u64; 3]);

impl Sizes {
    fn add(&mut self, size: usize) {
        self.0[size.min(2)] += 1;
    }
}

/// Lengths of values around what is still kept in a page: one below, the last, one above.
#[derive(Default)]
struct Threshold([u64; 3]);

impl Threshold {
    fn add(&mut self, length: usize, inline: u64) {
        let near = (length as u64 + 1).checked_sub(inline).filter(|above| *above < 3);
        if let Some(above) = near {
            self.0[above as usize] += 1;
        }
    }
}

/// How many keys another begins with.
fn beginnings<K: AsRef<[u8]> + Ord>(keys: &BTreeSet<K>) -> usize {
    let pairs = keys.iter().zip(keys.iter().skip(1));
    pairs.filter(|(key, next)| next.as_ref().starts_with(key.as_ref())).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_compared_with_the_last_that_fits() {
        let mut threshold = Threshold::default();
        for length in [62, 63, 64, 64, 65, 66] {
            threshold.add(length, 64);
        }
        assert_eq!(threshold.0, [1, 2, 1]);
    }

    #[test]
    fn a_key_that_another_begins_with_stands_before_it() {
        let keys = |keys: &[&'static str]| keys.iter().copied().collect::<BTreeSet<&str>>();
        assert_eq!(beginnings(&keys(&["a", "ab", "b", "c"])), 1);
        assert_eq!(beginnings(&keys(&["a", "b"])), 0);
    }
}

//! Which properties and rare paths of the code a run has passed.

use orloj_kernel::{Site, SiteKind, sites};

use crate::{
    choice::{Choices, Stream},
    fault::{FaultClass, Faults},
};

/// Counts per place in the code.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    counts: Vec<Count>,
    /// Whether rare paths are taken at all in this run.
    pub(crate) buggify: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    passed: u64,
    hit: u64,
    /// Simulated nanoseconds at which the condition first held.
    first: u64,
    /// For `buggify!`: whether the place is active in this run, once that is drawn.
    active: Option<bool>,
}

/// Of the places that ask, how many are active in a run, and how often an active one fires.
const BUGGIFY_PPM: u32 = 250_000;

impl Coverage {
    fn count(&mut self, site: &'static Site) -> &mut Count {
        let number = site.number();
        if self.counts.len() <= number {
            self.counts.resize(sites().len(), Count::default());
        }
        &mut self.counts[number]
    }

    #[inline]
    pub(crate) fn observe(&mut self, site: &'static Site, hit: bool, now: u64) {
        let count = self.count(site);
        count.passed += 1;
        if hit {
            if count.hit == 0 {
                count.first = now;
            }
            count.hit += 1;
        }
    }

    pub(crate) fn buggify(
        &mut self,
        (site, now): (&'static Site, u64),
        choices: &mut Choices,
        faults: &mut Faults,
    ) -> bool {
        let on = self.buggify;
        let count = self.count(site);
        count.passed += 1;
        if !on {
            return false;
        }
        let active = *count
            .active
            .get_or_insert_with(|| choices.chance(Stream::Buggify, "site-active", BUGGIFY_PPM));
        let fires = active && choices.chance(Stream::Buggify, site.name, BUGGIFY_PPM);
        if fires {
            if count.hit == 0 {
                count.first = now;
            }
            count.hit += 1;
            faults.count(FaultClass::Buggify);
        }
        fires
    }

    /// Simulated nanoseconds at which the condition of a place first held.
    pub fn first(&self, site: &'static Site) -> Option<u64> {
        self.counts.get(site.number()).filter(|count| count.hit > 0).map(|count| count.first)
    }

    /// Each place of the given kinds, with how often it was passed and how often its condition
    /// held.
    pub fn places(
        &self,
        of: impl Fn(SiteKind) -> bool,
    ) -> impl Iterator<Item = (&'static Site, u64, u64)> {
        sites().iter().enumerate().filter(move |(_, s)| of(s.kind)).map(|(number, site)| {
            let count = self.counts.get(number).copied().unwrap_or_default();
            (*site, count.passed, count.hit)
        })
    }
}

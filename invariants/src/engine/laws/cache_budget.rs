//! Law: the cache keeps to its budget.
//!
//! It may hold more only by what those who read and write at the moment have pinned, and by what
//! was written since it was measured last; the history says how much that can be.
//!
//! Broken, a database of any size takes all memory there is.

use super::{Broken, Case, EngineLaw};

pub(super) const LAW: EngineLaw = EngineLaw {
    name: "engine-cache-budget",
    promise: "The cache holds no more than its budget and what is pinned.",
    check,
};

fn check(case: &Case<'_>) -> Result<(), Broken> {
    for cache in &case.history.caches {
        if cache.bytes > cache.allowed {
            let what = format!("it holds {} bytes of {} allowed", cache.bytes, cache.allowed);
            return Err(Broken::new(cache.at, what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::{CacheUse, testing::*};

    #[test]
    fn a_cache_that_grows_is_found() {
        let mut h = strict();
        for bytes in [9, 10] {
            h.history.caches.push(CacheUse { at: crate::Moment(1), bytes, allowed: 10 });
        }
        h.holds();
        h.history.caches.push(CacheUse { at: crate::Moment(1), bytes: 11, allowed: 10 });
        h.breaks("engine-cache-budget", "it holds 11 bytes of 10 allowed");
    }
}

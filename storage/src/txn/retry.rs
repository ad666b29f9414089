//! Trying again what lost to another, after a pause that no two share.

use std::time::Duration;

use orloj_kernel::Context;

use crate::Error;

/// How often and after which pauses a transaction is tried again.
///
/// The pause before attempt *n* is drawn evenly from zero to `first` doubled *n* - 1 times, at most
/// `most`: "full jitter", which spreads those that collided best (Brooker, *Exponential backoff and
/// jitter*, 2015). The draw is the context's, so a seed replays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all. 1 tries once; 0 counts as 1.
    pub attempts: u32,
    /// The longest pause before the second attempt.
    pub first: Duration,
    /// The longest of all pauses.
    pub most: Duration,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { attempts: 20, first: Duration::from_millis(1), most: Duration::from_millis(200) }
    }
}

impl Retry {
    /// Runs `body`, which is a whole transaction from its beginning to its commit, until it
    /// succeeds, fails for good, or has failed `attempts` times.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn run<T, F>(&self, cx: &Context, mut body: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut attempt = 1;
        loop {
            match body().await {
                Err(error) if attempt < self.attempts && lost(&error) => {
                    cx.sleep(self.pause(cx, attempt)).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    /// How long to wait after this many failed attempts.
    pub fn pause(&self, cx: &Context, failed: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failed.saturating_sub(1)).unwrap_or(u32::MAX);
        let longest = self.first.saturating_mul(doubled).min(self.most);
        let nanos = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(cx.below(nanos.saturating_add(1)))
    }
}

/// Whether it only lost to another, so that the same may succeed by itself. What an operator must
/// mend first, a full disk for example, is not worth waiting for.
fn lost(error: &Error) -> bool {
    matches!(
        error,
        Error::Conflict { .. }
            | Error::Deadlock { .. }
            | Error::LockTimeout { .. }
            | Error::RolledBack { .. }
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::KeyspaceId;

    fn conflict() -> Error {
        Error::Conflict { keyspace: KeyspaceId(16), key: b"k".to_vec() }
    }

    #[orloj_sim::test(seeds = 20)]
    async fn what_lost_is_tried_again_after_a_pause_within_its_bounds(cx: Context) {
        let retry = Retry { attempts: 6, ..Retry::default() };
        let longest = [1_u64, 2, 4, 8, 16];
        for (failed, millis) in (1..).zip(longest) {
            for _ in 0..50 {
                assert!(retry.pause(&cx, failed) <= Duration::from_millis(millis));
            }
        }
        assert!((0..50).all(|_| retry.pause(&cx, u32::MAX) <= retry.most));
        let (tries, start) = (AtomicU32::new(0), cx.now());
        let body = || {
            let tried = tries.fetch_add(1, Ordering::Relaxed) + 1;
            std::future::ready(if tried < 6 { Err(conflict()) } else { Ok(tried) })
        };
        assert_eq!(retry.run(&cx, body).await, Ok(6));
        assert!(cx.now().since(start) <= Duration::from_millis(longest.iter().sum()));
    }

    #[orloj_sim::test(seeds = 5)]
    async fn it_gives_up_in_the_end_and_at_once_when_no_retry_helps(cx: Context) {
        let retry = Retry { attempts: 3, ..Retry::default() };
        for (error, expected) in [(conflict(), 3), (Error::Closed, 1)] {
            let tries = AtomicU32::new(0);
            let body = || {
                tries.fetch_add(1, Ordering::Relaxed);
                std::future::ready(Err::<(), Error>(error.clone()))
            };
            assert_eq!(retry.run(&cx, body).await, Err(error.clone()));
            assert_eq!(tries.into_inner(), expected, "{error}");
        }
    }
}

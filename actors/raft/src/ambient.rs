//! openraft's runtime over whichever of ours polls the current task.
//!
//! Channels are written here because replay depends on whom they wake: tokio's `watch` chooses its
//! waiters by chance.

use std::{
    convert::Infallible,
    future::Future,
    ops::{Add, AddAssign, Sub, SubAssign},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use openraft_rt::{AsyncRuntime, OptionalSend};
use orloj_kernel::{Elapsed, Instant, JoinError, JoinHandle, Sleep, ambient};

use super::{Channel, Once, Watched};

/// The runtime to give to openraft. It is only a name: everything goes through the context that is
/// ambient at the call, and outside of any task of ours every function panics.
#[derive(Debug)]
pub struct Ambient(());

/// A point on the monotonic clock of the ambient host, in nanoseconds.
///
/// It counts from long before the host's own origin, because openraft subtracts whole timeouts from
/// the present, which right after a start would otherwise stop at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

/// Thirteen days, in nanoseconds.
const BEFORE_ORIGIN: u64 = 1 << 50;

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

impl Tick {
    /// The same point as the kernel tells it; the origin if it is before that.
    fn instant(self) -> Instant {
        Instant(self.0.saturating_sub(BEFORE_ORIGIN))
    }
}

impl openraft_rt::Instant for Tick {
    fn now() -> Tick {
        Tick(ambient().now().0.saturating_add(BEFORE_ORIGIN))
    }
}

impl Add<Duration> for Tick {
    type Output = Tick;
    fn add(self, d: Duration) -> Tick {
        Tick(self.0.saturating_add(nanos(d)))
    }
}

impl AddAssign<Duration> for Tick {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Tick {
    type Output = Tick;
    fn sub(self, d: Duration) -> Tick {
        Tick(self.0.saturating_sub(nanos(d)))
    }
}

impl SubAssign<Duration> for Tick {
    fn sub_assign(&mut self, d: Duration) {
        *self = *self - d;
    }
}

impl Sub for Tick {
    type Output = Duration;
    /// Zero if `earlier` is later.
    fn sub(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A future and the time it may take. The future is polled first.
#[derive(Debug)]
pub struct Limited<F> {
    future: Pin<Box<F>>,
    limit: Sleep,
}

impl<F: Future> Future for Limited<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut self.limit).poll(cx).map(|()| Err(Elapsed))
    }
}

/// Random numbers of the ambient host.
#[derive(Clone, Copy, Debug)]
pub struct Random;

impl rand_core::TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((ambient().entropy() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(ambient().entropy())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let word = ambient().entropy().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

/// An async mutex that wakes its waiters one by one.
#[derive(Debug)]
pub struct Mutex<T>(futures_util::lock::Mutex<T>);

impl<T: OptionalSend + 'static> openraft_rt::Mutex<T> for Mutex<T> {
    type Guard<'a> = futures_util::lock::MutexGuard<'a, T>;

    fn new(value: T) -> Mutex<T> {
        Mutex(futures_util::lock::Mutex::new(value))
    }

    async fn lock(&self) -> Self::Guard<'_> {
        self.0.lock().await
    }
}

impl AsyncRuntime for Ambient {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Tick;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Limited<T>;
    type ThreadLocalRng = Random;
    type Mpsc = Channel;
    type Watch = Watched;
    type Oneshot = Once;
    type Mutex<T: OptionalSend + 'static> = Mutex<T>;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        ambient().spawn("raft", future)
    }

    fn sleep(duration: Duration) -> Sleep {
        ambient().sleep(duration)
    }

    fn sleep_until(deadline: Tick) -> Sleep {
        ambient().sleep_until(deadline.instant())
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(limit: Duration, future: F) -> Limited<F> {
        Limited { future: Box::pin(future), limit: Self::sleep(limit) }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(limit: Tick, future: F) -> Limited<F> {
        Limited { future: Box::pin(future), limit: Self::sleep_until(limit) }
    }

    /// Never: a panic ends the node or the simulation, and nobody is left to ask.
    fn is_panic(_: &JoinError) -> bool {
        false
    }

    fn thread_rng() -> Random {
        Random
    }

    /// The number of threads is the business of whoever made the ambient context.
    fn new(_: usize) -> Ambient {
        Ambient(())
    }

    fn block_on<F: Future<Output = T>, T>(&mut self, future: F) -> T {
        ambient().block_on(future)
    }

    /// On the spot: openraft's core never calls it, and a thread of its own would escape the world.
    async fn spawn_blocking<F, T>(work: F) -> std::io::Result<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Ok(work())
    }
}

//! Points in time and waiting for them.

use std::{
    fmt,
    future::Future,
    ops::{Add, AddAssign, Sub},
    pin::Pin,
    task::{self, Poll},
    time::Duration,
};

use crate::{Context, Timer};

/// Nanoseconds on a host's monotonic clock. Meaningless on another host and after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The time from `earlier` to here; zero if `earlier` is later.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    /// Saturates after 584 years.
    fn add(self, d: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    /// Saturates at the clock's origin.
    fn sub(self, d: Duration) -> Instant {
        Instant(self.0.saturating_sub(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

/// Microseconds since 1970-01-01 UTC, as a host's wall clock has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub u64);

impl WallTime {
    /// Whole milliseconds since 1970.
    pub fn millis(self) -> u64 {
        self.0 / 1_000
    }
}

impl Add<Duration> for WallTime {
    type Output = WallTime;
    fn add(self, d: Duration) -> WallTime {
        WallTime(self.0.saturating_add(u64::try_from(d.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Ready at a deadline of its host's clock. Dropping it forgets the wait.
pub struct Sleep {
    context: Context,
    deadline: Instant,
    timer: Timer,
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Sleep {
    pub(crate) fn new(context: Context, deadline: Instant) -> Sleep {
        Sleep { context, deadline, timer: Timer::Unset }
    }

    /// When it is ready.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits for another deadline instead.
    pub fn reset(&mut self, deadline: Instant) {
        self.forget();
        self.deadline = deadline;
    }

    fn forget(&mut self) {
        if let Timer::Index(index) = std::mem::take(&mut self.timer) {
            self.context.runtime.drop_timer(index);
        }
    }
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let me = self.get_mut();
        let poll = me.context.runtime.poll_timer(me.context.host, me.deadline, &mut me.timer, cx);
        if poll.is_ready() {
            me.forget();
        }
        poll
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}

/// A limit passed before the future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("deadline has elapsed")]
pub struct Elapsed;

/// The future is polled first, so one that is ready at its deadline is in time.
pub(crate) async fn timeout<F: Future>(sleep: Sleep, future: F) -> Result<F::Output, Elapsed> {
    let mut sleep = sleep;
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(out) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(out));
        }
        Pin::new(&mut sleep).poll(cx).map(|()| Err(Elapsed))
    })
    .await
}

/// Repeats a period.
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
}

impl Interval {
    pub(crate) fn new(context: Context, period: Duration) -> Interval {
        assert!(!period.is_zero(), "an interval of no length would never let time pass");
        Interval { sleep: context.sleep(period), period }
    }

    /// Waits for the next tick and returns its time. Ticks missed meanwhile are skipped.
    pub async fn tick(&mut self) -> Instant {
        (&mut self.sleep).await;
        let now = self.sleep.context.now();
        let next = self.sleep.deadline + self.period;
        self.sleep.reset(if next > now { next } else { now + self.period });
        now
    }
}

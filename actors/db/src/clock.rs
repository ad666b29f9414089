//! The time a node lives by.

use orloj_kernel::{Context, Instant};
use orloj_net::UnixMs;

/// Wall-clock time as it was at the start, moved on by the monotonic clock. It never goes back and
/// never jumps, so a correction of the machine's clock shortens and prolongs no deadline while the
/// node runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeClock {
    wall_base: u64,
    mono_base: Instant,
    last: UnixMs,
}

impl NodeClock {
    /// A clock that shows the wall clock's time, or `earliest` if that is later.
    pub(crate) fn start(cx: &Context, earliest: UnixMs) -> NodeClock {
        let wall_base = cx.wall().0.max(earliest.0.saturating_mul(1_000));
        NodeClock { wall_base, mono_base: cx.now(), last: earliest }
    }

    /// The time now.
    pub(crate) fn now(&mut self, cx: &Context) -> UnixMs {
        let passed = (cx.now() - self.mono_base).as_micros();
        let micros = self.wall_base.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX));
        self.last = self.last.max(UnixMs(micros / 1_000));
        self.last
    }
}

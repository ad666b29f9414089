//! Runs of which each has a thread of its own, and one who watches them.
//!
//! A run that never comes back cannot be ended, only left behind: its thread goes on until the
//! process ends, and another takes its place.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "seeds are run side by side, and given up when they take too long"
)]

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

/// Stack of a thread that runs a seed: unoptimised builds need several megabytes at their worst.
const STACK: usize = 16 << 20;
/// No turn of the watch counts for longer: while this process is held still nobody is late.
const TURN: Duration = Duration::from_millis(250);

/// What came of one piece of work.
pub(super) enum Done<T> {
    /// It ended, with so much of the processor.
    Ended(u64, Result<T, String>, Duration),
    /// It was left behind.
    Late(u64),
}

/// Work under way.
pub(super) struct Crew<T> {
    send: Sender<(u64, Result<T, String>, Duration)>,
    ended: Receiver<(u64, Result<T, String>, Duration)>,
    /// By number: how long it has been under way.
    under_way: BTreeMap<u64, Duration>,
    longest: Duration,
    last: Instant,
    left_behind: usize,
}

impl<T: Send + 'static> Crew<T> {
    /// Nobody yet. Whoever takes longer than `longest` is left behind.
    pub(super) fn new(longest: Duration) -> Crew<T> {
        let (send, ended) = channel();
        let (under_way, last) = (BTreeMap::new(), Instant::now());
        Crew { send, ended, under_way, longest, last, left_behind: 0 }
    }

    /// How many are under way.
    pub(super) fn len(&self) -> u64 {
        self.under_way.len() as u64
    }

    /// How many were left behind and may still use a core.
    pub(super) fn left_behind(&self) -> usize {
        self.left_behind
    }

    /// Begins `work` under the number `id`.
    pub(super) fn begin(
        &mut self,
        id: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(), String> {
        let send = self.send.clone();
        let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
            let begun = Instant::now();
            let on_core = processor_time();
            let result = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                format!("the simulator itself panicked: {}", text.unwrap_or("no message"))
            });
            let used = processor_time().zip(on_core).map(|(after, before)| after - before);
            // Nobody waits for whoever was left behind.
            let _ = send.send((id, result, used.unwrap_or(begun.elapsed())));
        });
        thread.map_err(|error| format!("no thread could be started: {error}"))?;
        self.under_way.insert(id, Duration::ZERO);
        Ok(())
    }

    /// The next that ended or is late. `None` if nothing happens for a while.
    pub(super) fn next(&mut self) -> Option<Done<T>> {
        let ended = self.ended.recv_timeout(Duration::from_millis(100)).ok();
        let turn = self.last.elapsed().min(TURN);
        self.last = Instant::now();
        self.under_way.values_mut().for_each(|time| *time += turn);
        if let Some((id, result, used)) = ended
            && self.under_way.remove(&id).is_some()
        {
            return Some(Done::Ended(id, result, used));
        }
        let late = self.under_way.iter().find(|(_, time)| **time > self.longest)?;
        let id = *late.0;
        self.under_way.remove(&id);
        self.left_behind += 1;
        Some(Done::Late(id))
    }
}

/// Time that this thread has had of a core.
fn processor_time() -> Option<Duration> {
    // The kernel brings the account of a running thread up to date when it gives way.
    thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait<T: Send + 'static>(crew: &mut Crew<T>) -> Done<T> {
        loop {
            if let Some(done) = crew.next() {
                return done;
            }
        }
    }

    #[test]
    fn whoever_takes_too_long_is_left_behind_and_the_others_go_on() {
        let mut crew = Crew::new(Duration::from_millis(300));
        let (never, waits) = channel::<()>();
        crew.begin(1, move || waits.recv().map_or(1, |()| 2)).unwrap();
        assert!(matches!(wait(&mut crew), Done::Late(1)));
        assert_eq!((crew.len(), crew.left_behind()), (0, 1));
        // It ends after all, and nobody hears of it.
        drop(never);
        crew.begin(2, || 7).unwrap();
        assert!(matches!(wait(&mut crew), Done::Ended(2, Ok(7), _)));
    }

    #[test]
    fn a_panic_is_told_and_time_is_counted() {
        let mut crew: Crew<u64> = Crew::new(Duration::from_secs(60));
        crew.begin(1, || panic!("with {}", "words")).unwrap();
        let Done::Ended(1, Err(why), _) = wait(&mut crew) else { panic!("it ended otherwise") };
        assert!(why.ends_with("with words"), "{why}");
        crew.begin(2, || (0..20_000_000_u64).fold(0, |a, b| std::hint::black_box(a ^ b))).unwrap();
        let Done::Ended(2, Ok(_), used) = wait(&mut crew) else { panic!("it ended otherwise") };
        assert!(used > Duration::from_micros(100), "{used:?}");
    }
}

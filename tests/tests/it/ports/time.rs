//! Clocks, sleeps, intervals and limits.

use std::{
    future::{pending, poll_fn, ready},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{self, Poll, Wake, Waker},
    time::Duration,
};

use orloj_kernel::{Context, Elapsed, Instant};

use super::world::Flag;

conformance! {
    one: [
        now_never_goes_back,
        wall_time_is_of_this_age_and_goes_on,
        a_sleep_ends_at_its_deadline_or_later,
        a_sleep_without_length_is_over_at_once,
        a_sleep_until_the_past_is_over_at_once,
        sleeps_end_in_the_order_of_their_deadlines,
        a_dropped_sleep_wakes_nobody,
        a_sleep_put_off_ends_later,
        a_sleep_brought_forward_ends_earlier,
        a_sleep_that_is_over_can_be_used_again,
        a_sleep_wakes_whoever_polled_it_last,
        a_sleep_of_all_eternity_can_be_dropped,
        ten_thousand_sleeps_at_once,
        an_interval_ticks_after_one_period_and_skips_what_it_missed,
        an_interval_survives_a_dropped_tick,
        a_future_in_time_gives_its_output,
        a_late_future_is_dropped,
        a_limit_of_nothing_lets_a_ready_future_through,
        limits_nest,
    ],
    two: [],
}

async fn now_never_goes_back(cx: Context) {
    let mut last = cx.now();
    for _ in 0..1_000 {
        cx.yield_now().await;
        let now = cx.now();
        assert!(now >= last, "{last:?}, then {now:?}");
        last = now;
    }
}

async fn wall_time_is_of_this_age_and_goes_on(cx: Context) {
    let before = cx.wall();
    assert!(before.millis() > 1_700_000_000_000, "{before:?} is before 2023");
    cx.sleep(Duration::from_millis(20)).await;
    let after = cx.wall();
    assert!(after.0 - before.0 >= 19_000, "{before:?}, and 20 ms later {after:?}");
}

async fn a_sleep_ends_at_its_deadline_or_later(cx: Context) {
    for nanos in [1, 999, 1_000_000, 1_000_001, 7_654_321, 20_000_000] {
        let deadline = cx.now() + Duration::from_nanos(nanos);
        let sleep = cx.sleep_until(deadline);
        assert_eq!(sleep.deadline(), deadline);
        sleep.await;
        let late = cx.now() - deadline;
        assert!(cx.now() >= deadline);
        assert!(late < Duration::from_secs(20), "late by {late:?}");
    }
}

async fn a_sleep_without_length_is_over_at_once(cx: Context) {
    let mut sleep = cx.sleep(Duration::ZERO);
    let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut sleep).poll(cx))).await;
    assert!(first.is_ready());
}

async fn a_sleep_until_the_past_is_over_at_once(cx: Context) {
    cx.sleep(Duration::from_millis(2)).await;
    let mut sleep = cx.sleep_until(Instant(1));
    let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut sleep).poll(cx))).await;
    assert!(first.is_ready());
}

async fn sleeps_end_in_the_order_of_their_deadlines(cx: Context) {
    let order = Arc::new(Mutex::new(Vec::new()));
    let begun = cx.now();
    let tasks: Vec<_> = [3_u32, 1, 4, 2, 0]
        .into_iter()
        .map(|n| {
            let order = order.clone();
            cx.spawn("sleeper", async move {
                cx.sleep_until(begun + n * Duration::from_millis(150)).await;
                order.lock().unwrap().push(n);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
}

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Woken {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

async fn a_dropped_sleep_wakes_nobody(cx: Context) {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut kept = cx.sleep(Duration::from_millis(10));
    let mut dropped = cx.sleep(Duration::from_millis(10));
    assert!(Pin::new(&mut kept).poll(&mut task::Context::from_waker(&waker)).is_pending());
    assert!(Pin::new(&mut dropped).poll(&mut task::Context::from_waker(&waker)).is_pending());
    drop(dropped);
    cx.sleep(Duration::from_millis(60)).await;
    assert_eq!(woken.count(), 1, "one sleep was kept");
}

async fn a_sleep_put_off_ends_later(cx: Context) {
    let mut sleep = cx.sleep(Duration::from_secs(3_000));
    assert!(cx.timeout(Duration::from_millis(1), &mut sleep).await.is_err());
    let deadline = cx.now() + Duration::from_millis(40);
    sleep.reset(deadline);
    sleep.await;
    assert!(cx.now() >= deadline);
}

async fn a_sleep_brought_forward_ends_earlier(cx: Context) {
    let begun = cx.now();
    let mut sleep = cx.sleep(Duration::from_secs(3_000));
    let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut sleep).poll(cx))).await;
    assert!(first.is_pending());
    sleep.reset(begun + Duration::from_millis(10));
    sleep.await;
    assert!(cx.now() - begun < Duration::from_secs(50));
}

async fn a_sleep_that_is_over_can_be_used_again(cx: Context) {
    let mut sleep = cx.sleep(Duration::from_millis(2));
    for _ in 0..3 {
        (&mut sleep).await;
        (&mut sleep).await;
        let deadline = cx.now() + Duration::from_millis(2);
        sleep.reset(deadline);
        (&mut sleep).await;
        assert!(cx.now() >= deadline);
    }
}

async fn a_sleep_wakes_whoever_polled_it_last(cx: Context) {
    let first = Arc::new(Woken::default());
    let waker = Waker::from(first.clone());
    let mut sleep = cx.sleep(Duration::from_millis(20));
    assert!(Pin::new(&mut sleep).poll(&mut task::Context::from_waker(&waker)).is_pending());
    // It moves into a task, which would hang if the wake-up went to the first.
    let in_time = cx.spawn("second", async move {
        let in_time = poll_fn(|cx| Poll::Ready(Pin::new(&mut sleep).poll(cx))).await.is_pending();
        sleep.await;
        in_time
    });
    // On a busy machine the task may have come too late to take the wake-up over.
    if in_time.await.unwrap() {
        assert_eq!(first.count(), 0);
    }
}

async fn a_sleep_of_all_eternity_can_be_dropped(cx: Context) {
    let limit = cx.timeout(Duration::from_millis(5), cx.sleep(Duration::MAX)).await;
    assert_eq!(limit, Err(Elapsed));
}

async fn ten_thousand_sleeps_at_once(cx: Context) {
    let begun = cx.now();
    let tasks: Vec<_> = (0..10_000_u64)
        .map(|n| {
            cx.spawn("sleeper", async move {
                let deadline = begun + Duration::from_micros(n * 7_919 % 50_000);
                cx.sleep_until(deadline).await;
                cx.now() >= deadline
            })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
}

async fn an_interval_ticks_after_one_period_and_skips_what_it_missed(cx: Context) {
    let period = Duration::from_millis(20);
    let begun = cx.now();
    let mut interval = cx.interval(period);
    let first = interval.tick().await;
    assert!(first - begun >= period);
    let second = interval.tick().await;
    assert!(second - begun >= 2 * period);
    cx.sleep(period * 5).await;
    let late = interval.tick().await;
    let next = interval.tick().await;
    assert!(next - late >= period / 2, "{late:?} and {next:?} are a burst");
}

async fn an_interval_survives_a_dropped_tick(cx: Context) {
    let begun = cx.now();
    let mut interval = cx.interval(Duration::from_millis(50));
    assert!(cx.timeout(Duration::from_millis(1), interval.tick()).await.is_err());
    let tick = interval.tick().await;
    assert!(tick - begun >= Duration::from_millis(50));
}

async fn a_future_in_time_gives_its_output(cx: Context) {
    let output = cx.timeout(Duration::from_secs(50), async {
        cx.sleep(Duration::from_millis(1)).await;
        7
    });
    assert_eq!(output.await, Ok(7));
}

async fn a_late_future_is_dropped(cx: Context) {
    let dropped = Flag::default();
    let guard = dropped.on_drop();
    let begun = cx.now();
    let late = cx
        .timeout(Duration::from_millis(10), async move {
            let _guard = guard;
            pending::<()>().await;
        })
        .await;
    assert_eq!(late, Err(Elapsed));
    assert!(cx.now() - begun >= Duration::from_millis(10));
    assert!(dropped.is_up());
}

async fn a_limit_of_nothing_lets_a_ready_future_through(cx: Context) {
    assert_eq!(cx.timeout(Duration::ZERO, ready(7)).await, Ok(7));
    assert_eq!(cx.timeout(Duration::ZERO, pending::<()>()).await, Err(Elapsed));
}

async fn limits_nest(cx: Context) {
    let outer = pin!(
        cx.timeout(Duration::from_secs(50), cx.timeout(Duration::from_millis(5), pending::<()>()))
    );
    assert_eq!(outer.await, Ok(Err(Elapsed)));
    let outer = pin!(
        cx.timeout(Duration::from_millis(5), cx.timeout(Duration::from_secs(50), pending::<()>()))
    );
    assert_eq!(outer.await, Err(Elapsed));
}

//! Tasks: their results, their ends, their wakers, and the context that is ambient in them.

use std::{
    future::{pending, poll_fn},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use orloj_host::{Host, Options};
use orloj_kernel::{
    Context, HostKey, JoinError, JoinHandle, Reply, ambient, try_ambient, with_ambient,
};
use orloj_sim::{Config, Simulation};

use super::world::{Flag, until};

conformance! {
    one: [
        a_task_gives_its_result,
        tasks_start_tasks,
        a_task_runs_on_without_its_handle,
        an_aborted_task_is_dropped_and_gives_no_result,
        a_task_aborted_before_its_first_turn_never_runs,
        aborting_what_has_ended_changes_nothing,
        a_late_abort_reaches_no_other_task,
        a_task_may_abort_itself,
        a_ring_of_aborts_ends,
        yielding_lets_others_run,
        a_task_wakes_another,
        waking_too_often_does_no_harm,
        a_waker_may_outlive_its_task,
        a_wake_during_the_poll_is_not_lost,
        its_context_is_ambient_in_a_task_and_in_its_destructors,
        an_ambient_context_is_restored,
    ],
    two: [each_task_has_the_context_of_its_host],
}

async fn a_task_gives_its_result(cx: Context) {
    let tasks: Vec<_> = (0..1_000_u64).map(|n| cx.spawn("n", async move { n * n })).collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.unwrap();
    }
    assert_eq!(sum, (0..1_000).map(|n| n * n).sum::<u64>());
}

async fn tasks_start_tasks(cx: Context) {
    fn down(cx: Context, depth: u64) -> JoinHandle<u64> {
        cx.spawn("down", async move {
            if depth == 0 {
                return 1;
            }
            down(cx, depth - 1).await.unwrap() + down(cx, depth - 1).await.unwrap()
        })
    }
    assert_eq!(down(cx, 8).await.unwrap(), 256);
}

async fn a_task_runs_on_without_its_handle(cx: Context) {
    let ran = Flag::default();
    let raise = ran.clone();
    drop(cx.spawn("detached", async move {
        cx.sleep(Duration::from_millis(1)).await;
        raise.raise();
    }));
    until(cx, || ran.is_up()).await;
}

async fn an_aborted_task_is_dropped_and_gives_no_result(cx: Context) {
    let dropped = Flag::default();
    let begun = Flag::default();
    let (guard, raise) = (dropped.on_drop(), begun.clone());
    let task = cx.spawn("waits", async move {
        let _guard = guard;
        raise.raise();
        pending::<u8>().await
    });
    until(cx, || begun.is_up()).await;
    assert!(!dropped.is_up());
    task.abort();
    task.abort();
    assert_eq!(task.await, Err(JoinError));
    assert!(dropped.is_up());
}

async fn a_task_aborted_before_its_first_turn_never_runs(cx: Context) {
    for _ in 0..100 {
        let (ran, dropped) = (Flag::default(), Flag::default());
        let (raise, guard) = (ran.clone(), dropped.on_drop());
        let task = cx.spawn("late", async move {
            let _guard = guard;
            cx.yield_now().await;
            cx.sleep(Duration::from_secs(3_000)).await;
            raise.raise();
        });
        task.abort();
        assert_eq!(task.await, Err(JoinError));
        assert!(dropped.is_up() && !ran.is_up());
    }
}

async fn aborting_what_has_ended_changes_nothing(cx: Context) {
    let ended = Flag::default();
    let raise = ended.clone();
    let task = cx.spawn("quick", async move {
        raise.raise();
        7
    });
    until(cx, || ended.is_up()).await;
    cx.sleep(Duration::from_millis(2)).await;
    task.abort();
    assert_eq!(task.await, Ok(7));
}

async fn a_late_abort_reaches_no_other_task(cx: Context) {
    let ended = Flag::default();
    let raise = ended.clone();
    let old: Vec<_> = (0..32).map(|_| cx.spawn("old", async {})).collect();
    let last = cx.spawn("last", async move { raise.raise() });
    last.await.unwrap();
    cx.sleep(Duration::from_millis(2)).await;
    let young: Vec<_> = (0..32)
        .map(|n| {
            cx.spawn("young", async move {
                cx.sleep(Duration::from_millis(5)).await;
                n
            })
        })
        .collect();
    old.iter().for_each(JoinHandle::abort);
    for (n, task) in young.into_iter().enumerate() {
        assert_eq!(task.await, Ok(n));
    }
}

async fn a_task_may_abort_itself(cx: Context) {
    let dropped = Flag::default();
    let own: Arc<Mutex<Option<JoinHandle<()>>>> = Arc::default();
    let (guard, handle) = (dropped.on_drop(), own.clone());
    let task = cx.spawn("suicide", async move {
        let _guard = guard;
        until(cx, || handle.lock().unwrap().is_some()).await;
        if let Some(own) = &*handle.lock().unwrap() {
            own.abort();
        }
        pending::<()>().await;
    });
    *own.lock().unwrap() = Some(task);
    until(cx, || dropped.is_up()).await;
    let task = own.lock().unwrap().take();
    assert_eq!(task.expect("put in above").await, Err(JoinError));
}

/// A task whose destructor aborts another, whose destructor aborts another.
async fn a_ring_of_aborts_ends(cx: Context) {
    struct Aborts(Option<JoinHandle<()>>, Flag);
    impl Drop for Aborts {
        fn drop(&mut self) {
            self.1.raise();
            if let Some(task) = &self.0 {
                task.abort();
            }
        }
    }
    let flags: Vec<Flag> = (0..8).map(|_| Flag::default()).collect();
    let mut next = None;
    for flag in &flags {
        let held = Aborts(next.take(), flag.clone());
        next = Some(cx.spawn("link", async move {
            let _held = held;
            pending::<()>().await;
        }));
    }
    let first = next.expect("eight were started");
    cx.sleep(Duration::from_millis(2)).await;
    first.abort();
    until(cx, || flags.iter().all(Flag::is_up)).await;
}

async fn yielding_lets_others_run(cx: Context) {
    let flag = Flag::default();
    let raise = flag.clone();
    cx.spawn("other", async move { raise.raise() });
    while !flag.is_up() {
        cx.yield_now().await;
    }
}

async fn a_task_wakes_another(cx: Context) {
    let (ping, pinged) = Reply::new();
    let (pong, ponged) = Reply::new();
    cx.spawn("echo", async move {
        let n: u64 = pinged.await.unwrap();
        pong.send(n + 1);
    });
    cx.sleep(Duration::from_millis(1)).await;
    ping.send(1);
    assert_eq!(ponged.await, Ok(2));
}

async fn waking_too_often_does_no_harm(cx: Context) {
    let polls = Arc::new(AtomicU64::new(0));
    let counter = polls.clone();
    let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
    let slot = waker.clone();
    let task = cx.spawn("woken", async move {
        poll_fn(|task| {
            *slot.lock().unwrap() = Some(task.waker().clone());
            match counter.fetch_add(1, Ordering::SeqCst) {
                0 | 1 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        })
        .await;
    });
    until(cx, || polls.load(Ordering::SeqCst) > 0).await;
    while polls.load(Ordering::SeqCst) < 3 {
        let waker = waker.lock().unwrap().clone().expect("set by the first poll");
        for _ in 0..100 {
            waker.wake_by_ref();
        }
        waker.wake();
        cx.yield_now().await;
    }
    task.await.unwrap();
}

async fn a_waker_may_outlive_its_task(cx: Context) {
    let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
    let keep = slot.clone();
    let kept = poll_fn(move |task| {
        *keep.lock().unwrap() = Some(task.waker().clone());
        Poll::Ready(())
    });
    cx.spawn("short", kept).await.unwrap();
    // Its place may have a new tenant by now, which must not mind.
    let tenant = cx.spawn("tenant", async move { cx.sleep(Duration::from_millis(3)).await });
    let waker = slot.lock().unwrap().take().expect("set by the task");
    waker.wake_by_ref();
    waker.wake();
    tenant.await.unwrap();
}

async fn a_wake_during_the_poll_is_not_lost(cx: Context) {
    let task = cx.spawn("restless", async {
        let mut polls = 0;
        poll_fn(move |task| {
            polls += 1;
            if polls == 1_000 {
                return Poll::Ready(());
            }
            task.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    });
    task.await.unwrap();
}

async fn its_context_is_ambient_in_a_task_and_in_its_destructors(cx: Context) {
    struct Witness(Arc<Mutex<Vec<Option<HostKey>>>>);
    impl Drop for Witness {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(try_ambient().map(|cx| cx.host_key()));
        }
    }
    assert_eq!(ambient().host_key(), cx.host_key());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let witness = Witness(seen.clone());
    let task = cx.spawn("ends", async move {
        let _witness = witness;
        cx.sleep(Duration::from_millis(1)).await;
        ambient().host_key()
    });
    assert_eq!(task.await, Ok(cx.host_key()));
    until(cx, || !seen.lock().unwrap().is_empty()).await;
    assert_eq!(*seen.lock().unwrap(), [Some(cx.host_key())]);
}

async fn an_ambient_context_is_restored(cx: Context) {
    let other = cx.spawn("other", async { 1 });
    with_ambient(cx, || assert_eq!(ambient().host_key(), cx.host_key()));
    assert_eq!(ambient().host_key(), cx.host_key());
    other.await.unwrap();
    assert_eq!(ambient().host_key(), cx.host_key());
}

async fn each_task_has_the_context_of_its_host(here: Context, there: Context) {
    assert_ne!(here.host_key(), there.host_key());
    let task = there.spawn("there", async move {
        there.yield_now().await;
        let nested = ambient().spawn("nested", async { ambient().host_key() });
        (ambient().host_key(), nested.await.unwrap())
    });
    assert_eq!(task.await, Ok((there.host_key(), there.host_key())));
    assert_eq!(ambient().host_key(), here.host_key());
    let woken = with_ambient(there, || ambient().host_key());
    assert_eq!(woken, there.host_key());
}

/// `block_on` is called from outside, so each world has its own test of it.
fn blocks_on_what_it_is_given(cx: Context) {
    let mut borrowed = 0;
    let output = cx.block_on(async {
        assert_eq!(ambient().host_key(), cx.host_key());
        cx.sleep(Duration::from_millis(1)).await;
        borrowed += cx.spawn("task", async { 7 }).await.unwrap();
        borrowed
    });
    assert_eq!((output, borrowed), (7, 7));
    assert_eq!(cx.block_on(async { 1 }), 1);
}

#[test]
fn a_machine_blocks_on_a_future() {
    let host = Host::new(Options::new("unused")).unwrap();
    blocks_on_what_it_is_given(host.context());
    assert!(try_ambient().is_none());
}

#[test]
fn a_simulation_blocks_on_a_future() {
    let mut sim = Simulation::new(Config::seed(7));
    let cx = sim.idle_host("here");
    sim.control(|_| blocks_on_what_it_is_given(cx));
    assert!(try_ambient().is_none());
}

/// On a machine that survives panics the rest goes on; a simulation ends with it as its verdict.
#[test]
fn a_panic_is_an_end_without_a_result() {
    let cx = Host::new(Options::new("unused")).unwrap().context();
    cx.block_on(async {
        let task = cx.spawn("panics", async { panic!("on purpose") });
        assert_eq!(task.await, Err::<(), _>(JoinError));
        assert_eq!(cx.spawn("lives", async { 7 }).await, Ok(7));
    });
}

/// A disk thread, a signal or a foreign library may wake a task of a machine.
#[test]
fn a_foreign_thread_wakes_a_task() {
    let cx = Host::new(Options::new("unused")).unwrap().context();
    cx.block_on(async {
        for _ in 0..100 {
            let (reply, answer) = Reply::new();
            let thread = std::thread::spawn(move || reply.send(7));
            assert_eq!(answer.await, Ok(7));
            thread.join().unwrap();
        }
    });
}

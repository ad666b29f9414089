//! The switch by which many tasks learn that it is time to finish.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use orloj_kernel::{Context, Shutdown};

conformance! {
    one: [
        the_switch_wakes_all_who_wait,
        whoever_comes_late_does_not_wait,
        turning_it_twice_is_turning_it_once,
        a_dropped_wait_is_forgotten,
    ],
    two: [the_switch_reaches_other_hosts],
}

async fn the_switch_wakes_all_who_wait(cx: Context) {
    let shutdown = Shutdown::new();
    let awake = Arc::new(Mutex::new(0));
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (shutdown, awake) = (shutdown.clone(), awake.clone());
            cx.spawn("waits", async move {
                shutdown.wait().await;
                *awake.lock().unwrap() += 1;
            })
        })
        .collect();
    cx.sleep(Duration::from_millis(10)).await;
    assert_eq!(*awake.lock().unwrap(), 0);
    assert!(!shutdown.has_begun());
    shutdown.begin();
    assert!(shutdown.has_begun());
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*awake.lock().unwrap(), 100);
}

async fn whoever_comes_late_does_not_wait(_: Context) {
    let shutdown = Shutdown::new();
    shutdown.begin();
    shutdown.wait().await;
    shutdown.clone().wait().await;
}

async fn turning_it_twice_is_turning_it_once(cx: Context) {
    let shutdown = Shutdown::new();
    let waiting = cx.spawn("waits", {
        let shutdown = shutdown.clone();
        async move { shutdown.wait().await }
    });
    shutdown.begin();
    shutdown.begin();
    waiting.await.unwrap();
}

async fn a_dropped_wait_is_forgotten(cx: Context) {
    let shutdown = Shutdown::new();
    assert!(cx.timeout(Duration::from_millis(2), shutdown.wait()).await.is_err());
    let debug = format!("{shutdown:?}");
    assert!(debug.contains("waiting: {}"), "{debug}");
    shutdown.begin();
}

async fn the_switch_reaches_other_hosts(_: Context, there: Context) {
    let shutdown = Shutdown::new();
    let waiting = there.spawn("waits", {
        let shutdown = shutdown.clone();
        async move { shutdown.wait().await }
    });
    shutdown.begin();
    waiting.await.unwrap();
}

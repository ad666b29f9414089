//! Workers under a lock stand still, clocks run fast and slow, hosts lose power, links are cut: of
//! two who believe to hold the lock, one has effect.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use orloj_examples::lock::{Worker, keeper, store};
use orloj_kernel::{Context, always, sometimes};
use orloj_sim::{Control, Crash, LinkFault, fault::FaultClass, testing::find_mutant};

const HOSTS: [&str; 5] = ["lock", "store", "w1", "w2", "w3"];
const WORKERS: [&str; 3] = ["w1", "w2", "w3"];

/// What the workers were told, in the order of real time.
#[derive(Default)]
struct Told {
    /// The largest token of a grant.
    token: u64,
    /// The numbers they wrote.
    written: BTreeSet<u64>,
}

#[orloj_sim::test(seeds = 100)]
async fn one_holder_has_effect(test: Context) {
    holders(test).await;
}

async fn holders(test: Context) {
    let told = Arc::new(Mutex::new(Told::default()));
    Control.host("lock", |cx| async move {
        keeper(cx, "lock:1".to_owned()).await.expect("no disk fails here");
    });
    Control.host("store", |cx| async move {
        store(cx, "store:1".to_owned()).await.expect("no disk fails here");
    });
    for name in WORKERS {
        let told = told.clone();
        Control.host(name, move |cx| work(cx, told.clone()));
        // Up to one part in twenty fast or slow: far beyond what a lease allows for.
        let drift = Control.between("drift", 0, 100_000_000) as i64 - 50_000_000;
        Control.drift_clock(name, drift);
    }
    for _ in 0..20 {
        test.sleep(Duration::from_millis(Control.between("calm", 1, 100))).await;
        strike();
    }
    Control.quiet();
    HOSTS.iter().for_each(|host| Control.restart(host));
    let before = told.lock().unwrap().written.len();
    test.sleep(Duration::from_secs(1)).await;
    let after = told.lock().unwrap().written.len();
    always!(test, after > before, "work-goes-on", "{before} numbers, and a second later {after}");
}

/// One thing goes wrong, or one that did is mended.
fn strike() {
    let host = HOSTS[Control.between("host", 0, 4) as usize];
    let other = HOSTS[Control.between("other", 0, 4) as usize];
    let length = Duration::from_millis(Control.between("length", 10, 300));
    match Control.between("strike", 0, 6) {
        0 => Control.pause(host, length),
        1 => Control.crash(host, Crash::Power),
        2 => Control.crash(host, Crash::Process),
        3 => Control.jump_clock(host, 60_000_000, FaultClass::ClockJump),
        4 if host != other => Control.partition(&[host], &[other]),
        5 if host != other => Control.link(host, other, Some(LinkFault::Clog(150_000_000))),
        _ => {
            for host in HOSTS {
                Control.restart(host);
                HOSTS.iter().filter(|o| **o != host).for_each(|o| Control.link(host, o, None));
            }
        }
    }
}

/// Takes the lock and adds one, again and again.
async fn work(cx: Context, told: Arc<Mutex<Told>>) {
    let worker = Worker { cx, lock: "lock:1".to_owned(), store: "store:1".to_owned() };
    loop {
        cx.sleep(Duration::from_millis(cx.below(20))).await;
        let newest = told.lock().unwrap().token;
        let Ok(Some(lease)) = worker.acquire().await else { continue };
        let token = lease.token;
        always!(cx, token > newest, "tokens-rise", "{token} was granted after {newest}");
        let newest = told.lock().unwrap().token;
        told.lock().unwrap().token = newest.max(token);
        let pause = Duration::from_millis(cx.below(40));
        let outcome = worker.add_one(lease, pause).await;
        if let Ok(Some(value)) = outcome {
            let is_new = told.lock().unwrap().written.insert(value);
            always!(cx, is_new, "one-holder-has-effect", "{value} was written twice");
        }
        sometimes!(cx, matches!(outcome, Ok(None)), "a-holder-had-no-effect");
        if cx.below(2) == 0 {
            let _ = worker.release(lease).await;
        }
    }
}

fn found(mutant: &'static str, law: &str) {
    let found = find_mutant(mutant, 0..500, |cx| Box::pin(holders(cx)));
    let (seed, failure) = found.expect("500 seeds see it");
    assert_eq!(failure.law, law, "seed {seed}: {failure}");
}

/// Leases without fencing: the textbook's mistake.
#[test]
fn a_missing_fence_is_found() {
    found("lock-without-fence", "one-holder-has-effect");
}

/// Fencing as the textbook has it, on writes: what an older holder writes after a newer one has
/// read is lost.
#[test]
fn a_fence_that_reads_do_not_raise_is_found() {
    found("lock-fences-writes-only", "one-holder-has-effect");
}

/// A token that is granted before it is written down comes twice.
#[test]
fn a_token_that_is_forgotten_is_found() {
    found("lock-forgets-its-token", "tokens-rise");
}

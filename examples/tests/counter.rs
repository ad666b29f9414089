//! Three hosts lose power, stand still and cannot hear each other: no acknowledged increment is
//! lost, and reads are monotonic.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use orloj_examples::counter::{self, REPLICAS};
use orloj_kernel::{Context, always, sometimes};
use orloj_sim::{Control, Crash, NetFaults, testing::find_mutant};

const HOSTS: [&str; REPLICAS] = ["n0", "n1", "n2"];

/// What clients know, in the order of real time.
#[derive(Default)]
struct Known {
    /// Increments that were asked for.
    asked: u64,
    /// Increments that were acknowledged.
    acked: u64,
    /// The largest sum that anybody was told.
    told: u64,
}

/// Seed 112 leads to an increment that was answered with a sum of which only one host knew.
#[orloj_sim::test(seeds = 100, keep = [112])]
async fn increments_survive(test: Context) {
    increments(test).await;
}

fn addrs() -> [String; REPLICAS] {
    HOSTS.map(|host| format!("{host}:1"))
}

async fn increments(test: Context) {
    let known = Arc::new(Mutex::new(Known::default()));
    for (me, name) in HOSTS.into_iter().enumerate() {
        Control.host(name, move |cx| async move {
            counter::node(cx, me, addrs()).await.expect("no disk fails here");
        });
    }
    Control.set_net_faults(NetFaults {
        reset_ppm: 10_000,
        half_open_ppm: 10_000,
        slow_tail_ppm: 10_000,
        ..NetFaults::default()
    });
    for name in ["c0", "c1", "c2"] {
        let cx = Control.idle_host(name);
        cx.spawn("client", client(cx, known.clone()));
    }
    for _ in 0..20 {
        test.sleep(Duration::from_millis(Control.between("calm", 1, 50))).await;
        strike();
    }
    Control.quiet();
    HOSTS.iter().for_each(|host| Control.restart(host));
    test.sleep(Duration::from_millis(200)).await;
    for addr in addrs() {
        let total = read(test, &addr, &known).await;
        always!(test, total.is_some(), "the-counter-answers-when-all-is-well");
    }
    sometimes!(test, known.lock().unwrap().acked > 50, "a-busy-counter");
}

/// One thing goes wrong, or one that did is mended.
fn strike() {
    let at = Control.between("host", 0, 2) as usize;
    let (host, others) = (HOSTS[at], [HOSTS[(at + 1) % REPLICAS], HOSTS[(at + 2) % REPLICAS]]);
    match Control.between("strike", 0, 4) {
        0 => Control.crash(host, Crash::Power),
        1 => Control.pause(host, Duration::from_millis(Control.between("length", 1, 100))),
        2 => Control.partition(&[host], &others),
        3 => Control.kill_after_polls(host, Control.between("polls", 1, 50), Crash::Power),
        _ => {
            for host in HOSTS {
                Control.restart(host);
                HOSTS.iter().filter(|o| **o != host).for_each(|o| Control.link(host, o, None));
            }
        }
    }
}

async fn client(cx: Context, known: Arc<Mutex<Known>>) {
    let addrs = addrs();
    loop {
        let addr = &addrs[cx.below(REPLICAS as u64) as usize];
        if cx.below(2) == 0 {
            read(cx, addr, &known).await;
        } else {
            known.lock().unwrap().asked += 1;
            if let Some(total) = counter::add(&cx, addr).await {
                let mut known = known.lock().unwrap();
                known.acked += 1;
                known.told = known.told.max(total);
            }
        }
        cx.sleep(Duration::from_millis(cx.below(10))).await;
    }
}

/// Holds a sum against everything that was known before it was asked for.
async fn read(cx: Context, addr: &str, known: &Mutex<Known>) -> Option<u64> {
    let (acked, told) = {
        let known = known.lock().unwrap();
        (known.acked, known.told)
    };
    let total = counter::read(&cx, addr).await?;
    let mut known = known.lock().unwrap();
    let asked = known.asked;
    always!(cx, total >= acked, "no-increment-is-lost", "{total} of {acked} acknowledged");
    always!(cx, total >= told, "reads-are-monotonic", "{total}, and {told} had been told before");
    always!(cx, total <= asked, "nothing-from-nowhere", "{total}, and {asked} were asked for");
    known.told = known.told.max(total);
    Some(total)
}

fn found(mutant: &'static str, laws: &[&str]) {
    let found = find_mutant(mutant, 0..500, |cx| Box::pin(increments(cx)));
    let (seed, failure) = found.expect("500 seeds see it");
    assert!(laws.contains(&&*failure.law), "seed {seed}: {failure}");
}

/// A quorum off by one: what only one host knew is lost to those who ask the other two.
#[test]
fn a_majority_of_one_is_found() {
    found("counter-majority-of-one", &["no-increment-is-lost", "reads-are-monotonic"]);
}

/// A read that does not write back shows what the next read may not find.
#[test]
fn a_read_without_its_second_round_is_found() {
    found("counter-reads-once", &["reads-are-monotonic"]);
}

/// An increment answered with all that was heard on the way: the bug that a seed found.
#[test]
fn a_sum_that_one_host_knows_is_found() {
    found("counter-tells-what-one-knows", &["reads-are-monotonic"]);
}

//! The same actors on this machine: real files, real sockets, real time.

use std::time::Duration;

use orloj_examples::{
    bank::{ACCOUNTS, Bank, OPENING, Outcome},
    counter, lock,
};
use orloj_host::{Host, Options};

#[test]
fn a_bank_that_opens_again_has_its_books() {
    let dir = tempfile::tempdir().unwrap();
    let transfer = |from, to| {
        let cx = Host::new(Options::new(dir.path())).unwrap().context();
        cx.block_on(async move {
            let bank = Bank::open(cx);
            (bank.transfer(from, to, 30).await, bank.books().await.unwrap())
        })
    };
    let (first, books) = transfer(0, 1);
    assert!(matches!(first, Outcome::Done(0, _)) && books.entries.len() == 1, "{first:?}");
    let (second, books) = transfer(1, 2);
    assert!(matches!(second, Outcome::Done(1, _)) && books.entries.len() == 2, "{second:?}");
    let balances: Vec<_> = (0..ACCOUNTS).filter_map(|account| books.balance(account)).collect();
    assert_eq!((balances, books.total()), (vec![70, 100, 130, 100], ACCOUNTS * OPENING));
}

#[test]
fn a_lock_lets_two_workers_count() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::new(Options::new(dir.path().join("lock"))).unwrap();
    let (cx, beside) = (host.context(), host.neighbour(dir.path().join("store")).unwrap());
    cx.spawn("lock", lock::keeper(cx, "127.0.0.1:37401".to_owned()));
    cx.spawn("store", lock::store(beside.context(), "127.0.0.1:37402".to_owned()));
    let at = |port: u16| format!("127.0.0.1:{port}");
    let worker = lock::Worker { cx, lock: at(37401), store: at(37402) };
    let mut numbers = Vec::new();
    cx.block_on(async {
        while numbers.len() < 5 {
            if let Ok(Some(lease)) = worker.acquire().await {
                numbers.extend(worker.add_one(lease, Duration::ZERO).await.ok().flatten());
                let _ = worker.release(lease).await;
            }
            cx.sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[test]
fn a_counter_counts_on_three_hosts() {
    let dir = tempfile::tempdir().unwrap();
    let client = Host::new(Options::new(dir.path().join("client"))).unwrap();
    let addrs = [37411, 37412, 37413].map(|port| format!("127.0.0.1:{port}"));
    for me in 0..counter::REPLICAS {
        let host = client.neighbour(dir.path().join(me.to_string())).unwrap().context();
        host.spawn("node", counter::node(host, me, addrs.clone()));
    }
    let cx = client.context();
    cx.block_on(async {
        let mut acknowledged = 0;
        while acknowledged < 6 {
            // The first ones may come before the hosts listen.
            let addr = &addrs[acknowledged as usize % addrs.len()];
            acknowledged += u64::from(counter::add(&cx, addr).await.is_some());
        }
        for addr in &addrs {
            let total = counter::read(&cx, addr).await.expect("all three are up");
            assert!(total >= acknowledged, "{total} of {acknowledged}");
        }
    });
}

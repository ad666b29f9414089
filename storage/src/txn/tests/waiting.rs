//! Transactions under locks as tasks of a simulated host.

use std::{sync::Arc, time::Duration};

use orloj_kernel::Context;

use super::{USERS, tree};
use crate::{
    Durability, Error,
    locks::{Holder, Mode},
    tree::{At, Attempt, Keyspace, Pause, Tree},
    txn::{Isolation, Locked, Retry, Terms, Transaction},
};

/// Asks again until there is an answer, waiting for locks in between.
async fn settle<T>(cx: &Context, mut ask: impl FnMut() -> Attempt<T>) -> Result<T, Error> {
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(Pause::Wait(wait)) => wait.over(cx).await?,
            Err(Pause::Failed(error)) => return Err(error),
            Err(pause) => panic!("all is in memory: {pause:?}"),
        }
    }
}

fn terms(cx: &Context, patience: Duration) -> Terms {
    Terms { now: 0, deadline: cx.now() + patience }
}

const ACCOUNTS: u64 = 4;
const START: u64 = 100;

/// Moves one from an account to another, in any order of locks, with pauses that let others in.
async fn transfer(cx: &Context, tree: &Arc<Tree>, users: &Arc<Keyspace>) -> Result<(), Error> {
    let mut txn = Locked::begin(tree, terms(cx, Duration::from_secs(5)));
    let from = cx.below(ACCOUNTS);
    let to = (from + 1 + cx.below(ACCOUNTS - 1)) % ACCOUNTS;
    let mut balances = Vec::new();
    for account in [from, to] {
        let (key, mut out) = (account.to_be_bytes(), Vec::new());
        settle(cx, || txn.get(users, &key, Mode::Update, &mut out)).await?;
        balances.push(u64::from_be_bytes(out.try_into().expect("eight bytes")));
        cx.sleep(Duration::from_micros(cx.below(300))).await;
    }
    let moved = balances[0].min(1);
    for (account, balance) in [(from, balances[0] - moved), (to, balances[1] + moved)] {
        let key = account.to_be_bytes();
        settle(cx, || txn.put(users, &key, &balance.to_be_bytes(), None)).await?;
    }
    settle(cx, || txn.commit()).await.map(|_| ())
}

#[orloj_sim::test(seeds = 30)]
async fn money_is_neither_made_nor_lost_and_everybody_gets_through(cx: Context) {
    let (tree, users) = tree(Durability::InMemory);
    for account in 0..ACCOUNTS {
        let put = tree.put(&users, &account.to_be_bytes(), &START.to_be_bytes(), None);
        put.expect("there is room");
    }
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (tree, users) = (tree.clone(), users.clone());
            cx.spawn("transfers", async move {
                let retry = Retry { attempts: 100, ..Retry::default() };
                for _ in 0..10 {
                    let done = retry.run(&cx, || transfer(&cx, &tree, &users)).await;
                    done.expect("it gets through in the end");
                }
            })
        })
        .collect();
    // Meanwhile somebody adds all of it up, without locks, and always finds the same.
    for _ in 0..20 {
        let mut txn =
            Transaction::begin(&tree, Isolation::Serializable, terms(&cx, Duration::ZERO));
        let mut scan = txn.scan(&users, &[], None).expect("it is in memory");
        let mut sum = 0;
        while txn.advance(&mut scan, true).expect("it is in memory") {
            sum += u64::from_be_bytes(scan.shown().value.try_into().expect("eight bytes"));
        }
        assert_eq!(sum, ACCOUNTS * START);
        cx.sleep(Duration::from_micros(500)).await;
    }
    for task in tasks {
        task.await.expect("no task panics");
    }
    assert!(tree.locks().is_empty());
}

#[orloj_sim::test(seeds = 10)]
async fn who_waits_too_long_is_told_the_key_and_keeps_what_it_has(cx: Context) {
    let (tree, users) = tree(Durability::InMemory);
    let mut holder = Holder::new(tree.locks(), cx.now());
    assert!(holder.lock(USERS, b"k", Mode::Exclusive).expect("alive").is_none());
    let patience = Duration::from_millis(20);
    let mut txn = Locked::begin(&tree, terms(&cx, patience));
    txn.put(&users, b"mine", b"v", None).expect("it is free");
    let before = cx.now();
    let late = settle(&cx, || txn.put(&users, b"k", b"v", None)).await;
    assert_eq!(late, Err(Error::LockTimeout { key: b"k".to_vec() }));
    assert!(cx.now().since(before) >= patience && tree.locks().bars(None, USERS, b"mine"));
    txn.commit().expect("what it has is enough");
    let mut out = Vec::new();
    let found = tree.get(&users, b"mine", At::Assigned, &mut out).expect("it is in memory");
    assert!(found.is_some() && !tree.locks().bars(None, USERS, b"mine"));
}

#[orloj_sim::test(seeds = 10)]
async fn a_lock_is_had_as_soon_as_it_is_free(cx: Context) {
    let (tree, users) = tree(Durability::InMemory);
    let mut first = Locked::begin(&tree, terms(&cx, Duration::ZERO));
    first.put(&users, b"k", b"1", None).expect("it is free");
    let held = Duration::from_millis(7);
    let task = cx.spawn("holder", async move {
        cx.sleep(held).await;
        first.commit().map_err(|pause| panic!("{pause:?}"))
    });
    let before = cx.now();
    let mut txn =
        Transaction::begin(&tree, Isolation::Serializable, terms(&cx, Duration::from_secs(1)));
    txn.put(&users, b"k", b"2", None).expect("it fits");
    let version = settle(&cx, || txn.commit()).await.expect("it waits its turn");
    let waited = cx.now().since(before);
    assert!(waited >= held && waited < held * 2, "{waited:?}");
    let first = task.await.expect("no task panics");
    assert_eq!(first.map(|first: crate::Lsn| first < version), Ok::<bool, ()>(true));
}

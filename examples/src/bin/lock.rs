//! The lock service on this machine: a lock, a store and three workers, over loopback.

#![expect(clippy::print_stdout, reason = "a program that speaks to a person")]

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use orloj_examples::lock::{Worker, keeper, store};
use orloj_host::{Host, Options, StartError};
use orloj_kernel::Context;

/// Lets three workers count under a lock.
#[derive(Parser)]
struct Arguments {
    /// Where the lock and the store keep their files.
    #[arg(long, default_value = "target/lock")]
    data: PathBuf,
    /// How far each worker counts before it stops.
    #[arg(long, default_value_t = 10)]
    numbers: u64,
    /// The port of the lock; the store has the next one.
    #[arg(long, default_value_t = 7401)]
    port: u16,
}

fn main() -> Result<(), StartError> {
    let Arguments { data, numbers, port } = Arguments::parse();
    let host = Host::new(Options::new(data.join("lock")))?;
    let (lock_at, store_at) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", port + 1));
    let (cx, beside) = (host.context(), host.neighbour(data.join("store"))?.context());
    cx.spawn("lock", keeper(cx, lock_at.clone()));
    beside.spawn("store", store(beside, store_at.clone()));
    let worker = Worker { cx, lock: lock_at, store: store_at };
    cx.block_on(async {
        let workers: Vec<_> =
            (1..=3).map(|n| cx.spawn("work", work(cx, worker.clone(), n, numbers))).collect();
        for worker in workers {
            let _ = worker.await;
        }
    });
    Ok(())
}

async fn work(cx: Context, worker: Worker, me: u64, mut numbers: u64) {
    while numbers > 0 {
        cx.sleep(Duration::from_millis(cx.below(20))).await;
        let lease = match worker.acquire().await {
            Ok(Some(lease)) => lease,
            Ok(None) => continue,
            Err(error) => {
                println!("worker {me} hears nothing of the lock: {error}");
                continue;
            }
        };
        let token = lease.token;
        match worker.add_one(lease, Duration::from_millis(cx.below(10))).await {
            Ok(Some(number)) => {
                println!("worker {me} with token {token:>4} wrote {number}");
                numbers -= 1;
            }
            Ok(None) => println!("worker {me} with token {token:>4} came too late"),
            Err(error) => println!("worker {me} with token {token:>4} does not know: {error}"),
        }
        let _ = worker.release(lease).await;
    }
}

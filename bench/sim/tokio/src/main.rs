//! The rows on tokio's own test runtime: one thread, a paused clock, no simulated network.

use orloj_bench_rows::{Row, Sample, Sizes, durations, measure};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

fn main() {
    orloj_bench_rows::main(&[(Row::Timer, timer), (Row::Yield, yields), (Row::Spawn, spawn)]);
}

const MUST: &str = "no task panics";

fn world() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

fn timer(sizes: &Sizes) -> Sample {
    let (tasks, sleeps) = (sizes.timer_tasks, sizes.timer_sleeps as usize);
    measure(sizes.timer_tasks * sizes.timer_sleeps, || {
        world().block_on(async move {
            let mut handles = Vec::new();
            for task in 0..tasks {
                handles.push(tokio::spawn(async move {
                    for duration in durations(task).take(sleeps) {
                        sleep(duration).await;
                    }
                }));
            }
            for handle in handles {
                handle.await.expect(MUST);
            }
        });
    })
}

fn yields(sizes: &Sizes) -> Sample {
    let (tasks, yields) = (sizes.yield_tasks, sizes.yields);
    measure(tasks * yields, || {
        world().block_on(async move {
            let mut handles = Vec::new();
            for _ in 0..tasks {
                handles.push(tokio::spawn(async move {
                    for _ in 0..yields {
                        tokio::task::yield_now().await;
                    }
                }));
            }
            for handle in handles {
                handle.await.expect(MUST);
            }
        });
    })
}

fn spawn(sizes: &Sizes) -> Sample {
    let (tasks, batch) = (sizes.spawn_tasks, sizes.spawn_batch);
    measure(tasks, || {
        world().block_on(async move {
            let mut handles = Vec::new();
            for _ in 0..tasks / batch {
                for _ in 0..batch {
                    handles.push(tokio::spawn(tokio::task::yield_now()));
                }
                for handle in handles.drain(..) {
                    handle.await.expect(MUST);
                }
            }
        });
    })
}

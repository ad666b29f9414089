//! The rows on orloj-sim, as users write them: through the context alone, faults compiled in, the
//! trace hash on, the next task chosen by the seed.

use std::net::SocketAddr;
use std::time::Duration;

use orloj_bench_rows::{
    LATENCY, MESSAGE_LEN, Row, Sample, Sizes, durations, measure, measure_mesh,
};
use orloj_kernel::Context;
use orloj_sim::{Config, Latency, Simulation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn main() {
    orloj_bench_rows::main(&[
        (Row::Echo, echo),
        (Row::Mesh, mesh),
        (Row::Timer, timer),
        (Row::Yield, yields),
        (Row::Spawn, spawn),
        (Row::Cold, cold),
        (Row::Idle, idle),
    ]);
}

/// A message too few or a link too slow is a broken benchmark, so every error stops it.
const MUST: &str = "nothing fails in a world without faults";
/// Long enough for every listener to be bound.
const SETTLE: Duration = Duration::from_millis(50);

fn world(seed: u64) -> Simulation {
    let latency = Latency::Fixed(LATENCY.as_nanos() as u64);
    Simulation::new(Config { latency, ..Config::seed(seed) })
}

fn name(node: usize) -> String {
    format!("node-{node}")
}

fn address(node: usize) -> String {
    format!("node-{node}:7000")
}

/// Hosts get their addresses in the order they are added.
fn ip(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node as u8 + 1], 7000))
}

fn echo(sizes: &Sizes) -> Sample {
    let rounds = sizes.echo_rounds;
    measure(rounds, || {
        let mut world = world(1);
        world.host("server", move |cx| async move {
            let mut listener = cx.listen("0.0.0.0:7000").await.expect(MUST);
            let (mut stream, _) = listener.accept().await.expect(MUST);
            let mut message = [0; MESSAGE_LEN];
            for _ in 0..rounds {
                stream.read_exact(&mut message).await.expect(MUST);
                stream.write_all(&message).await.expect(MUST);
            }
        });
        let cx = world.idle_host("client");
        let client = async move {
            cx.sleep(SETTLE).await;
            let mut stream = cx.connect("server:7000").await.expect(MUST);
            let start = cx.now();
            let mut message = [7; MESSAGE_LEN];
            for _ in 0..rounds {
                stream.write_all(&message).await.expect(MUST);
                stream.read_exact(&mut message).await.expect(MUST);
            }
            assert!(cx.now() - start >= LATENCY * 2 * rounds as u32);
        };
        world.run(cx, client).expect(MUST);
    })
}

fn mesh(sizes: &Sizes) -> Sample {
    let nodes = sizes.mesh_nodes;
    measure_mesh(sizes, |rounds| {
        let mut world = world(1);
        let hosts: Vec<Context> = (0..nodes).map(|node| world.idle_host(&name(node))).collect();
        let clock = hosts[0];
        let driver = async move {
            let mut handles = Vec::new();
            for (node, cx) in hosts.into_iter().enumerate() {
                handles.push(cx.spawn("acceptor", accept(cx, nodes, rounds)));
                handles.push(cx.spawn("sender", send(cx, node, nodes, rounds)));
            }
            for handle in handles {
                handle.await.expect(MUST);
            }
        };
        world.run(clock, driver).expect(MUST);
    })
}

async fn accept(cx: Context, nodes: usize, rounds: u64) {
    let mut listener = cx.listen("0.0.0.0:7000").await.expect(MUST);
    let mut readers = Vec::new();
    for _ in 1..nodes {
        let (mut stream, _) = listener.accept().await.expect(MUST);
        readers.push(cx.spawn("reader", async move {
            let mut message = [0; MESSAGE_LEN];
            for _ in 0..rounds {
                stream.read_exact(&mut message).await.expect(MUST);
            }
        }));
    }
    for reader in readers {
        reader.await.expect(MUST);
    }
}

async fn send(cx: Context, node: usize, nodes: usize, rounds: u64) {
    cx.sleep(SETTLE).await;
    let mut streams = Vec::new();
    for peer in (0..nodes).filter(|peer| *peer != node) {
        streams.push(cx.connect(&address(peer)).await.expect(MUST));
    }
    for _ in 0..rounds {
        for stream in &mut streams {
            stream.write_all(&[7; MESSAGE_LEN]).await.expect(MUST);
        }
        cx.sleep(LATENCY).await;
    }
    // A dropped stream may lose what is still under way.
    cx.sleep(LATENCY * 10).await;
}

/// Runs one task on one host until it ends.
fn alone<F: Future<Output = ()> + Send + 'static>(task: impl FnOnce(Context) -> F) {
    let mut world = world(1);
    let cx = world.idle_host("alone");
    world.run(cx, task(cx)).expect(MUST);
}

fn timer(sizes: &Sizes) -> Sample {
    let (tasks, sleeps) = (sizes.timer_tasks, sizes.timer_sleeps as usize);
    measure(sizes.timer_tasks * sizes.timer_sleeps, || {
        alone(|cx| async move {
            let mut handles = Vec::new();
            for task in 0..tasks {
                handles.push(cx.spawn("sleeper", async move {
                    for duration in durations(task).take(sleeps) {
                        cx.sleep(duration).await;
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
        alone(|cx| async move {
            let mut handles = Vec::new();
            for _ in 0..tasks {
                handles.push(cx.spawn("yielder", async move {
                    for _ in 0..yields {
                        cx.yield_now().await;
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
        alone(|cx| async move {
            let mut handles = Vec::new();
            for _ in 0..tasks / batch {
                for _ in 0..batch {
                    handles.push(cx.spawn("task", async move { cx.yield_now().await }));
                }
                for handle in handles.drain(..) {
                    handle.await.expect(MUST);
                }
            }
        });
    })
}

fn cold(sizes: &Sizes) -> Sample {
    let hosts = sizes.cold_hosts;
    measure(sizes.cold_worlds, || {
        for seed in 0..sizes.cold_worlds {
            let mut world = world(seed);
            let cx = world.idle_host(&name(0));
            for host in 1..hosts {
                world.host(&name(host), move |cx| async move {
                    let socket = cx.bind("0.0.0.0:7000").await.expect(MUST);
                    let mut message = [0; MESSAGE_LEN];
                    socket.recv_from(&mut message).await.expect(MUST);
                    socket.send_to(&message, ip((host + 1) % hosts)).await.expect(MUST);
                });
            }
            let first = async move {
                let socket = cx.bind("0.0.0.0:7000").await.expect(MUST);
                let mut message = [7; MESSAGE_LEN];
                cx.sleep(LATENCY).await;
                socket.send_to(&message, ip(1)).await.expect(MUST);
                socket.recv_from(&mut message).await.expect(MUST);
            };
            world.run(cx, first).expect(MUST);
        }
    })
}

fn idle(sizes: &Sizes) -> Sample {
    let time = Duration::from_secs(sizes.idle_seconds);
    measure(sizes.idle_seconds, || {
        let mut world = world(1);
        for host in 1..sizes.idle_hosts {
            world.host(&name(host), |_| std::future::pending());
        }
        let cx = world.idle_host("clock");
        world.run(cx, async move { cx.sleep(time).await }).expect(MUST);
    })
}

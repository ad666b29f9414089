//! The rows on bach: groups as hosts, its UDP sockets with a fixed latency, its tasks and clock. It
//! has no streams, so echo and mesh are datagrams; it has no choice of the next task, so yields are
//! first in, first out.

use std::time::Duration;

use bach::environment::default::Runtime;
use bach::environment::net::queue::Fixed;
use bach::ext::*;
use bach::net::UdpSocket;
use bach::time::Instant;
use orloj_bench_rows::{
    LATENCY, MESSAGE_LEN, Row, Sample, Sizes, durations, measure, measure_mesh,
};

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
const PORT: u16 = 7000;

fn world(seed: u64) -> Runtime {
    let network = Fixed::default().with_net_latency(LATENCY);
    Runtime::new().with_seed(seed).with_net_queues(Some(Box::new(network)))
}

fn name(node: usize) -> String {
    format!("node-{node}")
}

/// The socket of a node, and of whoever asks for it by name.
async fn socket() -> UdpSocket {
    UdpSocket::bind(("0.0.0.0", PORT)).await.expect(MUST)
}

fn echo(sizes: &Sizes) -> Sample {
    let rounds = sizes.echo_rounds;
    measure(rounds, || {
        world(1).run(|| {
            async move {
                let socket = socket().await;
                let mut message = [0; MESSAGE_LEN];
                for _ in 0..rounds {
                    let (_, client) = socket.recv_from(&mut message).await.expect(MUST);
                    socket.send_to(&message, client).await.expect(MUST);
                }
            }
            .group("server")
            .spawn();
            async move {
                let socket = socket().await;
                let server = bach::net::lookup_host(("server", PORT)).await.expect(MUST);
                let server = server.into_iter().next().expect(MUST);
                let start = Instant::now();
                let mut message = [7; MESSAGE_LEN];
                for _ in 0..rounds {
                    socket.send_to(&message, server).await.expect(MUST);
                    socket.recv_from(&mut message).await.expect(MUST);
                }
                assert!(start.elapsed() >= LATENCY * 2 * rounds as u32);
            }
            .group("client")
            .primary()
            .spawn();
        });
    })
}

fn mesh(sizes: &Sizes) -> Sample {
    let nodes = sizes.mesh_nodes;
    measure_mesh(sizes, |rounds| {
        world(1).run(|| {
            for node in 0..nodes {
                async move {
                    let socket = std::sync::Arc::new(socket().await);
                    let receiver = socket.clone();
                    let receiver = bach::spawn(async move {
                        let mut message = [0; MESSAGE_LEN];
                        for _ in 0..rounds * (nodes as u64 - 1) {
                            receiver.recv_from(&mut message).await.expect(MUST);
                        }
                    });
                    LATENCY.sleep().await;
                    let mut peers = Vec::new();
                    for peer in (0..nodes).filter(|peer| *peer != node) {
                        let found = bach::net::lookup_host((name(peer), PORT)).await.expect(MUST);
                        peers.push(found.into_iter().next().expect(MUST));
                    }
                    for _ in 0..rounds {
                        for peer in &peers {
                            socket.send_to(&[7; MESSAGE_LEN], *peer).await.expect(MUST);
                        }
                        LATENCY.sleep().await;
                    }
                    receiver.await.expect(MUST);
                }
                .group(name(node))
                .primary()
                .spawn();
            }
        });
    })
}

fn timer(sizes: &Sizes) -> Sample {
    let sleeps = sizes.timer_sleeps as usize;
    measure(sizes.timer_tasks * sizes.timer_sleeps, || {
        world(1).run(|| {
            for task in 0..sizes.timer_tasks {
                async move {
                    for duration in durations(task).take(sleeps) {
                        duration.sleep().await;
                    }
                }
                .primary()
                .spawn();
            }
        });
    })
}

fn yields(sizes: &Sizes) -> Sample {
    let (tasks, yields) = (sizes.yield_tasks, sizes.yields);
    measure(tasks * yields, || {
        world(1).run(|| {
            for _ in 0..tasks {
                async move {
                    for _ in 0..yields {
                        bach::task::yield_now().await;
                    }
                }
                .primary()
                .spawn();
            }
        });
    })
}

fn spawn(sizes: &Sizes) -> Sample {
    let (tasks, batch) = (sizes.spawn_tasks, sizes.spawn_batch);
    measure(tasks, || {
        world(1).run(|| {
            async move {
                let mut handles = Vec::new();
                for _ in 0..tasks / batch {
                    for _ in 0..batch {
                        handles.push(bach::spawn(bach::task::yield_now()));
                    }
                    for handle in handles.drain(..) {
                        handle.await.expect(MUST);
                    }
                }
            }
            .primary()
            .spawn();
        });
    })
}

fn cold(sizes: &Sizes) -> Sample {
    let hosts = sizes.cold_hosts;
    measure(sizes.cold_worlds, || {
        for seed in 0..sizes.cold_worlds {
            world(seed).run(|| {
                for host in 0..hosts {
                    async move {
                        let socket = socket().await;
                        let next = (name((host + 1) % hosts), PORT);
                        let mut message = [7; MESSAGE_LEN];
                        if host == 0 {
                            LATENCY.sleep().await;
                            socket.send_to(&message, next.clone()).await.expect(MUST);
                        }
                        socket.recv_from(&mut message).await.expect(MUST);
                        if host != 0 {
                            socket.send_to(&message, next).await.expect(MUST);
                        }
                    }
                    .group(name(host))
                    .primary()
                    .spawn();
                }
            });
        }
    })
}

fn idle(sizes: &Sizes) -> Sample {
    let time = Duration::from_secs(sizes.idle_seconds);
    measure(sizes.idle_seconds, || {
        world(1).run(|| {
            for host in 1..sizes.idle_hosts {
                std::future::pending::<()>().group(name(host)).spawn();
            }
            time.sleep().group("clock").primary().spawn();
        });
    })
}

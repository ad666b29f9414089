//! The rows on commonware-runtime's deterministic runtime: contexts, its network, its tasks and
//! clock. Its network has no latency, and one context is one host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use commonware_runtime::deterministic::{Config, Context, Runner};
use commonware_runtime::{
    Clock, Listener, Network, Runner as _, Sink, Spawner, Stream, Supervisor, reschedule,
};
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

/// A message too few is a broken benchmark, so every error stops it.
const MUST: &str = "nothing fails in a world without faults";
const MESSAGE: &[u8] = &[7; MESSAGE_LEN];
/// Long enough for every listener to be bound.
const SETTLE: Duration = Duration::from_millis(50);

fn run<F: Future<Output = ()>>(seed: u64, root: impl FnOnce(Context) -> F) {
    Runner::new(Config::new().with_seed(seed)).start(root);
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + node as u32)), 7000)
}

fn echo(sizes: &Sizes) -> Sample {
    let rounds = sizes.echo_rounds;
    measure(rounds, || {
        run(1, |context| async move {
            let mut listener = context.bind(address(0)).await.expect(MUST);
            let server = context.child("server").spawn(move |_| async move {
                let (_, mut sink, mut stream) = listener.accept().await.expect(MUST);
                for _ in 0..rounds {
                    let message = stream.recv(MESSAGE_LEN).await.expect(MUST);
                    sink.send(message).await.expect(MUST);
                }
            });
            let (mut sink, mut stream) = context.dial(address(0)).await.expect(MUST);
            for _ in 0..rounds {
                sink.send(MESSAGE).await.expect(MUST);
                stream.recv(MESSAGE_LEN).await.expect(MUST);
            }
            server.await.expect(MUST);
        });
    })
}

fn mesh(sizes: &Sizes) -> Sample {
    let nodes = sizes.mesh_nodes;
    measure_mesh(sizes, |rounds| {
        run(1, |context| async move {
            let mut handles = Vec::new();
            for node in 0..nodes {
                handles.push(context.child("acceptor").spawn(move |context| async move {
                    let mut listener = context.bind(address(node)).await.expect(MUST);
                    let mut readers = Vec::new();
                    for _ in 1..nodes {
                        // The unused half is kept, or the peer would see a closed stream.
                        let (_, sink, mut stream) = listener.accept().await.expect(MUST);
                        readers.push(context.child("reader").spawn(move |_| async move {
                            for _ in 0..rounds {
                                stream.recv(MESSAGE_LEN).await.expect(MUST);
                            }
                            drop(sink);
                        }));
                    }
                    for reader in readers {
                        reader.await.expect(MUST);
                    }
                }));
                handles.push(context.child("sender").spawn(move |context| async move {
                    context.sleep(SETTLE).await;
                    let mut streams = Vec::new();
                    for peer in (0..nodes).filter(|peer| *peer != node) {
                        streams.push(context.dial(address(peer)).await.expect(MUST));
                    }
                    for _ in 0..rounds {
                        for (sink, _) in &mut streams {
                            sink.send(MESSAGE).await.expect(MUST);
                        }
                        context.sleep(LATENCY).await;
                    }
                    context.sleep(LATENCY * 10).await;
                }));
            }
            for handle in handles {
                handle.await.expect(MUST);
            }
        });
    })
}

fn timer(sizes: &Sizes) -> Sample {
    let (tasks, sleeps) = (sizes.timer_tasks, sizes.timer_sleeps as usize);
    measure(sizes.timer_tasks * sizes.timer_sleeps, || {
        run(1, |context| async move {
            let mut handles = Vec::new();
            for task in 0..tasks {
                handles.push(context.child("sleeper").spawn(move |context| async move {
                    for duration in durations(task).take(sleeps) {
                        context.sleep(duration).await;
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
        run(1, |context| async move {
            let mut handles = Vec::new();
            for _ in 0..tasks {
                handles.push(context.child("yielder").spawn(move |_| async move {
                    for _ in 0..yields {
                        reschedule().await;
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
        run(1, |context| async move {
            let mut handles = Vec::new();
            for _ in 0..tasks / batch {
                for _ in 0..batch {
                    handles.push(context.child("task").spawn(|_| reschedule()));
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
            run(seed, |context| async move {
                let mut handles = Vec::new();
                for host in 0..hosts {
                    let mut listener = context.bind(address(host)).await.expect(MUST);
                    handles.push(context.child("host").spawn(move |context| async move {
                        let next = address((host + 1) % hosts);
                        if host == 0 {
                            context.sleep(LATENCY).await;
                            let (mut sink, _stream) = context.dial(next).await.expect(MUST);
                            sink.send(MESSAGE).await.expect(MUST);
                            let (_, _sink, mut stream) = listener.accept().await.expect(MUST);
                            stream.recv(MESSAGE_LEN).await.expect(MUST);
                        } else {
                            let (_, _sink, mut stream) = listener.accept().await.expect(MUST);
                            let message = stream.recv(MESSAGE_LEN).await.expect(MUST);
                            let (mut sink, _stream) = context.dial(next).await.expect(MUST);
                            sink.send(message).await.expect(MUST);
                            // The bytes are taken once the next host has had its turn.
                            context.sleep(LATENCY).await;
                        }
                    }));
                }
                for handle in handles {
                    handle.await.expect(MUST);
                }
            });
        }
    })
}

fn idle(sizes: &Sizes) -> Sample {
    let (hosts, time) = (sizes.idle_hosts, Duration::from_secs(sizes.idle_seconds));
    measure(sizes.idle_seconds, || {
        run(1, |context| async move {
            for _ in 1..hosts {
                drop(context.child("idle").spawn(|_| std::future::pending::<()>()));
            }
            context.sleep(time).await;
        });
    })
}

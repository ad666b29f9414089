//! The rows on moonpool's engine: its executor, its world's TCP streams and clock, driven as its
//! runner drives them (drain the tasks, then step the world), without the runner's own cost.

use std::sync::Arc;
use std::time::Duration;

use futures::io::{AsyncReadExt, AsyncWriteExt};
use moonpool_sim::executor::{Executor, JoinHandle, spawn, until_stalled, yield_now};
use moonpool_sim::{
    ChaosConfiguration, LatencyDistribution, NetworkConfiguration, NetworkProvider, SimWorld,
    TcpListenerTrait, TimeProvider,
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
        (Row::Spawn, spawns),
        (Row::Cold, cold),
        (Row::Idle, idle),
    ]);
}

/// A message too few or a link too slow is a broken benchmark, so every error stops it.
const MUST: &str = "nothing fails in a world without faults";
/// Long enough for every listener to be bound.
const SETTLE: Duration = Duration::from_millis(50);
/// The engine refuses a drain of more than a million polls, so tasks sleep now and then.
const PAUSE: Duration = Duration::from_micros(1);

/// Runs what `build` spawns until it has ended.
fn run(seed: u64, build: impl FnOnce(&SimWorld) -> Vec<JoinHandle<()>>) {
    let fixed = || LatencyDistribution::Uniform { start: LATENCY, end: LATENCY };
    let config = NetworkConfiguration {
        bind_latency: fixed(),
        accept_latency: fixed(),
        connect_latency: fixed(),
        read_latency: fixed(),
        write_latency: fixed(),
        chaos: ChaosConfiguration::disabled(),
    };
    let mut world = SimWorld::new_with_network_config_and_seed(config, seed);
    Executor::new(seed).block_on(async move {
        let handles = build(&world);
        loop {
            until_stalled().await;
            if handles.iter().all(JoinHandle::is_finished) {
                break;
            }
            assert!(world.has_pending_events(), "tasks wait for nothing");
            world.step();
        }
        for handle in handles {
            handle.await.expect(MUST);
        }
    });
}

fn name(node: usize) -> String {
    format!("10.0.0.{}:7000", node + 1)
}

fn echo(sizes: &Sizes) -> Sample {
    let rounds = sizes.echo_rounds;
    measure(rounds, || {
        run(1, |world| {
            let network = world.network_provider();
            let server = spawn("server", async move {
                let listener = network.bind(&name(0)).await.expect(MUST);
                let (mut stream, _) = listener.accept().await.expect(MUST);
                let mut message = [0; MESSAGE_LEN];
                for _ in 0..rounds {
                    stream.read_exact(&mut message).await.expect(MUST);
                    stream.write_all(&message).await.expect(MUST);
                }
            });
            let (network, time) = (world.network_provider(), world.time_provider());
            let client = spawn("client", async move {
                time.sleep(SETTLE).await.expect(MUST);
                let mut stream = network.connect(&name(0)).await.expect(MUST);
                let start = time.now();
                let mut message = [7; MESSAGE_LEN];
                for _ in 0..rounds {
                    stream.write_all(&message).await.expect(MUST);
                    stream.read_exact(&mut message).await.expect(MUST);
                }
                assert!(time.now() - start >= LATENCY * 2 * rounds as u32);
            });
            vec![server, client]
        });
    })
}

fn mesh(sizes: &Sizes) -> Sample {
    let nodes = sizes.mesh_nodes;
    measure_mesh(sizes, |rounds| {
        run(1, |world| {
            let mut handles = Vec::new();
            for node in 0..nodes {
                let network = world.network_provider();
                handles.push(spawn("acceptor", async move {
                    let listener = network.bind(&name(node)).await.expect(MUST);
                    let mut readers = Vec::new();
                    for _ in 1..nodes {
                        let (mut stream, _) = listener.accept().await.expect(MUST);
                        readers.push(spawn("reader", async move {
                            let mut message = [0; MESSAGE_LEN];
                            for _ in 0..rounds {
                                stream.read_exact(&mut message).await.expect(MUST);
                            }
                        }));
                    }
                    for reader in readers {
                        reader.await.expect(MUST);
                    }
                }));
                let (network, time) = (world.network_provider(), world.time_provider());
                handles.push(spawn("sender", async move {
                    time.sleep(SETTLE).await.expect(MUST);
                    let mut streams = Vec::new();
                    for peer in (0..nodes).filter(|peer| *peer != node) {
                        streams.push(network.connect(&name(peer)).await.expect(MUST));
                    }
                    for _ in 0..rounds {
                        for stream in &mut streams {
                            stream.write_all(&[7; MESSAGE_LEN]).await.expect(MUST);
                        }
                        time.sleep(LATENCY).await.expect(MUST);
                    }
                    // A dropped stream may lose what is still under way.
                    time.sleep(LATENCY * 10).await.expect(MUST);
                }));
            }
            handles
        });
    })
}

fn timer(sizes: &Sizes) -> Sample {
    let sleeps = sizes.timer_sleeps as usize;
    measure(sizes.timer_tasks * sizes.timer_sleeps, || {
        run(1, |world| {
            let sleeper = |task| {
                let time = world.time_provider();
                spawn("sleeper", async move {
                    for duration in durations(task).take(sleeps) {
                        time.sleep(duration).await.expect(MUST);
                    }
                })
            };
            (0..sizes.timer_tasks).map(sleeper).collect()
        });
    })
}

fn yields(sizes: &Sizes) -> Sample {
    let (tasks, yields) = (sizes.yield_tasks, sizes.yields);
    measure(tasks * yields, || {
        run(1, |world| {
            let yielder = |_| {
                let time = world.time_provider();
                spawn("yielder", async move {
                    for round in 0..yields {
                        if round % 500 == 499 {
                            time.sleep(PAUSE).await.expect(MUST);
                        }
                        yield_now().await;
                    }
                })
            };
            (0..tasks).map(yielder).collect()
        });
    })
}

fn spawns(sizes: &Sizes) -> Sample {
    let (tasks, batch) = (sizes.spawn_tasks, sizes.spawn_batch);
    measure(tasks, || {
        run(1, |world| {
            let time = world.time_provider();
            vec![spawn("root", async move {
                let mut handles = Vec::new();
                for _ in 0..tasks / batch {
                    for _ in 0..batch {
                        handles.push(spawn("task", yield_now()));
                    }
                    for handle in handles.drain(..) {
                        handle.await.expect(MUST);
                    }
                    time.sleep(PAUSE).await.expect(MUST);
                }
            })]
        });
    })
}

fn cold(sizes: &Sizes) -> Sample {
    let hosts = sizes.cold_hosts;
    measure(sizes.cold_worlds, || {
        for seed in 0..sizes.cold_worlds {
            run(seed, |world| {
                let host = |host: usize| {
                    let network = Arc::new(world.network_provider());
                    spawn("host", async move {
                        let listener = network.bind(&name(host)).await.expect(MUST);
                        let next = name((host + 1) % hosts);
                        let mut message = [7; MESSAGE_LEN];
                        if host == 0 {
                            let mut stream = network.connect(&next).await.expect(MUST);
                            stream.write_all(&message).await.expect(MUST);
                            let (mut stream, _) = listener.accept().await.expect(MUST);
                            stream.read_exact(&mut message).await.expect(MUST);
                        } else {
                            let (mut stream, _) = listener.accept().await.expect(MUST);
                            stream.read_exact(&mut message).await.expect(MUST);
                            let mut stream = network.connect(&next).await.expect(MUST);
                            stream.write_all(&message).await.expect(MUST);
                            // The reader acknowledges by closing, so the bytes have arrived.
                            assert_eq!(stream.read(&mut message).await.expect(MUST), 0);
                        }
                    })
                };
                (0..hosts).map(host).collect()
            });
        }
    })
}

fn idle(sizes: &Sizes) -> Sample {
    let duration = Duration::from_secs(sizes.idle_seconds);
    measure(sizes.idle_seconds, || {
        run(1, |world| {
            for _ in 1..sizes.idle_hosts {
                drop(spawn("idle", std::future::pending::<()>()));
            }
            let time = world.time_provider();
            vec![spawn("clock", async move { time.sleep(duration).await.expect(MUST) })]
        });
    })
}

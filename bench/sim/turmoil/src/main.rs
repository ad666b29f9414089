//! The rows on turmoil: hosts, its TCP streams, tokio's tasks and clock inside each host, its
//! default tick of 1 ms.

use std::time::Duration;

use orloj_bench_rows::{
    LATENCY, MESSAGE_LEN, Row, Sample, Sizes, durations, measure, measure_mesh,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};
use turmoil::Sim;
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

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
/// Long enough for every listener to be bound.
const SETTLE: Duration = Duration::from_millis(50);
const ANY: (&str, u16) = ("0.0.0.0", PORT);

fn world(seed: u64) -> Sim<'static> {
    turmoil::Builder::new()
        .rng_seed(seed)
        .min_message_latency(LATENCY)
        .max_message_latency(LATENCY)
        // Its default of 64 also bounds the connections a listener has not accepted yet.
        .tcp_capacity(1024)
        .simulation_duration(Duration::from_secs(1_000_000))
        .build()
}

fn name(node: usize) -> String {
    format!("node-{node}")
}

fn echo(sizes: &Sizes) -> Sample {
    let rounds = sizes.echo_rounds;
    measure(rounds, || {
        let mut world = world(1);
        world.host("server", move || async move {
            let listener = TcpListener::bind(ANY).await?;
            let (mut stream, _) = listener.accept().await?;
            let mut message = [0; MESSAGE_LEN];
            for _ in 0..rounds {
                stream.read_exact(&mut message).await?;
                stream.write_all(&message).await?;
            }
            Ok(())
        });
        world.client("client", async move {
            let mut stream = TcpStream::connect(("server", PORT)).await?;
            let start = Instant::now();
            let mut message = [7; MESSAGE_LEN];
            for _ in 0..rounds {
                stream.write_all(&message).await?;
                stream.read_exact(&mut message).await?;
            }
            assert!(start.elapsed() >= LATENCY * 2 * rounds as u32);
            Ok(())
        });
        world.run().expect(MUST);
    })
}

fn mesh(sizes: &Sizes) -> Sample {
    let nodes = sizes.mesh_nodes;
    measure_mesh(sizes, |rounds| {
        let mut world = world(1);
        for node in 0..nodes {
            world.client(name(node), async move {
                let listener = TcpListener::bind(ANY).await?;
                let acceptor = tokio::spawn(async move {
                    let mut readers = Vec::new();
                    for _ in 1..nodes {
                        let (mut stream, _) = listener.accept().await.expect(MUST);
                        readers.push(tokio::spawn(async move {
                            let mut message = [0; MESSAGE_LEN];
                            for _ in 0..rounds {
                                stream.read_exact(&mut message).await.expect(MUST);
                            }
                        }));
                    }
                    for reader in readers {
                        reader.await.expect(MUST);
                    }
                });
                sleep(SETTLE).await;
                let mut streams = Vec::new();
                for peer in (0..nodes).filter(|peer| *peer != node) {
                    streams.push(TcpStream::connect((name(peer), PORT)).await?);
                }
                for _ in 0..rounds {
                    for stream in &mut streams {
                        stream.write_all(&[7; MESSAGE_LEN]).await?;
                    }
                    sleep(LATENCY).await;
                }
                acceptor.await.expect(MUST);
                // A client that ends takes its streams with it.
                sleep(LATENCY * 10).await;
                Ok(())
            });
        }
        world.run().expect(MUST);
    })
}

/// Runs one task on one host until it ends.
fn alone(future: impl Future<Output = ()> + 'static) {
    let mut world = world(1);
    world.client("alone", async move {
        future.await;
        Ok(())
    });
    world.run().expect(MUST);
}

fn timer(sizes: &Sizes) -> Sample {
    let (tasks, sleeps) = (sizes.timer_tasks, sizes.timer_sleeps as usize);
    measure(sizes.timer_tasks * sizes.timer_sleeps, || {
        alone(async move {
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
        alone(async move {
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
        alone(async move {
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

fn cold(sizes: &Sizes) -> Sample {
    let hosts = sizes.cold_hosts;
    measure(sizes.cold_worlds, || {
        for seed in 0..sizes.cold_worlds {
            let mut world = world(seed);
            for host in 0..hosts {
                world.client(name(host), async move {
                    // Datagrams: cheaper here than connecting a stream.
                    let socket = UdpSocket::bind(ANY).await?;
                    let next = (name((host + 1) % hosts), PORT);
                    let mut message = [7; MESSAGE_LEN];
                    if host == 0 {
                        sleep(LATENCY).await;
                        socket.send_to(&message, next.clone()).await?;
                    }
                    socket.recv_from(&mut message).await?;
                    if host != 0 {
                        socket.send_to(&message, next).await?;
                    }
                    Ok(())
                });
            }
            world.run().expect(MUST);
        }
    })
}

fn idle(sizes: &Sizes) -> Sample {
    let time = Duration::from_secs(sizes.idle_seconds);
    measure(sizes.idle_seconds, || {
        let mut world = world(1);
        for host in 1..sizes.idle_hosts {
            world.host(name(host), std::future::pending);
        }
        world.client("clock", async move {
            sleep(time).await;
            Ok(())
        });
        world.run().expect(MUST);
    })
}

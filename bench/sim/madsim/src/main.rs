//! The rows on madsim: nodes, its TCP streams, its tasks and clock. Needs `--cfg madsim`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use madsim::Config;
use madsim::net::{Endpoint, TcpListener, TcpStream};
use madsim::runtime::Runtime;
use madsim::time::{Instant, sleep};
use orloj_bench_rows::{
    LATENCY, MESSAGE_LEN, Row, Sample, Sizes, durations, measure, measure_mesh,
};
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
const PORT: u16 = 7000;
/// Long enough for every listener to be bound.
const SETTLE: Duration = Duration::from_millis(50);

fn world(seed: u64) -> Runtime {
    let mut config = Config::default();
    // The range must not be empty.
    config.net.send_latency = LATENCY..LATENCY + Duration::from_nanos(1);
    Runtime::with_seed_and_config(seed, config)
}

fn ip(node: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + node as u32))
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::new(ip(node), PORT)
}

fn echo(sizes: &Sizes) -> Sample {
    let rounds = sizes.echo_rounds;
    measure(rounds, || {
        let world = world(1);
        let server = world.create_node().ip(ip(0)).build();
        let client = world.create_node().ip(ip(1)).build();
        server.spawn(async move {
            let listener = TcpListener::bind(address(0)).await.expect(MUST);
            let (mut stream, _) = listener.accept().await.expect(MUST);
            let mut message = [0; MESSAGE_LEN];
            for _ in 0..rounds {
                stream.read_exact(&mut message).await.expect(MUST);
                stream.write_all(&message).await.expect(MUST);
                stream.flush().await.expect(MUST);
            }
        });
        let client = client.spawn(async move {
            sleep(SETTLE).await;
            let mut stream = TcpStream::connect(address(0)).await.expect(MUST);
            let start = Instant::now();
            let mut message = [7; MESSAGE_LEN];
            for _ in 0..rounds {
                stream.write_all(&message).await.expect(MUST);
                stream.flush().await.expect(MUST);
                stream.read_exact(&mut message).await.expect(MUST);
            }
            assert!(start.elapsed() >= LATENCY * 2 * rounds as u32);
        });
        world.block_on(client).expect(MUST);
    })
}

fn mesh(sizes: &Sizes) -> Sample {
    let nodes = sizes.mesh_nodes;
    measure_mesh(sizes, |rounds| {
        let world = world(1);
        let mut done = Vec::new();
        for node in 0..nodes {
            let host = world.create_node().ip(ip(node)).build();
            done.push(host.spawn(async move {
                let listener = TcpListener::bind(address(node)).await.expect(MUST);
                let mut readers = Vec::new();
                for _ in 1..nodes {
                    let (mut stream, _) = listener.accept().await.expect(MUST);
                    readers.push(madsim::task::spawn(async move {
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
            done.push(host.spawn(async move {
                sleep(SETTLE).await;
                let mut streams = Vec::new();
                for peer in (0..nodes).filter(|peer| *peer != node) {
                    streams.push(TcpStream::connect(address(peer)).await.expect(MUST));
                }
                for _ in 0..rounds {
                    for stream in &mut streams {
                        stream.write_all(&[7; MESSAGE_LEN]).await.expect(MUST);
                        stream.flush().await.expect(MUST);
                    }
                    sleep(LATENCY).await;
                }
                // A dropped stream may lose what is still under way.
                sleep(LATENCY * 10).await;
            }));
        }
        world.block_on(async {
            for task in done {
                task.await.expect(MUST);
            }
        });
    })
}

fn timer(sizes: &Sizes) -> Sample {
    let (tasks, sleeps) = (sizes.timer_tasks, sizes.timer_sleeps as usize);
    measure(sizes.timer_tasks * sizes.timer_sleeps, || {
        world(1).block_on(async move {
            let mut handles = Vec::new();
            for task in 0..tasks {
                handles.push(madsim::task::spawn(async move {
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
        world(1).block_on(async move {
            let mut handles = Vec::new();
            for _ in 0..tasks {
                handles.push(madsim::task::spawn(async move {
                    for _ in 0..yields {
                        madsim::task::yield_now().await;
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
        world(1).block_on(async move {
            let mut handles = Vec::new();
            for _ in 0..tasks / batch {
                for _ in 0..batch {
                    handles.push(madsim::task::spawn(madsim::task::yield_now()));
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
            let world = world(seed);
            let mut done = Vec::new();
            for host in 0..hosts {
                let node = world.create_node().ip(ip(host)).build();
                done.push(node.spawn(async move {
                    // Datagrams: cheaper here than connecting a stream.
                    let endpoint = Endpoint::bind(address(host)).await.expect(MUST);
                    let next = address((host + 1) % hosts);
                    let mut message = [7; MESSAGE_LEN];
                    if host == 0 {
                        sleep(SETTLE).await;
                        endpoint.send_to(next, 0, &message).await.expect(MUST);
                    }
                    endpoint.recv_from(0, &mut message).await.expect(MUST);
                    if host != 0 {
                        endpoint.send_to(next, 0, &message).await.expect(MUST);
                    }
                }));
            }
            world.block_on(async {
                for task in done {
                    task.await.expect(MUST);
                }
            });
        }
    })
}

fn idle(sizes: &Sizes) -> Sample {
    let time = Duration::from_secs(sizes.idle_seconds);
    measure(sizes.idle_seconds, || {
        let world = world(1);
        for host in 0..sizes.idle_hosts {
            world.create_node().ip(ip(host)).build().spawn(std::future::pending::<()>());
        }
        world.block_on(async move { sleep(time).await });
    })
}

//! A seed means the same on every machine and at every optimisation level.

use std::time::Duration;

use orloj_kernel::{Context, Datagram};
use orloj_sim::{Config, Control, Crash, LinkFault, NetFaults, Report, Scheduler, Simulation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Goal: the same choices, events and times at every optimisation level and after every change that
/// is meant to be one of speed. Method: one hash over 100 seeds of a busy world in which everything
/// of the network, the clocks and the hosts goes wrong, compared with what it was. A change that is
/// meant to change what a seed means writes down the new number.
#[test]
fn a_hundred_seeds_have_their_hash() {
    let mut all = 0u64;
    let mut struck = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let report = run(seed);
        struck.extend(report.faults.injections().map(|(class, _)| class));
        assert!(report.events > 500, "seed {seed} saw only {} events", report.events);
        for part in [report.trace_hash, report.events, report.choices, report.virtual_ns] {
            all = (all ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
    }
    assert_eq!(struck.len(), 19, "of what can go wrong, only this did: {struck:?}");
    assert_eq!(all, GOLDEN, "0x{all:016x}");
}
const GOLDEN: u64 = 0x9809_3f55_a148_483c;

const HOSTS: [&str; 4] = ["a", "b", "c", "d"];

fn run(seed: u64) -> Report {
    let mut config = Config::seed(seed);
    config.scheduler = match seed % 4 {
        0 => Scheduler::Fifo,
        1 => Scheduler::Pct { depth: 3 },
        _ => Scheduler::Random,
    };
    config.poll_limit = 2_000_000;
    config.time_limit = Duration::from_secs(60);
    let mut sim = Simulation::new(config);
    for host in HOSTS {
        sim.host(host, |cx| async move {
            cx.spawn("datagrams", datagrams(cx));
            serve(cx).await;
        });
    }
    let driver = sim.idle_host("driver");
    let end = sim.run(driver, async move {
        let clients: Vec<_> = (0..6).map(|n| driver.spawn("client", client(driver, n))).collect();
        nemesis(driver).await;
        for client in clients {
            client.abort();
            let _ = client.await;
        }
    });
    end.unwrap();
    sim.finish()
}

/// Echoes what it is sent, one task to a connection.
async fn serve(cx: Context) {
    let mut listener = cx.listen("0.0.0.0:7").await.unwrap();
    while let Ok((mut stream, _)) = listener.accept().await {
        cx.spawn("echo", async move {
            let mut buf = [0; 3_000];
            while let Ok(n @ 1..) = stream.read(&mut buf).await {
                if stream.write_all(&buf[..n]).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// Sends to everybody now and then, and takes what comes.
async fn datagrams(cx: Context) {
    let socket: Datagram = cx.bind("0.0.0.0:9").await.unwrap();
    let mut buf = [0; 100];
    loop {
        for host in 1..=4 {
            let to = std::net::SocketAddr::from(([10, 0, 0, host], 9));
            let _ = socket.send_to(&[host; 20], to).await;
        }
        let until = cx.now() + Duration::from_millis(1 + cx.below(20));
        while cx.now() < until {
            let _ = cx.timeout(until - cx.now(), socket.recv_from(&mut buf)).await;
        }
    }
}

/// Talks to one host after the other, with short and long messages, and gives up at any error.
async fn client(cx: Context, n: u64) {
    loop {
        let host = HOSTS[cx.below(4) as usize];
        let talk = cx.timeout(Duration::from_millis(200), talk(cx, host, n));
        if !matches!(talk.await, Ok(Ok(()))) {
            cx.sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn talk(cx: Context, host: &str, n: u64) -> std::io::Result<()> {
    let stream = cx.connect(&format!("{host}:7")).await?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    for round in 0..5 {
        let len = [32, 64, 65, 200, 90_000][(round + n as usize) % 5];
        let message = vec![n as u8; len];
        let write = cx.spawn("write", async move {
            let done = writer.write_all(&message).await;
            (done, writer)
        });
        let mut back = vec![0; len];
        reader.read_exact(&mut back).await?;
        assert!(back.iter().all(|b| *b == n as u8), "bytes are not mixed up");
        let (done, again) = write.await.map_err(std::io::Error::other)?;
        done?;
        writer = again;
        cx.yield_now().await;
    }
    writer.shutdown().await
}

/// Everything that can go wrong with links, hosts and clocks, and then quiet.
async fn nemesis(cx: Context) {
    Control.set_net_faults(NetFaults {
        slow_tail_ppm: 1_000,
        stall_ppm: 1_000,
        stall_mean_ns: 2_000_000,
        partial_write_ppm: 20_000,
        partial_frame_ppm: 20_000,
        reset_ppm: 500,
        half_open_ppm: 500,
        connect_hang_ppm: 5_000,
        slow_reader_ppm: 20_000,
        loss_ppm: 20_000,
        duplicate_ppm: 20_000,
        reorder_ppm: 20_000,
        corrupt_ppm: 20_000,
    });
    for _ in 0..6 {
        let host = HOSTS[Control.between("host", 0, 3) as usize];
        match Control.between("fault", 0, 7) {
            0 => Control.crash(host, Crash::Process),
            1 => drop(Control.reset_connections("driver", host)),
            2 => Control.pause(host, Duration::from_millis(30)),
            3 => Control.kill_after_polls(host, 40, Crash::Process),
            4 => Control.link("driver", host, Some(LinkFault::Clog(3_000_000))),
            5 => Control.link(host, "driver", Some(LinkFault::Bandwidth(2_000_000))),
            6 => Control.partition(&["driver"], &[host]),
            _ => Control.drift_clock(host, 200_000_000),
        }
        cx.sleep(Duration::from_millis(20)).await;
        Control.restart(host);
        Control.link("driver", host, None);
        Control.link(host, "driver", None);
        cx.sleep(Duration::from_millis(10)).await;
    }
    Control.quiet();
    cx.sleep(Duration::from_millis(100)).await;
}

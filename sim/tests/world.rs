//! What a world promises: time, order, crashes, pauses, clocks, links, and the same run for a seed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use orloj_kernel::{Context, always, reachable, sometimes};
use orloj_sim::{
    Config, Control, Crash, Detail, Latency, LinkFault, NetFaults, Scheduler, Simulation,
    fault::FaultClass,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MS: Duration = Duration::from_millis(1);

async fn echo(cx: Context) {
    let mut listener = cx.listen("0.0.0.0:7").await.unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        cx.spawn("serve", async move {
            let mut buf = [0; 256];
            while let Ok(n @ 1..) = stream.read(&mut buf).await {
                if stream.write_all(&buf[..n]).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Echoes through resets, stalls and restarts until `n` round trips are done.
async fn stubborn_client(cx: Context, n: u64) -> u64 {
    let mut done = 0;
    let mut tries = 0;
    while done < n {
        tries += 1;
        let Ok(Ok(mut stream)) = cx.timeout(100 * MS, cx.connect("server:7")).await else {
            cx.sleep(10 * MS).await;
            continue;
        };
        while done < n {
            let mut buf = [0; 8];
            let trip = async {
                stream.write_all(&done.to_le_bytes()).await?;
                stream.read_exact(&mut buf).await
            };
            match cx.timeout(100 * MS, trip).await {
                Ok(Ok(_)) => {
                    always!(
                        cx,
                        u64::from_le_bytes(buf) == done,
                        "echo-is-exact",
                        "{buf:?} for {done}"
                    );
                    done += 1;
                }
                _ => break,
            }
        }
    }
    sometimes!(cx, tries > 1, "client-reconnected");
    tries
}

fn chaos(seed: u64, scheduler: Scheduler, detail: Detail) -> (u64, u64, orloj_sim::Report) {
    let mut config = Config::seed(seed);
    config.scheduler = scheduler;
    config.detail = detail;
    config.latency = Latency::Exponential { min: 50_000, mean: 500_000 };
    let mut sim = Simulation::new(config);
    sim.host("server", echo);
    let client = sim.idle_host("client");
    let faults = NetFaults {
        reset_ppm: 5_000,
        half_open_ppm: 3_000,
        stall_ppm: 5_000,
        stall_mean_ns: 20_000_000,
        partial_write_ppm: 50_000,
        partial_frame_ppm: 50_000,
        slow_reader_ppm: 50_000,
        slow_tail_ppm: 5_000,
        connect_hang_ppm: 10_000,
        ..NetFaults::default()
    };
    sim.control(|c| c.set_net_faults(faults));
    let tries = sim
        .run(client, async move {
            let nemesis = client.spawn("nemesis", async move {
                for _ in 0..10 {
                    client.sleep(50 * MS).await;
                    match Control.between("act", 0, 3) {
                        0 => Control.crash("server", Crash::Process),
                        1 => Control.pause("server", 30 * MS),
                        2 => Control.link("client", "server", Some(LinkFault::OneWay)),
                        _ => Control.kill_after_polls("server", 3, Crash::Power),
                    }
                    client.sleep(20 * MS).await;
                    Control.restart("server");
                    Control.link("client", "server", None);
                }
                Control.quiet();
                Control.restart("server");
            });
            let tries = stubborn_client(client, 300).await;
            nemesis.await.unwrap();
            tries
        })
        .unwrap();
    let report = sim.finish();
    (report.trace_hash, tries, report)
}

#[test]
fn a_seed_is_a_run_under_every_scheduler_and_detail() {
    let pct = Scheduler::Pct { depth: 3 };
    for scheduler in [Scheduler::Fifo, Scheduler::Random, pct, Scheduler::Pos] {
        for seed in 0..20 {
            let (hash, tries, report) = chaos(seed, scheduler, Detail::Hash);
            let (again, _, told) = chaos(seed, scheduler, Detail::Story);
            assert_eq!(hash, again, "seed {seed} under {scheduler}");
            assert!(tries >= 1 && report.story.is_empty() && !told.story.is_empty());
        }
    }
    assert_ne!(
        chaos(1, Scheduler::Random, Detail::Hash).0,
        chaos(2, Scheduler::Random, Detail::Hash).0
    );
}

#[test]
fn chaos_injects_what_it_enables() {
    let mut total = orloj_sim::fault::Faults::default();
    for seed in 0..60 {
        let (_, _, report) = chaos(seed, Scheduler::Random, Detail::Hash);
        for (class, n) in report.faults.injections() {
            (0..n).for_each(|_| total.count(class));
        }
    }
    use FaultClass as F;
    for class in [
        F::NetReset,
        F::NetHalfOpen,
        F::NetStall,
        F::NetPartialWrite,
        F::NetPartialFrame,
        F::NetSlowReader,
        F::NetSlowTail,
        F::NetConnectHang,
        F::NetOneWay,
        F::HostCrash,
        F::HostPause,
        F::HostKillAtAwait,
        F::HostPowerLoss,
    ] {
        assert!(total.injected(class) > 0, "{} never fired", class.name());
    }
}

#[test]
fn clocks_differ_drift_and_jump() {
    let mut sim = Simulation::new(Config::seed(1));
    let (a, b) = (sim.idle_host("a"), sim.idle_host("b"));
    sim.run(a, async move {
        Control.drift_clock("b", 100_000_000); // 10 % fast
        Control.jump_clock("b", -3_600_000_000, FaultClass::ClockJump);
        let (a0, b0, truth) = (a.now(), b.now(), Control.now());
        assert!(b.wall() < a.wall());
        b.sleep(Duration::from_secs(11)).await;
        assert!(b.now() - b0 >= Duration::from_secs(11));
        let passed = Control.now() - truth;
        assert!(passed >= Duration::from_secs(10) && passed < Duration::from_millis(10_010));
        assert_eq!(a.now() - a0, passed);
    })
    .unwrap();
    let report = sim.finish();
    assert_eq!(report.faults.injected(FaultClass::ClockDrift), 1);
}

#[test]
fn a_drift_that_changes_moves_a_waiting_timer() {
    let mut sim = Simulation::new(Config::seed(1));
    let cx = sim.idle_host("a");
    sim.run(cx, async move {
        let wait = cx.spawn("wait", async move { cx.sleep(Duration::from_secs(10)).await });
        cx.yield_now().await;
        Control.drift_clock("a", -500_000_000); // half speed from here
        wait.await.unwrap();
        assert!(Control.now().0 >= 19_999_000_000, "{:?}", Control.now());
    })
    .unwrap();
}

#[test]
fn a_paused_host_does_nothing_and_does_not_know_it() {
    let mut sim = Simulation::new(Config::seed(1));
    let ticks = Arc::new(AtomicU64::new(0));
    let counted = ticks.clone();
    sim.host("worker", move |cx| {
        let ticks = counted.clone();
        async move {
            let mut interval = cx.interval(MS);
            loop {
                interval.tick().await;
                ticks.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let cx = sim.idle_host("driver");
    sim.run(cx, async move {
        cx.sleep(10 * MS).await;
        Control.pause("worker", 100 * MS);
        let before = ticks.load(Ordering::Relaxed);
        cx.sleep(99 * MS).await;
        assert_eq!(ticks.load(Ordering::Relaxed), before);
        cx.sleep(20 * MS).await;
        assert!(ticks.load(Ordering::Relaxed) > before);
    })
    .unwrap();
}

#[test]
fn a_crash_takes_all_tasks_and_a_restart_runs_the_factory() {
    let mut sim = Simulation::new(Config::seed(1));
    let cx = sim.idle_host("driver");
    sim.host("server", echo);
    sim.run(cx, async move {
        cx.sleep(MS).await;
        let mut stream = cx.connect("server:7").await.unwrap();
        Control.crash("server", Crash::Power);
        assert!(!Control.is_up("server"));
        stream.write_all(b"into the void").await.unwrap();
        let mut buf = [0; 8];
        let silence = cx.timeout(Duration::from_secs(5), stream.read(&mut buf)).await;
        assert!(silence.is_err(), "a machine without power says nothing");
        Control.restart("server");
        stream.write_all(b"still there?").await.unwrap();
        assert!(
            stream.read(&mut buf).await.is_err(),
            "the new boot knows nothing of the connection"
        );
        assert_eq!(Control.boots("server"), 2);
        let mut fresh = cx.connect("server:7").await.unwrap();
        fresh.write_all(b"hello").await.unwrap();
        assert_eq!(fresh.read(&mut buf).await.unwrap(), 5);
    })
    .unwrap();
}

#[test]
fn a_host_that_dies_before_its_first_poll_boots_again() {
    let mut sim = Simulation::new(Config::seed(1));
    let cx = sim.idle_host("driver");
    sim.host("server", echo);
    sim.control(|c| {
        c.crash("server", Crash::Process);
        c.restart("server");
    });
    sim.run(cx, async move {
        cx.sleep(MS).await;
        cx.connect("server:7").await.unwrap();
    })
    .unwrap();
}

#[test]
fn a_partition_holds_streams_and_heals() {
    let mut sim = Simulation::new(Config::seed(1));
    let cx = sim.idle_host("driver");
    sim.host("server", echo);
    sim.run(cx, async move {
        cx.sleep(MS).await;
        let mut stream = cx.connect("server:7").await.unwrap();
        Control.partition(&["driver"], &["server"]);
        stream.write_all(b"held").await.unwrap();
        let mut buf = [0; 8];
        assert!(cx.timeout(Duration::from_secs(1), stream.read(&mut buf)).await.is_err());
        Control.quiet();
        assert_eq!(stream.read(&mut buf).await.unwrap(), 4);
        assert_eq!(&buf[..4], b"held");
    })
    .unwrap();
    assert!(sim.finish().faults.injected(FaultClass::NetPartition) > 0);
}

#[test]
fn failures_are_told_apart() {
    let law = |driver: fn(Context) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let mut config = Config::seed(1);
        config.time_limit = Duration::from_secs(10);
        let mut sim = Simulation::new(config);
        let cx = sim.idle_host("h");
        sim.run(cx, driver(cx)).unwrap_err()
    };
    let panic = law(|_| Box::pin(async { panic!("as asked") }));
    assert_eq!(panic.law, "panic");
    assert!(panic.evidence.starts_with("as asked at ") && panic.backtrace.is_some());
    assert_eq!(law(|_| Box::pin(std::future::pending())).law, "stalled");
    let endless = law(|cx| {
        Box::pin(async move {
            loop {
                cx.sleep(MS).await;
            }
        })
    });
    assert_eq!(endless.law, "out-of-time");
    let broken = law(|cx| Box::pin(async move { always!(cx, 1 + 1 == 3, "arithmetic") }));
    assert_eq!((broken.law.as_str(), &broken.evidence[..10]), ("arithmetic", "1 + 1 == 3"));
}

/// The attribute gives each seed a world of its own.
#[orloj_sim::test(seeds = 10)]
async fn datagrams_echo(cx: Context) {
    let socket = cx.bind("test:9").await.unwrap();
    let other = cx.bind("0.0.0.0:0").await.unwrap();
    other.send_to(b"ping", socket.local_addr().unwrap()).await.unwrap();
    let mut buf = [0; 8];
    let (n, from) = socket.recv_from(&mut buf).await.unwrap();
    assert_eq!((&buf[..n], from), (&b"ping"[..], other.local_addr().unwrap()));
    reachable!(cx, "datagram-echoed");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a thread outside of the world is the subject")]
fn a_thread_without_a_world_fails_loudly() {
    let mut sim = Simulation::new(Config::seed(1));
    let cx = sim.idle_host("h");
    let outcome = std::thread::spawn(move || cx.now()).join();
    let message = *outcome.unwrap_err().downcast::<&str>().unwrap();
    assert!(message.contains("no simulation runs on this thread"), "{message}");
}

#[test]
fn a_world_without_time_left_is_taken_down_with_its_streams_open() {
    let mut sim = Simulation::new(Config { time_limit: 100 * MS, ..Config::seed(3) });
    sim.host("server", echo);
    let cx = sim.idle_host("client");
    let ended = sim.run(cx, async move {
        let mut streams = Vec::new();
        for _ in 0..2 {
            let mut stream = cx.connect("server:7").await.unwrap();
            stream.write_all(b"x").await.unwrap();
            streams.push(stream);
        }
        cx.sleep(1_000 * MS).await;
        streams.len()
    });
    assert_eq!(ended.expect_err("its time is over").law, "out-of-time");
    assert!(sim.finish().virtual_ns >= 100_000_000);
}

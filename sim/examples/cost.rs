//! CPU nanoseconds per operation of the simulator's hot paths: `cargo run --release --example cost
//! [--once] [ROW..]`.

use std::time::Duration;

use orloj_kernel::Context;
use orloj_sim::{Config, Latency, Scheduler, Simulation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn cpu() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut t) };
    t.tv_sec as f64 * 1e9 + t.tv_nsec as f64
}

fn wanted(name: &str) -> bool {
    let mut names = std::env::args().skip(1).filter(|a| !a.starts_with('-')).peekable();
    names.peek().is_none() || names.any(|a| a == name)
}

/// How often a row is run. Once is enough where instructions are counted, which is exact.
fn times() -> u32 {
    if std::env::args().any(|a| a == "--once") { 1 } else { 5 }
}

fn row(name: &str, ops: u64, f: impl Fn()) {
    if !wanted(name) {
        return;
    }
    let best = (0..times())
        .map(|_| {
            let begun = cpu();
            f();
            (cpu() - begun) / ops as f64
        })
        .fold(f64::MAX, f64::min);
    println!("{name:<10} {best:9.1} ns");
}

fn config(scheduler: Scheduler) -> Config {
    let mut c = Config::seed(7);
    c.latency = Latency::Fixed(LATENCY.as_nanos() as u64);
    c.scheduler = scheduler;
    c
}

/// One way of every link, and the length of a round of the mesh.
const LATENCY: Duration = Duration::from_millis(1);
const MESSAGE: [u8; 64] = [7; 64];

/// The durations task `task` sleeps for: uniform from 1 ms to 1 s in steps of 1 us.
fn durations(task: u64) -> impl Iterator<Item = Duration> {
    let mut state = (task + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Duration::from_micros(1000 + (state >> 11) % 999_000)
    })
}

async fn echo_server(cx: Context) {
    let mut listener = cx.listen("0.0.0.0:7").await.unwrap();
    loop {
        let (mut s, _) = listener.accept().await.unwrap();
        cx.spawn("serve", async move {
            let mut buf = [0; 64];
            while let Ok(n @ 1..) = s.read(&mut buf).await {
                s.write_all(&buf[..n]).await.unwrap();
            }
        });
    }
}

fn echo(n: u64) {
    let mut sim = Simulation::new(config(Scheduler::Random));
    sim.host("server", echo_server);
    let client = sim.idle_host("client");
    sim.run(client, async move {
        let mut s = client.connect("server:7").await.unwrap();
        let mut buf = [0; 64];
        for _ in 0..n {
            s.write_all(&MESSAGE).await.unwrap();
            s.read_exact(&mut buf).await.unwrap();
            assert_eq!(buf, MESSAGE);
        }
    })
    .unwrap();
}

fn mesh(nodes: usize, rounds: u64) {
    let mut sim = Simulation::new(config(Scheduler::Random));
    for i in 0..nodes {
        sim.host(&format!("n{i}"), move |cx| async move {
            let mut listener = cx.listen("0.0.0.0:7").await.unwrap();
            let mut writers = Vec::new();
            cx.sleep(LATENCY).await;
            for j in 0..nodes {
                if j != i {
                    writers.push(cx.connect(&format!("n{j}:7")).await.unwrap());
                }
            }
            for _ in 1..nodes {
                let (mut s, _) = listener.accept().await.unwrap();
                cx.spawn("read", async move {
                    let mut buf = [0; 64];
                    while s.read_exact(&mut buf).await.is_ok() {
                        assert_eq!(buf[0], 7);
                    }
                });
            }
            for _ in 0..rounds {
                for w in &mut writers {
                    w.write_all(&MESSAGE).await.unwrap();
                }
                cx.sleep(LATENCY).await;
            }
            std::future::pending::<()>().await;
        });
    }
    let driver = sim.idle_host("driver");
    sim.run(driver, async move {
        driver.sleep(LATENCY * (3 * nodes as u32 + 2 * rounds as u32)).await;
    })
    .unwrap();
}

fn timers(tasks: u64, each: u64) {
    let mut sim = Simulation::new(config(Scheduler::Random));
    let cx = sim.idle_host("h");
    sim.run(cx, async move {
        let mut handles = Vec::new();
        for i in 0..tasks {
            handles.push(cx.spawn("sleeper", async move {
                for duration in durations(i).take(each as usize) {
                    cx.sleep(duration).await;
                }
            }));
        }
        for h in handles {
            h.await.unwrap();
        }
    })
    .unwrap();
}

fn yields(tasks: u64, each: u64) {
    let mut sim = Simulation::new(config(Scheduler::Random));
    let cx = sim.idle_host("h");
    sim.run(cx, async move {
        let mut handles = Vec::new();
        for _ in 0..tasks {
            handles.push(cx.spawn("yielder", async move {
                for _ in 0..each {
                    cx.yield_now().await;
                }
            }));
        }
        for h in handles {
            h.await.unwrap();
        }
    })
    .unwrap();
}

/// Tasks that live at once in the spawn row.
const BATCH: u64 = 1000;

fn spawns(n: u64, scheduler: Scheduler) {
    let mut sim = Simulation::new(config(scheduler));
    let cx = sim.idle_host("h");
    sim.run(cx, async move {
        let mut handles = Vec::with_capacity(BATCH as usize);
        for _ in 0..n / BATCH {
            for _ in 0..BATCH {
                handles.push(cx.spawn("short", async move { cx.yield_now().await }));
            }
            for handle in handles.drain(..) {
                handle.await.unwrap();
            }
        }
    })
    .unwrap();
}

fn cold() {
    let mut sim = Simulation::new(config(Scheduler::Random));
    for i in 0..5u64 {
        let name = ["a", "b", "c", "d", "e"][i as usize];
        let next = ["b:7", "c:7", "d:7", "e:7", "a:7"][i as usize];
        sim.host(name, move |cx| async move {
            let mut listener = cx.listen("0.0.0.0:7").await.unwrap();
            if i == 0 {
                let mut out = cx.connect(next).await.unwrap();
                out.write_all(b"ring").await.unwrap();
                let (mut s, _) = listener.accept().await.unwrap();
                let mut buf = [0; 8];
                s.read_exact(&mut buf[..4]).await.unwrap();
            } else {
                let (mut s, _) = listener.accept().await.unwrap();
                let mut buf = [0; 8];
                let n = s.read(&mut buf).await.unwrap();
                let mut out = cx.connect(next).await.unwrap();
                out.write_all(&buf[..n]).await.unwrap();
                std::future::pending::<()>().await;
            }
        });
    }
    let driver = sim.idle_host("driver");
    sim.run(driver, async move { driver.sleep(Duration::from_millis(50)).await }).unwrap();
}

fn mesh_row() {
    let (short, long) = (2, 22);
    let messages = 100 * 99 * (long - short);
    let best = (0..times())
        .map(|_| {
            let a = cpu();
            mesh(100, short);
            let b = cpu();
            mesh(100, long);
            ((cpu() - b) - (b - a)) / messages as f64
        })
        .fold(f64::MAX, f64::min);
    println!("{:<10} {best:9.1} ns", "mesh");
}

fn main() {
    row("echo", 200_000, || echo(200_000));
    if wanted("mesh") {
        mesh_row();
    }
    row("timer", 1_000_000, || timers(1000, 1000));
    row("yield", 1_000_000, || yields(1000, 1000));
    row("spawn", 1_000_000, || spawns(1_000_000, Scheduler::Random));
    row("spawn-fifo", 1_000_000, || spawns(1_000_000, Scheduler::Fifo));
    row("cold", 1000, || (0..1000).for_each(|_| cold()));
}

//! Steps of commands that a replay carries out again in a second, on one core, of a journal on a
//! machine's disk: `cargo run --release -p orloj-tests --example replay_cost DIR [thousands]...`.
//!
//! `DIR` must not be there, and is removed.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::time::Duration;

use orloj_db::{CommandLimits, Node, NodeConfig, Source, Until, replay};
use orloj_host::{Host, Options};
use orloj_kernel::Context;
use orloj_net::{Command, Expiry, envelope::Envelope};
use orloj_storage::verify::Offline;

/// As the daemon and the tool have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Processor time of this process, in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux says so");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

fn command(n: u64) -> Envelope {
    let key = format!("key {:06}", n.wrapping_mul(0x9e37_79b9) % 10_000);
    let call = match n % 4 {
        0 => Command::Get { key: key.into() },
        1 => Command::Incr { key: format!("n{}", n % 100).into(), by: 1 },
        _ => Command::Set {
            key: key.into(),
            value: vec![b'v'; 100].into(),
            expiry: Expiry::None,
            condition: None,
            get: false,
        },
    };
    Envelope::new(call).id(format!("command {n}"))
}

async fn measure(cx: Context, dir: &str, thousands: u64, together: u64) {
    let mut config = NodeConfig::new(dir, "127.0.0.1:0");
    config.durability = "buffered".parse().expect("a durability");
    config.commands = CommandLimits { session_rate: 0, global_rate: 0, ..config.commands };
    // No checkpoint, or what is replayed has been trimmed: one begins at half the cache.
    config.storage.checkpoint_bytes = 1 << 40;
    config.storage.cache_bytes = 1 << 40;
    config.storage.checkpoint_every = Duration::from_secs(1 << 30);
    let node = Node::start(config, cx).await.expect("it starts");
    let commands = node.commands();
    for from in (0..thousands * 1_000).step_by(together as usize) {
        let some = (from..from + together).map(command).collect();
        let outcomes = commands.send_all(some).await;
        assert!(outcomes.iter().all(Result::is_ok));
    }
    // As a process that dies leaves it.
    drop((commands, node));
    cx.sleep(Duration::from_secs(2)).await;
    for _ in 0..3 {
        let offline = Offline::open(cx, dir).await.expect("nobody has it open");
        let begun = cpu();
        let past = offline.past().await.expect("it is whole");
        let mut source = Source::Database(Box::new(past));
        let done = replay(&cx, &mut source, &Until::default(), &mut |_, _| {}).await;
        let done = done.expect("it can be read");
        assert_eq!(done.divergence, None);
        let seconds = cpu() - begun;
        println!(
            "{} commands, {together} a commit: {:.0} steps/s, {:.0} commands/s",
            done.commands,
            done.steps as f64 / seconds,
            done.commands as f64 / seconds,
        );
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().expect("a directory to make");
    let given: Vec<u64> = args.filter_map(|n| n.parse().ok()).collect();
    let host = Host::new(Options::new(".")).expect("a runtime");
    let cx = host.context();
    for thousands in if given.is_empty() { vec![100] } else { given } {
        for together in [1, 10, 100] {
            let place = dir.clone();
            cx.block_on(async move { measure(cx, &place, thousands, together).await });
            std::fs::remove_dir_all(&dir).expect("it was made");
        }
    }
}

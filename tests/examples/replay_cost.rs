//! Steps of commands that a replay carries out again in a second, on one core, of a journal in a
//! simulated directory: `cargo run --release -p orloj-tests --example replay_cost [thousands]...`.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::time::Duration;

use orloj_db::{CommandLimits, Node, NodeConfig, Source, Until, replay};
use orloj_net::{Command, Expiry, envelope::Envelope};
use orloj_sim::{Simulation, disk::DiskFaults, testing};
use orloj_storage::verify::Offline;

/// Nanoseconds this thread has spent on a processor.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says so");
    let first = stat.split_whitespace().next().and_then(|word| word.parse().ok());
    first.expect("its first word is a number")
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

fn measure(thousands: u64, together: u64) {
    let mut sim = Simulation::new(testing::config(1));
    let cx = sim.idle_host("node");
    sim.control(|c| c.set_disk_faults("node", DiskFaults::HONEST));
    let end = sim.run(cx, async move {
        let mut config = NodeConfig::new("data", "0.0.0.0:6379");
        config.commands = CommandLimits { session_rate: 0, global_rate: 0, ..config.commands };
        config.storage.checkpoint_bytes = 1 << 40;
        config.storage.checkpoint_every = Duration::from_secs(1 << 30);
        let node = Node::start(config, cx).await.expect("it starts");
        let commands = node.commands();
        for from in (0..thousands * 1_000).step_by(together as usize) {
            let some = (from..from + together).map(command).collect();
            let outcomes = commands.send_all(some).await;
            assert!(outcomes.iter().all(Result::is_ok));
        }
        drop((commands, node));
        cx.sleep(Duration::from_secs(1)).await;
        for _ in 0..3 {
            let offline = Offline::open(cx, "data").await.expect("nobody has it open");
            let begun = cpu();
            let past = offline.past().await.expect("it is whole");
            let mut source = Source::Database(Box::new(past));
            let done = replay(&cx, &mut source, &Until::default(), &mut |_, _| {}).await;
            let done = done.expect("it can be read");
            assert_eq!(done.divergence, None);
            let seconds = (cpu() - begun) as f64 / 1e9;
            println!(
                "{} commands, {together} a commit: {:.0} steps/s, {:.0} commands/s",
                done.commands,
                done.steps as f64 / seconds,
                done.commands as f64 / seconds,
            );
        }
    });
    end.expect("no law is broken");
}

fn main() {
    let given: Vec<u64> = std::env::args().skip(1).filter_map(|n| n.parse().ok()).collect();
    for thousands in if given.is_empty() { vec![100] } else { given } {
        for together in [1, 10, 100] {
            testing::on_fresh_thread(move || measure(thousands, together));
        }
    }
}

//! What commands in envelopes cost within the process, and what is kept of them:
//! `cargo run --release -p orloj-tests --example command_cost DIR [strict|buffered|in_memory]`.
//!
//! `DIR` must not be there. Fifty sessions send one command each at a time, as fifty clients would.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::time::Instant;

use orloj_db::{CommandLimits, Embedded, Node, NodeConfig};
use orloj_host::Host;
use orloj_net::{
    Command, Commands, Expiry,
    envelope::{Call, Envelope, Filter, Question},
};

const SESSIONS: u64 = 50;
const ROUNDS: u64 = 20_000;

/// As the daemon has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// CPU time of this process, in microseconds.
fn cpu() -> f64 {
    let clock = std::fs::read_to_string("/proc/self/stat").expect("Linux says so");
    let fields: Vec<&str> = clock.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) * 10_000.0
}

fn set(session: u64, round: u64) -> Envelope {
    let key = format!("key:{:06}", (session * 7_919 + round * 104_729) % 100_000);
    let command = Command::Set {
        key: key.into(),
        value: vec![b'x'; 16].into(),
        expiry: Expiry::None,
        condition: None,
        get: false,
    };
    Envelope::new(command)
}

async fn run(commands: &Embedded, what: &str, make: impl Fn(u64, u64) -> Envelope) {
    let (begun, before) = (Instant::now(), cpu());
    for round in 0..ROUNDS {
        let batch = (0..SESSIONS).map(|session| make(session, round)).collect();
        for outcome in commands.send_all(batch).await {
            assert!(outcome.expect("accepted").end.is_ok());
        }
    }
    let count = (ROUNDS * SESSIONS) as f64;
    let (took, used) = (begun.elapsed().as_micros() as f64, cpu() - before);
    println!("{what}: {:.2} us, {:.2} us of CPU a command", took / count, used / count);
}

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().expect("a directory to make");
    let durability = args.next().map_or("buffered".to_owned(), |name| name);
    let host = Host::new(orloj_host::Options::new(".")).expect("a runtime");
    let cx = host.context();
    cx.block_on(async move {
        let mut config = NodeConfig::new(dir, "127.0.0.1:0");
        config.durability = durability.parse().expect("a durability");
        config.commands = CommandLimits { session_rate: 0, global_rate: 0, ..config.commands };
        let node = Node::start(config, cx).await.expect("it starts");
        let commands = node.commands();
        for session in 0..SESSIONS {
            let make = Envelope::new(Call::CreateSession).session(format!("s{session}"));
            assert!(commands.send(make).await.expect("accepted").end.is_ok());
        }
        run(&commands, "without id and session", set).await;
        run(&commands, "in a session", |s, r| set(s, r).session(format!("s{s}"))).await;
        run(&commands, "in a session, with an id", |s, r| {
            set(s, r).session(format!("s{s}")).id(format!("id-{s}-{r}"))
        })
        .await;
        for filter in [
            Filter::default(),
            Filter { session: Some("s7".into()), ..Filter::default() },
            Filter { id: Some("id-7-77".into()), ..Filter::default() },
        ] {
            let begun = Instant::now();
            commands.ask(Question::History(filter)).await.expect("a history");
            println!("a page of the history: {:?}", begun.elapsed());
        }
        node.stop().await.expect("it stops");
    });
}

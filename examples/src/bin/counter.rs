//! The replicated counter on this machine: three hosts in one process, over loopback.

#![expect(clippy::print_stdout, reason = "a program that speaks to a person")]

use std::path::PathBuf;

use clap::Parser;
use orloj_examples::counter::{REPLICAS, add, node, read};
use orloj_host::{Host, Options, StartError};

/// Counts on three hosts.
#[derive(Parser)]
struct Arguments {
    /// Where the hosts keep their files, a folder each.
    #[arg(long, default_value = "target/counter")]
    data: PathBuf,
    /// How many increments to ask for.
    #[arg(long, default_value_t = 100)]
    increments: usize,
    /// The port of the first host; the others have the next ones.
    #[arg(long, default_value_t = 7411)]
    port: u16,
}

fn main() -> Result<(), StartError> {
    let Arguments { data, increments, port } = Arguments::parse();
    let client = Host::new(Options::new(data.join("client")))?;
    let addrs: [String; REPLICAS] =
        std::array::from_fn(|host| format!("127.0.0.1:{}", usize::from(port) + host));
    for me in 0..REPLICAS {
        let host = client.neighbour(data.join(me.to_string()))?.context();
        host.spawn("node", node(host, me, addrs.clone()));
    }
    let cx = client.context();
    cx.block_on(async {
        let mut acknowledged = 0;
        for turn in 0..increments {
            acknowledged += u64::from(add(&cx, &addrs[turn % REPLICAS]).await.is_some());
        }
        println!("{acknowledged} increments acknowledged");
        for addr in &addrs {
            println!("{addr} says {:?}", read(&cx, addr).await);
        }
    });
    Ok(())
}

//! Nodes for the suite: one on this machine, one in a simulation.

use orloj_db::{CommandLimits, Node, NodeConfig};
use orloj_host::{Host, Options};
use orloj_kernel::Context;
use orloj_sim::{Config, Simulation, testing};

fn config() -> NodeConfig {
    let mut config = NodeConfig::new("data", "127.0.0.1:0");
    config.native = Some("127.0.0.1:0".to_owned());
    config.commands = CommandLimits { session_rate: 0, global_rate: 0, ..Default::default() };
    config
}

async fn with_node<F: Future<Output = ()>>(cx: Context, body: fn(&Node, Context) -> F) {
    let node = Node::start(config(), cx).await.expect("it starts");
    body(&node, cx).await;
    node.stop().await.expect("it stops in order");
}

pub(crate) fn machine<F: Future<Output = ()>>(body: fn(&Node, Context) -> F) {
    let dir = tempfile::tempdir().expect("room for a test");
    let host = Host::new(Options::new(dir.path())).expect("a runtime");
    let cx = host.context();
    cx.block_on(with_node(cx, body));
}

pub(crate) fn simulated<F: Future<Output = ()> + Send + 'static>(body: fn(&Node, Context) -> F) {
    for seed in 0..4 {
        testing::on_fresh_thread(move || {
            let config: Config = testing::config(seed);
            let mut sim = Simulation::new(config);
            let cx = sim.idle_host("test");
            let outcome = sim.run(cx, with_node(cx, body));
            outcome.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        });
    }
}

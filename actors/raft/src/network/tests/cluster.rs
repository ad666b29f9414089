//! Three nodes of openraft over links, in worlds where the way between them breaks.

use std::{collections::BTreeMap, sync::Arc};

use openraft::{Raft, ServerState};
use openraft_rt::WatchReceiver;
use orloj_sim::{Crash, Failure, NetFaults, Report, Simulation, Traps, testing};

use super::{
    store::{Chain, Disk, Store},
    *,
};
use crate::{Timing, serve};

type Node = Raft<Types, Store>;

/// What tests know of the nodes.
#[derive(Clone, Default)]
struct Cluster {
    nodes: Arc<Mutex<BTreeMap<u64, (Node, Links)>>>,
    disks: Arc<Mutex<BTreeMap<u64, Store>>>,
    chain: Chain,
    /// Who led in which term.
    leaders: Arc<Mutex<BTreeMap<u64, u64>>>,
}

impl Cluster {
    fn node(&self, id: u64) -> Option<Node> {
        self.nodes.lock().unwrap().get(&id).map(|(node, _)| node.clone())
    }

    /// The leader of the greatest term, among those that are up and believe so.
    fn leader(&self) -> Option<(u64, u64)> {
        let nodes = self.nodes.lock().unwrap().clone();
        let mut newest = None;
        for (id, (node, _)) in nodes {
            let metrics = node.metrics();
            let metrics = metrics.borrow_watched();
            if metrics.state == ServerState::Leader && Control.is_up(&format!("n{id}")) {
                let term = metrics.current_term;
                let known = *self.leaders.lock().unwrap().entry(term).or_insert(id);
                assert_eq!(known, id, "two leaders in term {term}");
                newest = newest.max(Some((term, id)));
            }
        }
        newest
    }

    fn term(&self, id: u64) -> u64 {
        let node = self.node(id).unwrap();
        let watch = node.metrics();
        let metrics = watch.borrow_watched();
        metrics.current_term
    }

    /// Has the leader write `number`. Its index, if it is known to be written.
    async fn write(&self, cx: Context, number: u64) -> Option<u64> {
        let (_, leader) = self.leader()?;
        let node = self.node(leader)?;
        let record = number.to_le_bytes().to_vec();
        let written = node.client_write(Entry::data(number, record.into()));
        let written = cx.timeout(500 * MS, written).await.ok()?.ok()?;
        Some(written.log_id.index())
    }

    /// Writes until it is written. How long that took.
    async fn write_soon(&self, cx: Context, number: u64, most: Duration) -> Duration {
        let begun = cx.now();
        while self.write(cx, number).await.is_none() {
            let took = cx.now().since(begun);
            assert!(took < most, "nothing is written within {took:?}");
            cx.sleep(10 * MS).await;
        }
        cx.now().since(begun)
    }

    fn applied(&self, id: u64) -> Option<u64> {
        let disks = self.disks.lock().unwrap();
        disks[&id].disk().applied.map(|id| id.index())
    }
}

async fn boot(cx: Context, id: u64, cluster: Cluster) {
    let store = {
        let mut disks = cluster.disks.lock().unwrap();
        let blank = || Store {
            cx,
            disk: Arc::new(Mutex::new(Disk::default())),
            chain: cluster.chain.clone(),
        };
        let store = disks.entry(id).or_insert_with(blank);
        store.cx = cx;
        store.clone()
    };
    let standing = store.clone();
    let links = Links::new(cx, reception(cx, id), Arc::new(move || standing.standing()));
    let config = Arc::new(Timing::default().config("test").unwrap());
    let network = Network::new(links.clone());
    let raft = Raft::new(id, config, network, store.clone(), store).await.unwrap();
    cluster.nodes.lock().unwrap().insert(id, (raft.clone(), links.clone()));
    let listener = cx.listen("0.0.0.0:7400").await.unwrap();
    if id == 1 && !raft.is_initialized().await.unwrap() {
        let members: BTreeMap<u64, Peer> = (1..=3).map(|id| (id, peer(id))).collect();
        raft.initialize(members).await.unwrap();
    }
    links.serve(listener, serve::by(raft)).await;
}

fn three(config: Config) -> (Simulation, Context, Cluster) {
    // openraft keeps extensions in a map of the standard library, which draws its seed from the
    // machine, once a thread; nothing ever iterates it.
    let config = Config { traps: Traps::Virtualise, ..config };
    let (mut sim, cluster) = (Simulation::new(config), Cluster::default());
    for id in 1..=3 {
        let cluster = cluster.clone();
        sim.host(&format!("n{id}"), move |cx| boot(cx, id, cluster.clone()));
    }
    let client = sim.idle_host("client");
    (sim, client, cluster)
}

fn judge<F: Future<Output = ()> + Send + 'static>(
    config: Config,
    driver: impl FnOnce(Context, Cluster) -> F,
) -> (Result<(), Failure>, Report) {
    let (mut sim, client, cluster) = three(config);
    let driven = sim.run(client, driver(client, cluster.clone()));
    // What tests hold of a node goes before its world does.
    sim.control(|_| {
        cluster.nodes.lock().unwrap().clear();
        cluster.disks.lock().unwrap().clear();
    });
    (driven, sim.finish())
}

fn hold<F: Future<Output = ()> + Send + 'static>(
    config: Config,
    driver: impl FnOnce(Context, Cluster) -> F,
) -> Report {
    let (driven, report) = judge(config, driver);
    driven.unwrap_or_else(|failure| panic!("{}: {}", failure.law, failure.evidence));
    report
}

#[test]
fn a_cluster_forms_writes_and_replaces_a_leader_that_died() {
    for seed in 0..6 {
        hold(Config::seed(seed), |cx, cluster| async move {
            let formed = cluster.write_soon(cx, 1, 5_000 * MS).await;
            assert!(formed < 3_000 * MS, "{formed:?}");
            for number in 2..200 {
                cluster.write_soon(cx, number, 100 * MS).await;
            }
            for round in 0..4 {
                let (_, leader) = cluster.leader().unwrap();
                Control.crash(&format!("n{leader}"), Crash::Process);
                let gap = cluster.write_soon(cx, 1_000 + round, 2_000 * MS).await;
                assert!(gap > 500 * MS, "{gap:?}: nobody has waited for the old leader's lease");
                Control.restart(&format!("n{leader}"));
                let whole = || {
                    let newest = (1..=3).map(|id| cluster.applied(id)).max().unwrap();
                    (1..=3).all(|id| cluster.applied(id) == newest)
                };
                until(cx, "it has caught up", 3_000 * MS, whole).await;
            }
        });
    }
}

#[test]
fn leadership_is_handed_over_without_an_election_timeout() {
    hold(Config::seed(1), |cx, cluster| async move {
        cluster.write_soon(cx, 1, 5_000 * MS).await;
        for round in 0..6 {
            cx.sleep(1_500 * MS).await;
            let (_, leader) = cluster.leader().unwrap();
            let next = leader % 3 + 1;
            let node = cluster.node(leader).unwrap();
            node.trigger().transfer_leader(next).await.unwrap();
            let led = || cluster.leader().is_some_and(|(_, leader)| leader == next);
            let took = until(cx, "the next leads", 400 * MS, led).await;
            assert!(took < 300 * MS, "{took:?}");
            cluster.write_soon(cx, 10 + round, 500 * MS).await;
        }
    });
}

async fn cut_off(cx: Context, cluster: Cluster) {
    cluster.write_soon(cx, 1, 5_000 * MS).await;
    cx.sleep(1_000 * MS).await;
    let (term, leader) = cluster.leader().unwrap();
    let away = leader % 3 + 1;
    let names = ["n1", "n2", "n3"].map(str::to_owned);
    let others: Vec<&str> = names.iter().map(String::as_str).collect();
    let name = format!("n{away}");
    let others: Vec<&str> = others.into_iter().filter(|other| *other != name).collect();
    Control.partition(&[&name], &others);
    for number in 2..100 {
        cluster.write_soon(cx, number, 200 * MS).await;
        cx.sleep(100 * MS).await;
    }
    assert_eq!(cluster.term(away), term, "a pre-vote that nobody answers is not won");
    for other in others {
        Control.link(&name, other, None);
        Control.link(other, &name, None);
    }
    let newest = cluster.applied(leader);
    let caught_up = || cluster.applied(away) >= newest;
    let took = until(cx, "it has caught up", 4_000 * MS, caught_up).await;
    assert!(took < 2_500 * MS, "{took:?}");
    cx.sleep(5_000 * MS).await;
    assert_eq!(cluster.leader(), Some((term, leader)));
}

#[test]
fn who_comes_back_from_behind_a_cut_deposes_nobody() {
    hold(Config::seed(2), cut_off);
}

#[test]
fn a_way_that_grants_pre_votes_itself_is_found_out() {
    let mutant = Some("cluster.pre_vote_grants");
    let (driven, _) = judge(Config { mutant, ..Config::seed(2) }, cut_off);
    let evidence = driven.unwrap_err().evidence;
    assert!(evidence.contains("a pre-vote that nobody answers"), "{evidence}");
}

#[test]
fn a_peer_that_is_away_costs_little() {
    let polls = |is_away| {
        let report = hold(Config::seed(3), move |cx, cluster| async move {
            cluster.write_soon(cx, 1, 5_000 * MS).await;
            if is_away {
                let (_, leader) = cluster.leader().unwrap();
                Control.crash(&format!("n{}", leader % 3 + 1), Crash::Process);
            }
            cx.sleep(30_000 * MS).await;
        });
        report.polls
    };
    let (whole, away) = (polls(false), polls(true));
    assert!(away < 2 * whole, "{away} polls, and {whole} when all are there");
    // In 30 s.
    assert!(whole < 60_000, "{whole} polls");
}

/// For 30 s nodes die, links break in every way, and leaders are asked to hand over. Then a cluster
/// that is whole writes within a bounded time, and every node has done the same.
fn chaos(seed: u64) -> (u64, Report) {
    let written = Arc::new(AtomicU64::new(0));
    let count = written.clone();
    let config = Config { buggify: true, ..testing::config(seed) };
    let report = hold(config, move |cx, cluster| async move {
        Control.set_net_faults(NetFaults {
            slow_tail_ppm: 500,
            stall_ppm: 200,
            stall_mean_ns: 200_000_000,
            partial_write_ppm: 50_000,
            partial_frame_ppm: 50_000,
            reset_ppm: 300,
            half_open_ppm: 100,
            connect_hang_ppm: 50_000,
            slow_reader_ppm: 2_000,
            ..NetFaults::default()
        });
        let acked = Arc::new(Mutex::new(Vec::new()));
        let mut writers = Vec::new();
        for writer in 1..=3_u64 {
            let (cluster, acked) = (cluster.clone(), acked.clone());
            writers.push(cx.spawn("writer", async move {
                let end = cx.now() + 30_000 * MS;
                let mut number = writer << 32;
                while cx.now() < end {
                    number += 1;
                    if let Some(index) = cluster.write(cx, number).await {
                        acked.lock().unwrap().push((index, number));
                    }
                    cx.sleep(Duration::from_millis(cx.below(40))).await;
                }
            }));
        }
        let mut down = None;
        for _ in 0..30 {
            cx.sleep(Duration::from_millis(300 + cx.below(1_200))).await;
            let (one, other) = (1 + cx.below(3), 1 + cx.below(2));
            let (a, b) = (format!("n{one}"), format!("n{}", (one + other - 1) % 3 + 1));
            match cx.below(10) {
                0 => Control.link(&a, &b, Some(LinkFault::Cut)),
                1 => Control.link(&a, &b, Some(LinkFault::OneWay)),
                2 => Control.link(&a, &b, Some(LinkFault::Clog(60_000_000))),
                3 => Control.link(&a, &b, Some(LinkFault::Bandwidth(100_000))),
                4 => drop(Control.reset_connections(&a, &b)),
                5 if down.is_none() => {
                    Control.crash(&a, Crash::Process);
                    down = Some(a);
                }
                6 => down.take().iter().for_each(|name| Control.restart(name)),
                7 => Control.pause(&a, Duration::from_millis(cx.below(2_000))),
                8 => {
                    if let Some((_, leader)) = cluster.leader()
                        && let Some(node) = cluster.node(leader)
                    {
                        let _ = node.trigger().transfer_leader(one).await;
                    }
                }
                _ => {
                    for (from, to) in [(1, 2), (2, 3), (3, 1), (2, 1), (3, 2), (1, 3)] {
                        Control.link(&format!("n{from}"), &format!("n{to}"), None);
                    }
                }
            }
        }
        for writer in writers {
            writer.await.unwrap();
        }
        down.iter().for_each(|name| Control.restart(name));
        Control.set_net_faults(NetFaults::default());
        Control.quiet();
        cluster.write_soon(cx, 1, 6_000 * MS).await;
        let whole = || {
            let newest = (1..=3).map(|id| cluster.applied(id)).max().unwrap();
            (1..=3).all(|id| cluster.applied(id) == newest)
        };
        until(cx, "all have done the same", 6_000 * MS, whole).await;
        let chain = cluster.chain.lock().unwrap();
        for (index, number) in acked.lock().unwrap().iter() {
            let done = &chain[index].1;
            assert!(done.ends_with(&number.to_le_bytes()), "{number} at {index} was taken back");
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    (written.load(Ordering::Relaxed), report)
}

#[test]
fn whatever_breaks_what_was_written_stays() {
    for seed in 0..6 {
        let (written, _) = chaos(seed);
        assert!(written > 50, "seed {seed}: {written}");
    }
}

#[test]
fn a_seed_is_one_story() {
    let story = || testing::on_fresh_thread(|| chaos(1).1.trace_hash);
    assert_eq!(story(), story());
}

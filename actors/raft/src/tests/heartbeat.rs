//! What a disk that stands still does to a leader's heartbeats, of which the log's own page tells.
//!
//! One real leader; its peers are a script that accepts everything at once.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use openraft::{
    Raft, RaftNetworkFactory, RaftNetworkV2,
    errors::{RPCError, ReplicationClosed, StreamingError},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
    },
    type_config::alias::SnapshotOf,
};
use orloj_kernel::{Context, Instant};
use orloj_sim::{
    Config, Control, Simulation, Traps,
    testing::{config, on_fresh_thread},
};
use orloj_storage::Retention;

use super::open;
use crate::{
    Entry, Peer, Timing,
    codec::Vote,
    machine::{Image, Machine},
    types::Types,
};

const NODE: &str = "node";

/// When the leader sent a heartbeat to node 2.
type Beats = Arc<Mutex<Vec<Instant>>>;

struct Peers {
    cx: Context,
    beats: Beats,
}

/// The way to a peer that accepts everything; notes when it was used, if anybody wants to know.
struct Willing {
    cx: Context,
    beats: Option<Beats>,
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Willing;

    async fn new_client(&mut self, _: u64, _: &Peer) -> Willing {
        Willing { cx: self.cx, beats: None }
    }

    async fn new_heartbeat_client(&mut self, target: u64, _: &Peer) -> Willing {
        Willing { cx: self.cx, beats: (target == 2).then(|| self.beats.clone()) }
    }
}

impl RaftNetworkV2<Types> for Willing {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        if let Some(beats) = &self.beats {
            beats.lock().expect("nobody panics").push(self.cx.now());
        }
        Ok(AppendEntriesResponse::Success)
    }

    async fn vote(
        &mut self,
        asked: VoteRequest<Types>,
        _: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(VoteResponse::new(asked.vote, None, true))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        _: SnapshotOf<Types, Image>,
        _: impl Future<Output = ReplicationClosed> + Send + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Ok(SnapshotResponse::new(vote))
    }
}

/// The longest time without a heartbeat while the disk of a leader stands still for three seconds
/// and it is given so many entries of so many bytes.
async fn silence(cx: Context, count: u64, bytes: usize) -> Duration {
    let (db, log, machine) = open(cx, "db").await;
    let data = db.create_keyspace("data", Retention::default()).await.expect("it is new");
    let beats = Beats::default();
    let timing = Timing::default().config("test").expect("it makes sense");
    let peers = Peers { cx, beats: beats.clone() };
    let raft: Raft<Types, Machine> =
        Raft::new(1, Arc::new(timing), peers, log, machine).await.expect("it starts");
    let peer = |id| (id, Peer { name: format!("n{id}"), address: format!("h{id}:1") });
    let members: BTreeMap<u64, Peer> = (1..=3).map(peer).collect();
    raft.initialize(members).await.expect("it is empty");
    while raft.current_leader().await != Some(1) {
        cx.sleep(Duration::from_millis(50)).await;
    }
    cx.sleep(Duration::from_millis(500)).await;
    let from = cx.now();
    Control.stall_disk(NODE, Duration::from_secs(3));
    let proposing = cx.spawn("proposing", {
        let raft = raft.clone();
        async move {
            for turn in 1..=count {
                let value = vec![turn as u8; bytes];
                let mut batch = db.batch(db.last_assigned());
                batch.put(&data, b"key", &value, None);
                batch.applied(turn);
                let entry = Entry::data(turn, Bytes::from(batch.record()));
                raft.client_write_ff(entry, None).await.expect("it runs");
                cx.sleep(Duration::from_millis(10)).await;
            }
        }
    });
    cx.sleep(Duration::from_secs(3)).await;
    let to = cx.now();
    proposing.await.expect("it goes on");
    raft.shutdown().await.expect("it ran");
    let beats = beats.lock().expect("nobody panics");
    let mut within: Vec<Instant> = vec![from];
    within.extend(beats.iter().filter(|at| (from..to).contains(*at)));
    within.push(to);
    within.windows(2).map(|pair| pair[1] - pair[0]).max().expect("there are two")
}

/// The least and the most of that in a few worlds.
fn silences(count: u64, bytes: usize) -> (Duration, Duration) {
    let world = |seed| {
        on_fresh_thread(|| {
            // openraft has a hash table, which nobody walks, with the library's own hasher.
            let mut sim = Simulation::new(Config { traps: Traps::Virtualise, ..config(seed) });
            let cx = sim.idle_host(NODE);
            sim.run(cx, silence(cx, count, bytes))
                .unwrap_or_else(|failure| panic!("{seed}: {failure}"))
        })
    };
    let silences: Vec<Duration> = (0..4).map(world).collect();
    (*silences.iter().min().expect("some"), *silences.iter().max().expect("some"))
}

#[test]
fn a_disk_that_stands_still_stops_no_heartbeat() {
    let (_, most) = silences(250, 1_000);
    assert!(most < Duration::from_millis(250), "{most:?}");
}

#[test]
fn a_leader_whose_disk_makes_no_room_falls_silent() {
    let (least, _) = silences(24, 1_000_000);
    assert!(least > Duration::from_millis(1_500), "{least:?}");
}

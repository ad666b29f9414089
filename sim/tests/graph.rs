//! Recording who caused what: that it changes nothing, and that causes are right.

use std::time::Duration;

use orloj_kernel::{Actor, Context, OpenMode, Stop as OrderlyStop};
use orloj_sim::{
    Config, Control, Crash, Detail, Fork, NetFaults, Report, Simulation, Stop,
    graph::{Event, Graph, Kind},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server that writes what it hears to its disk and answers; crashes, faults and all.
async fn serve(cx: Context) {
    let mut listener = cx.listen("0.0.0.0:7").await.unwrap();
    let Ok(file) = cx.open("log", OpenMode::Create).await else { return };
    let mut at = file.size().await.unwrap_or(0);
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        let mut word = [0; 4];
        while stream.read_exact(&mut word).await.is_ok() {
            let written =
                file.write_at(at, word.to_vec()).await.is_ok() && file.sync().await.is_ok();
            if !written || stream.write_all(&word).await.is_err() {
                break;
            }
            at += 4;
            cx.trace("server", format_args!("kept {word:?}"));
        }
    }
}

async fn ask(cx: Context, number: u64) {
    Control.tell_of(Kind::Begin, number, "client", &format!("asks {number}"));
    let asked = async {
        let mut stream = cx.connect("server:7").await?;
        stream.write_all(b"word").await?;
        stream.read_exact(&mut [0; 4]).await
    };
    let asked = cx.timeout(Duration::from_millis(300), asked).await;
    let said = if matches!(asked, Ok(Ok(_))) { "heard" } else { "gave up" };
    Control.tell_of(Kind::End, number, "client", &format!("{said} {number}"));
}

fn run(seed: u64, change: impl FnOnce(&mut Config)) -> Report {
    let mut config = Config::seed(seed);
    change(&mut config);
    let mut sim = Simulation::new(config);
    sim.host("server", serve);
    let client = sim.idle_host("client");
    let faults =
        NetFaults { partial_frame_ppm: 300_000, reset_ppm: 20_000, ..NetFaults::default() };
    sim.control(|control| control.set_net_faults(faults));
    let ended = sim.run(client, async move {
        for number in 0..20 {
            ask(client, number).await;
            if number % 7 == 6 {
                Control
                    .crash("server", if number % 2 == 0 { Crash::Power } else { Crash::Process });
                Control.restart("server");
            }
        }
    });
    assert!(ended.is_ok() || ended.unwrap_err().law == Stop::LAW);
    sim.finish()
}

fn graph(seed: u64) -> Graph {
    run(seed, |config| config.detail = Detail::Graph).graph.unwrap()
}

#[test]
fn recording_changes_nothing() {
    for seed in 0..40 {
        let plain = run(seed, |_| ());
        let recorded = run(seed, |config| {
            (config.detail, config.record, config.packets) = (Detail::Graph, true, true);
        });
        assert_eq!(plain.trace_hash, recorded.trace_hash, "seed {seed}");
        assert_eq!((plain.polls, plain.events), (recorded.polls, recorded.events));
        assert_eq!((plain.choices, plain.virtual_ns), (recorded.choices, recorded.virtual_ns));
        assert!(plain.graph.is_none() && recorded.graph.unwrap().packets.len() > 20);
    }
}

fn path(graph: &Graph, from: u32, to: u32) -> bool {
    graph.cone(&[to]).iter().any(|(event, _)| *event == from)
}

fn find(graph: &Graph, wanted: impl Fn(&Event) -> bool) -> Vec<u32> {
    let ids = 0..graph.events.len() as u32;
    ids.filter(|id| wanted(&graph.events[*id as usize])).collect()
}

#[test]
fn causes_come_before_and_reach_from_the_question_to_the_answer() {
    let graph = graph(3);
    for (id, event) in (0u32..).zip(&graph.events) {
        for cause in graph.causes(id) {
            assert!(*cause < id && graph.events[*cause as usize].at <= event.at);
        }
    }
    assert!(graph.events.is_sorted_by_key(|event| event.at));
    let heard = find(&graph, |e| e.text.starts_with("heard"));
    assert!(heard.len() > 10, "{}", heard.len());
    for id in heard {
        let begun = graph.events[id as usize].of.unwrap();
        assert_eq!(graph.events[begun as usize].kind, Kind::Begin);
        let cone: Vec<u32> = graph.cone(&[id]).into_iter().map(|(event, _)| event).collect();
        // The answer rests on what the server kept, which it synced for this very question.
        let within =
            |kind| cone.iter().any(|e| *e > begun && graph.events[*e as usize].kind == kind);
        assert!(within(Kind::Synced) && within(Kind::Deliver), "{:?}", graph.events[id as usize]);
    }
}

#[test]
fn a_delivery_rests_on_its_send_and_a_boot_on_the_crash() {
    let graph = graph(5);
    for id in find(&graph, |e| e.kind == Kind::Deliver && e.text.contains("word")) {
        let sent = &graph.events[graph.events[id as usize].of.unwrap() as usize];
        assert_eq!(sent.kind, Kind::Send);
        assert_ne!(sent.host, graph.events[id as usize].host);
        assert!(sent.at < graph.events[id as usize].at);
    }
    let crashes = find(&graph, |e| e.kind == Kind::Crash);
    assert_eq!(crashes.len(), 2);
    for crash in crashes {
        let boot = find(&graph, |e| e.kind == Kind::Boot).into_iter().find(|b| *b > crash);
        assert!(path(&graph, crash, boot.unwrap()));
        // What is written after it lies where it was written before it.
        let writes = find(&graph, |e| e.kind == Kind::DiskDone && e.text.starts_with("write log"));
        let after = writes.iter().find(|w| **w > crash).unwrap();
        assert!(path(&graph, writes[0], *after));
    }
    let faults = find(&graph, |e| e.kind == Kind::Fault && e.text.starts_with("net-"));
    assert!(!faults.is_empty());
}

#[test]
fn a_run_stops_where_it_is_told_to() {
    let record = |stop| run(3, |c| (c.detail, c.stop) = (Detail::Graph, Some(stop)));
    let whole = graph(3);
    let at = record(Stop::At(50_000_000));
    assert!(at.virtual_ns <= 50_100_000);
    let text = record(Stop::Text("heard 4".to_owned())).graph.unwrap();
    assert_eq!(text.events.last().unwrap().text, "heard 4");
    let number = record(Stop::Event(77)).graph.unwrap();
    assert_eq!(number.events[..=77], whole.events[..=77]);
    assert!(number.events.len() < whole.events.len());
}

#[test]
fn a_fork_has_the_same_past_and_another_future() {
    let whole = graph(3);
    let middle = whole.events[whole.events.len() / 2].at;
    let fork = |seed| {
        let forks = vec![Fork { at: middle, seed }];
        run(3, |c| (c.detail, c.forks) = (Detail::Graph, forks.clone())).graph.unwrap()
    };
    for seed in 1..4 {
        let other = fork(seed);
        let same = whole.events.iter().zip(&other.events).take_while(|(a, b)| a == b).count();
        assert!(same < whole.events.len());
        assert!(whole.events[same].at >= middle, "parted at {}", whole.events[same].at);
        assert_eq!(other.events, fork(seed).events);
    }
}

/// Takes long over each batch, so that messages wait for it.
struct Slow;

impl Actor for Slow {
    type Msg = u64;
    const NAME: &'static str = "slow";

    async fn turn(&mut self, batch: &mut Vec<u64>, cx: &Context) -> Result<(), OrderlyStop> {
        for number in batch.drain(..) {
            cx.trace("slow", format_args!("has {number}"));
        }
        cx.sleep(Duration::from_millis(5)).await;
        Ok(())
    }
}

#[test]
fn a_message_to_an_actor_that_is_busy_is_a_cause_though_it_wakes_nobody() {
    let mut config = Config::seed(1);
    config.detail = Detail::Graph;
    let mut sim = Simulation::new(config);
    let host = sim.idle_host("host");
    let ran = sim.run(host, async move {
        let slow = host.start(Slow);
        for number in 0..8 {
            let slow = slow.clone();
            host.spawn("sender", async move {
                host.sleep(Duration::from_millis(number)).await;
                host.trace("sender", format_args!("sends {number}"));
                slow.send(number).await.unwrap();
            });
        }
        host.sleep(Duration::from_millis(60)).await;
    });
    ran.unwrap();
    let graph = sim.finish().graph.unwrap();
    for number in 0..8 {
        let the = |text: String| find(&graph, |e| e.text == text)[0];
        let (sent, had) = (the(format!("sends {number}")), the(format!("has {number}")));
        assert!(path(&graph, sent, had), "message {number}");
        // What is sent later is no cause.
        if number < 7 {
            assert!(!path(&graph, the(format!("sends {}", number + 1)), sent));
        }
    }
}

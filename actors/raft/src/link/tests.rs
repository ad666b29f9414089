mod chaos;
mod strangers;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use orloj_kernel::Context;
use orloj_net::peer::{Channel, Member, Position, Reason, Reception};
use orloj_sim::{Config, Control, LinkFault, Simulation};

use super::{AskError, Call, Disk, Handler, Line, Links};
use crate::Peer;

pub(crate) const MS: Duration = Duration::from_millis(1);
/// What a handler never answers.
const HANG: &[u8] = b"hang";

pub(crate) fn reception(cx: Context, id: u64) -> Reception {
    let member = |id| (id, Member { name: format!("n{id}"), term: 0 });
    Reception {
        cluster: [7; 32],
        id,
        name: format!("n{id}"),
        incarnation: cx.entropy(),
        release: "test".to_owned(),
        entries: (1, 1),
        members: (1..=3).map(member).collect(),
        removed: [9].into(),
    }
}

pub(crate) fn peer(id: u64) -> Peer {
    Peer { name: format!("n{id}"), address: format!("n{id}:7400") }
}

/// A disk of which the node has voted in `term`.
pub(crate) fn disk(term: u64) -> Disk {
    Arc::new(move || (term, Some(Position { term, index: 1 })))
}

fn blank() -> Disk {
    Arc::new(|| (0, None))
}

/// Answers with what it was asked.
fn echo() -> Handler {
    Arc::new(|call: Call| {
        Box::pin(async move {
            match &call.payload[..] {
                HANG => std::future::pending().await,
                b"fail" => Err("no".to_owned()),
                _ => Ok(call.payload),
            }
        })
    })
}

pub(crate) async fn open(cx: Context, links: &Links, handler: Handler) {
    let listener = cx.listen("0.0.0.0:7400").await.unwrap();
    let links = links.clone();
    cx.spawn("door", async move { links.serve(listener, handler).await });
}

/// Nodes 1 to 3, each with its door open.
async fn three(at: [Context; 3]) -> [Links; 3] {
    let mut all = Vec::new();
    for (number, cx) in at.into_iter().enumerate() {
        let one = Links::new(cx, reception(cx, number as u64 + 1), blank());
        open(cx, &one, echo()).await;
        all.push(one);
    }
    all.try_into().unwrap()
}

async fn ask(
    cx: Context,
    line: &Line,
    channel: Channel,
    payload: impl Into<Bytes>,
) -> Option<Result<Bytes, AskError>> {
    let answer = line.ask(channel, payload.into());
    cx.timeout(5_000 * MS, answer).await.ok().map(|it| it.unwrap())
}

/// Waits until `holds`, and says how long it took.
pub(crate) async fn until(
    cx: Context,
    what: &str,
    most: Duration,
    holds: impl Fn() -> bool,
) -> Duration {
    let begun = cx.now();
    while !holds() {
        assert!(cx.now().since(begun) < most, "{what}: not within {most:?}");
        cx.sleep(5 * MS).await;
    }
    cx.now().since(begun)
}

pub(crate) fn world(config: Config) -> (Simulation, [Context; 3]) {
    let mut sim = Simulation::new(config);
    let at = ["n1", "n2", "n3"].map(|name| sim.idle_host(name));
    (sim, at)
}

fn run<F: Future<Output = ()> + Send + 'static>(driver: impl FnOnce([Context; 3]) -> F) {
    let (mut sim, at) = world(Config::seed(1));
    sim.run(at[0], driver(at)).unwrap();
}

#[test]
fn what_is_asked_is_answered_on_every_channel() {
    run(|at| async move {
        let [one, ..] = three(at).await;
        let line = one.line(2, &peer(2));
        for channel in Channel::ALL {
            for len in [0, 1, 65_535, 65_536, 65_537, 10 << 20] {
                let payload = Bytes::from(vec![len as u8; len]);
                let answer = ask(at[0], &line, channel, payload.clone()).await;
                assert!(answer == Some(Ok(payload)), "{channel:?}, {len} bytes");
            }
            let failed = ask(at[0], &line, channel, &b"fail"[..]).await;
            assert_eq!(failed, Some(Err(AskError::Failed("no".to_owned()))));
        }
        let long = line.ask(Channel::Append, vec![0; 65 << 20].into()).await;
        assert!(matches!(long, Ok(Err(AskError::Down(_)))));
        let status = &one.status()[&2];
        assert!(status.is_up && status.connections == 1);
        assert!(status.round_trip.is_some_and(|time| time > MS / 10 && time < 5 * MS));
    });
}

#[test]
fn signs_of_life_overtake_entries() {
    run(|at| async move {
        let [one, ..] = three(at).await;
        let line = one.line(2, &peer(2));
        assert!(ask(at[0], &line, Channel::Control, &b"x"[..]).await.is_some());
        // 10 MB take a second.
        Control.link("n1", "n2", Some(LinkFault::Bandwidth(10_000_000)));
        let answers: Vec<_> =
            (0..10).map(|_| line.ask(Channel::Append, vec![1; 1_000_000].into())).collect();
        let snapshot = line.ask(Channel::Snapshot, vec![1; 1_000_000].into());
        let begun = at[0].now();
        let mut most = Duration::ZERO;
        for _ in 0..40 {
            let asked = at[0].now();
            let answer = ask(at[0], &line, Channel::Control, &b"alive"[..]).await;
            assert_eq!(answer, Some(Ok(Bytes::from_static(b"alive"))));
            most = most.max(at[0].now().since(asked));
            at[0].sleep(10 * MS).await;
        }
        let took = at[0].now().since(begun);
        assert!(took < 1_000 * MS, "the entries were still under way: {took:?}");
        // Three frames, and what the connection itself holds.
        assert!(most < 40 * MS, "{most:?}");
        for answer in answers.into_iter().chain([snapshot]) {
            assert_eq!(answer.await.unwrap().unwrap().len(), 1_000_000);
        }
        assert!(at[0].now().since(begun) > 1_000 * MS);
    });
}

#[test]
fn a_peer_that_stands_still_holds_up_nobody_else() {
    run(|at| async move {
        let [one, ..] = three(at).await;
        let (two, three) = (one.line(2, &peer(2)), one.line(3, &peer(3)));
        for line in [&two, &three] {
            assert!(ask(at[0], line, Channel::Control, &b"x"[..]).await.is_some());
        }
        Control.pause("n2", 10_000 * MS);
        let begun = at[0].now();
        let stuck: Vec<_> = (0..20)
            .map(|number: usize| {
                let channel = Channel::ALL[number % 4];
                two.ask(channel, vec![0; 1_000_000].into())
            })
            .collect();
        while at[0].now().since(begun) < 8_000 * MS {
            let asked = at[0].now();
            let answer = ask(at[0], &three, Channel::Append, &b"x"[..]).await;
            assert!(answer.is_some_and(|answer| answer.is_ok()));
            assert!(at[0].now().since(asked) < 10 * MS);
            at[0].sleep(7 * MS).await;
        }
        for answer in stuck {
            let answer = answer.await.unwrap();
            assert!(matches!(answer, Err(AskError::Lost(_) | AskError::Down(_))), "{answer:?}");
        }
        let is_back = until(at[0], "two is back", 10_000 * MS, || one.status()[&2].is_up).await;
        assert!(is_back < 4_000 * MS, "{is_back:?}");
    });
}

#[test]
fn an_open_end_without_another_is_noticed() {
    run(|at| async move {
        let [one, two, _] = three(at).await;
        let line = one.line(2, &peer(2));
        let back = two.line(1, &peer(1));
        assert!(ask(at[0], &line, Channel::Control, &b"x"[..]).await.is_some());
        assert!(ask(at[1], &back, Channel::Control, &b"x"[..]).await.is_some());
        for fault in [LinkFault::OneWay, LinkFault::Cut] {
            // Nothing passes from the first to the second; the other way is open.
            Control.link("n1", "n2", Some(fault));
            let answer = line.ask(Channel::Append, Bytes::from_static(b"x"));
            let took = until(at[0], "both notice", 3_000 * MS, || {
                !one.status()[&2].is_up && !two.status()[&1].is_up
            });
            let took = took.await;
            assert!(took > 900 * MS && took < 1_600 * MS, "{took:?}");
            assert!(matches!(answer.await, Ok(Err(AskError::Lost(_)))));
            at[0].sleep(30_000 * MS).await;
            // While it rests, it fails at once; while it dials, it waits.
            let asked = at[0].now();
            let answer = ask(at[0], &line, Channel::Control, &b"x"[..]).await;
            assert!(matches!(answer, Some(Err(AskError::Down(_)))), "{answer:?}");
            assert!(at[0].now().since(asked) < 2_000 * MS);
            Control.link("n1", "n2", None);
            let whole = || one.status()[&2].is_up && two.status()[&1].is_up;
            until(at[0], "both are back", 2_500 * MS, whole).await;
        }
    });
}

#[test]
fn a_peer_that_never_answers_is_asked_a_bounded_number_of_times() {
    run(|at| async move {
        let asked = Arc::new(AtomicU64::new(0));
        let counter = asked.clone();
        let count: Handler = Arc::new(move |_: Call| {
            counter.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::pending())
        });
        let two = Links::new(at[1], reception(at[1], 2), blank());
        open(at[1], &two, count).await;
        let one = Links::new(at[0], reception(at[0], 1), blank());
        let line = one.line(2, &peer(2));
        let answers: Vec<_> =
            (0..1_000).map(|_| line.ask(Channel::Append, Bytes::from_static(HANG))).collect();
        at[0].sleep(1_000 * MS).await;
        assert_eq!(asked.load(Ordering::Relaxed), 64);
        assert!(one.status()[&2].is_up, "it lives, and pongs");
        // Another channel has room of its own.
        let _other = line.ask(Channel::Control, Bytes::from_static(HANG));
        at[0].sleep(1_000 * MS).await;
        assert_eq!(asked.load(Ordering::Relaxed), 65);
        // What nobody waits for any more is not sent, even on the next connection.
        drop(answers);
        assert!(Control.reset_connections("n1", "n2") > 0);
        at[0].sleep(3_000 * MS).await;
        let _another = line.ask(Channel::Append, Bytes::from_static(HANG));
        at[0].sleep(1_000 * MS).await;
        assert_eq!(asked.load(Ordering::Relaxed), 66);
    });
}

#[test]
fn members_come_and_go() {
    run(|at| async move {
        let [one, two, _] = three(at).await;
        let line = one.line(2, &peer(2));
        assert!(ask(at[0], &line, Channel::Control, &b"x"[..]).await.is_some());
        let names: BTreeMap<u64, String> = [(2, "n2".to_owned()), (3, "n3".to_owned())].into();
        two.set_members(&names, [1].into());
        Control.reset_connections("n1", "n2");
        let removed = || {
            let status = one.status().remove(&2);
            status.and_then(|status| status.refusal).is_some_and(|it| it.reason == Reason::Removed)
        };
        until(at[0], "it is refused", 2_000 * MS, removed).await;
        one.set_members(&BTreeMap::new(), [2].into());
        assert!(one.status().is_empty());
        let answer = ask(at[0], &line, Channel::Control, &b"x"[..]).await;
        assert!(matches!(answer, Some(Err(AskError::Down(_)))));
    });
}

#[test]
fn a_peer_that_moves_is_dialled_where_it_is() {
    run(|at| async move {
        let [one, ..] = three(at).await;
        let astray = Peer { address: "n3:7400".to_owned(), ..peer(2) };
        let line = one.line(2, &astray);
        let wrong = || {
            let status = &one.status()[&2];
            status.refusal.as_ref().is_some_and(|it| it.reason == Reason::WrongNode)
        };
        until(at[0], "it is another node", 1_000 * MS, wrong).await;
        let moved = one.line(2, &peer(2));
        assert!(ask(at[0], &moved, Channel::Control, &b"x"[..]).await.is_some_and(|it| it.is_ok()));
        let old = ask(at[0], &line, Channel::Control, &b"x"[..]).await;
        assert_eq!(old, Some(Err(AskError::Down("the peer has moved".to_owned()))));
    });
}

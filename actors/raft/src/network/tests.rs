mod cluster;
mod store;

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use futures_util::StreamExt;
use openraft::{EntryPayload, network::RPCOption};
use orloj_sim::{Config, Control, LinkFault};

use super::*;
use crate::{
    Entry,
    codec::{
        LogEntry, LogId,
        rpc::{Request, decode_request, encode_appended, encode_ballot},
    },
    link::{
        Call, Handler,
        tests::{MS, disk, open, peer, reception, until, world},
    },
};

fn option(ttl: Duration) -> RPCOption {
    // Three quarters of it are to be kept.
    RPCOption::new(ttl * 4 / 3)
}

/// An append of `count` entries of `bytes` bytes behind index `prev`.
fn append(prev: u64, count: u64, bytes: usize) -> Append {
    let entry = |index| LogEntry {
        log_id: LogId::new_term_index(1, index),
        payload: EntryPayload::Normal(Entry::data(index, vec![index as u8; bytes].into())),
    };
    Append {
        vote: Vote::new_committed(1, 1),
        prev_log_id: Some(LogId::new_term_index(1, prev)),
        entries: (prev + 1..=prev + count).map(entry).collect(),
        leader_commit: None,
    }
}

async fn client(cx: [Context; 3], handler: Handler) -> Client {
    let two = Links::new(cx[1], reception(cx[1], 2), disk(1));
    open(cx[1], &two, handler).await;
    let mut network = Network::new(Links::new(cx[0], reception(cx[0], 1), disk(1)));
    network.new_client(2, &peer(2)).await
}

fn run<F: Future<Output = ()> + Send + 'static>(driver: impl FnOnce([Context; 3]) -> F) {
    let (mut sim, at) = world(Config::seed(1));
    sim.run(at[0], driver(at)).unwrap();
}

/// Answers appends after a random while, and knows how many there were at once.
fn slowly(cx: Context, most: Arc<AtomicU64>, of: fn(&Append) -> Appended) -> Handler {
    let now = Arc::new(AtomicU64::new(0));
    Arc::new(move |call: Call| {
        let Ok(Request::Append(append)) = decode_request(&call.payload) else { panic!("{call:?}") };
        most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let (pause, now) = (Duration::from_micros(cx.below(20_000)), now.clone());
        Box::pin(async move {
            cx.sleep(pause).await;
            now.fetch_sub(1, Ordering::Relaxed);
            Ok(encode_appended(&of(&append)))
        })
    })
}

fn hang() -> Handler {
    Arc::new(|_: Call| Box::pin(std::future::pending()))
}

#[test]
fn a_stream_is_pipelined_and_answered_in_order() {
    run(|at| async move {
        let most = Arc::new(AtomicU64::new(0));
        let mut client = client(at, slowly(at[1], most.clone(), |_| Appended::Success)).await;
        let requests = futures_util::stream::iter((0..200).map(|at| append(at * 3, 3, 10)));
        let stream = client.stream_append(requests, option(300 * MS)).await.unwrap();
        let answers: Vec<_> = stream.collect().await;
        let answers: Vec<_> = answers.into_iter().map(|it| it.unwrap().unwrap()).collect();
        let last = |at: u64| Some(LogId::new_term_index(1, at * 3 + 3));
        assert!(answers == (0..200).map(last).collect::<Vec<_>>());
        assert!(most.load(Ordering::Relaxed) > 8, "several were under way");
    });
}

#[test]
fn after_a_conflict_there_are_no_more_answers() {
    run(|at| async move {
        let of = |append: &Append| match append.prev_log_id.map(|id| id.index()) {
            Some(30) => Appended::Conflict,
            _ => Appended::Success,
        };
        let mut client = client(at, slowly(at[1], Arc::default(), of)).await;
        let requests = futures_util::stream::iter((0..100).map(|at| append(at * 3, 3, 10)));
        let stream = client.stream_append(requests, option(300 * MS)).await.unwrap();
        let answers: Vec<_> = stream.collect().await;
        assert_eq!(answers.len(), 11);
        let conflict = openraft::raft::StreamAppendError::Conflict(LogId::new_term_index(1, 30));
        assert_eq!(answers[10].as_ref().unwrap(), &Err(conflict));
        // One alone is answered likewise.
        let one = client.append_entries(append(30, 1, 1), option(300 * MS)).await;
        assert_eq!(one.unwrap(), Appended::Conflict);
        let one = client.append_entries(append(31, 5, 1 << 20), option(300 * MS)).await;
        assert_eq!(one.unwrap(), Appended::Success);
        // A peer cannot be in conflict with what has nothing before it.
        let first = Append { prev_log_id: None, ..append(30, 0, 0) };
        assert_eq!(
            client.append_entries(first, option(300 * MS)).await.unwrap(),
            Appended::Success
        );
    });
}

#[test]
fn a_peer_that_is_in_conflict_with_nothing_is_at_fault() {
    run(|at| async move {
        let mut client = client(at, slowly(at[1], Arc::default(), |_| Appended::Conflict)).await;
        let first = Append { prev_log_id: None, ..append(0, 0, 0) };
        let answer = client.append_entries(first, option(300 * MS)).await;
        assert!(matches!(answer, Err(RPCError::Unreachable(_))), "{answer:?}");
    });
}

#[test]
fn a_long_append_is_one_to_whoever_asked() {
    run(|at| async move {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = seen.clone();
        let handler: Handler = Arc::new(move |call: Call| {
            let Ok(Request::Append(append)) = decode_request(&call.payload) else { panic!() };
            note.lock().unwrap().extend(append.entries.iter().map(|entry| entry.log_id.index()));
            assert!(call.payload.len() < 2 * PART);
            Box::pin(async { Ok(encode_appended(&Appended::Success)) })
        });
        let mut client = client(at, handler).await;
        let requests = futures_util::stream::iter([append(0, 100, 100_000), append(100, 1, 1)]);
        let stream = client.stream_append(requests, option(300 * MS)).await.unwrap();
        let answers: Vec<_> =
            stream.map(|it| it.unwrap().unwrap().unwrap().index()).collect().await;
        assert_eq!(answers, [100, 101]);
        assert_eq!(*seen.lock().unwrap(), (1..=101).collect::<Vec<u64>>());
    });
}

#[test]
fn the_time_that_is_given_is_kept() {
    run(|at| async move {
        let mut client = client(at, hang()).await;
        let candidacy = Candidacy::new(Vote::new(1, 1), None);
        let transfer = Transfer::new(Vote::new_committed(1, 1), 2, None);
        for round in 0..40 {
            let begun = at[0].now();
            let ttl = option(75 * MS);
            let fault = match round % 5 {
                0 => client.vote(candidacy.clone(), ttl).await.unwrap_err(),
                1 => client.pre_vote(candidacy.clone(), ttl).await.unwrap_err(),
                2 => client.transfer_leader(transfer.clone(), ttl).await.unwrap_err(),
                3 => client.append_entries(append(1, 1, 1), ttl).await.unwrap_err(),
                _ => {
                    let requests = futures_util::stream::iter([append(1, 1, 1)])
                        .chain(futures_util::stream::pending());
                    let mut stream = client.stream_append(requests, ttl).await.unwrap();
                    let fault = stream.next().await.unwrap().unwrap_err();
                    assert!(stream.next().await.is_none());
                    fault
                }
            };
            let took = at[0].now().since(begun);
            assert!(matches!(fault, RPCError::Timeout(_)), "{fault:?}");
            // An append has a little more while its frames are on their way.
            assert!(took >= 75 * MS && took < 155 * MS, "{round}: {took:?}");
        }
    });
}

#[test]
fn an_idle_stream_has_all_the_time_and_a_moving_one_too() {
    run(|at| async move {
        let success: Handler =
            Arc::new(|_: Call| Box::pin(async { Ok(encode_appended(&Appended::Success)) }));
        let mut client = client(at, success).await;
        // Nothing is asked for 10 s, and then something.
        let late = futures_util::stream::once(Box::pin(async move {
            at[0].sleep(10_000 * MS).await;
            append(1, 1, 1)
        }));
        let mut stream = client.stream_append(late, option(75 * MS)).await.unwrap();
        assert!(stream.next().await.unwrap().unwrap().is_ok());
        drop(stream);
        // One entry of 10 MB takes two seconds, and moves.
        Control.link("n1", "n2", Some(LinkFault::Bandwidth(5_000_000)));
        let begun = at[0].now();
        let answer = client.append_entries(append(1, 1, 10_000_000), option(75 * MS)).await;
        assert_eq!(answer.unwrap(), Appended::Success);
        assert!(at[0].now().since(begun) > 1_900 * MS);
    });
}

#[test]
fn a_stream_takes_a_request_before_it_fails() {
    run(|at| async move {
        // Nobody listens there.
        let links = Links::new(at[0], reception(at[0], 1), disk(1));
        let mut client = Network::new(links.clone()).new_client(2, &peer(2)).await;
        until(at[0], "it is known", 1_000 * MS, || links.status()[&2].why.is_some()).await;
        for _ in 0..20 {
            let taken = Arc::new(AtomicU64::new(0));
            let count = taken.clone();
            let requests = futures_util::stream::iter(0..).map(move |at| {
                count.fetch_add(1, Ordering::Relaxed);
                append(at, 1, 1)
            });
            let mut stream = client.stream_append(requests, option(75 * MS)).await.unwrap();
            let fault = stream.next().await.unwrap().unwrap_err();
            // While it is dialled there is hope.
            assert!(matches!(fault, RPCError::Unreachable(_) | RPCError::Timeout(_)), "{fault:?}");
            assert!(taken.load(Ordering::Relaxed) >= 1);
            assert!(stream.next().await.is_none());
            at[0].sleep(100 * MS).await;
        }
        let candidacy = Candidacy::new(Vote::new(1, 1), None);
        let vote = client.pre_vote(candidacy, option(75 * MS)).await;
        assert!(vote.is_err(), "nobody has granted anything");
    });
}

#[test]
fn a_pre_vote_is_the_peers_own_answer() {
    run(|at| async move {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let note = asked.clone();
        let handler: Handler = Arc::new(move |call: Call| {
            let (what, vote) = match decode_request(&call.payload) {
                Ok(Request::PreVote(candidacy)) => ("pre-vote", candidacy.vote),
                Ok(Request::Vote(candidacy)) => ("vote", candidacy.vote),
                _ => panic!("{call:?}"),
            };
            assert_eq!(call.channel, Channel::Control);
            note.lock().unwrap().push(what);
            let is_granted = what == "vote";
            Box::pin(async move { Ok(encode_ballot(&Ballot::new(vote, None, is_granted))) })
        });
        let mut client = client(at, handler).await;
        let candidacy = Candidacy::new(Vote::new(7, 1), None);
        assert!(!client.pre_vote(candidacy.clone(), option(75 * MS)).await.unwrap().vote_granted);
        assert!(client.vote(candidacy, option(75 * MS)).await.unwrap().vote_granted);
        assert_eq!(*asked.lock().unwrap(), ["pre-vote", "vote"]);
    });
}

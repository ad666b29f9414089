//! Links in worlds where everything on the way may break.

use std::{collections::BTreeSet, sync::Mutex};

use orloj_sim::{NetFaults, testing};

use super::*;

/// A payload that can be told from any other and from a damaged one.
fn sealed(number: u64, len: usize) -> Bytes {
    let mut bytes = number.to_le_bytes().to_vec();
    let body = (0..len).map(|at| (number as usize).wrapping_mul(31).wrapping_add(at) as u8);
    bytes.extend(body);
    bytes.into()
}

fn is_sealed(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(*bytes.first_chunk()?);
    (sealed(number, bytes.len() - 8) == bytes).then_some(number)
}

/// Answers like `echo`, after a while, and takes note of what it was asked.
fn noting(cx: Context, asked: Arc<Mutex<BTreeMap<u64, u32>>>) -> Handler {
    Arc::new(move |call: Call| {
        let number = is_sealed(&call.payload).expect("what arrives is what was sent");
        *asked.lock().unwrap().entry(number).or_default() += 1;
        let delay = Duration::from_micros(cx.below(3_000));
        Box::pin(async move {
            cx.sleep(delay).await;
            Ok(call.payload)
        })
    })
}

struct Tally {
    answered: u64,
    twice: u64,
    refused: u64,
    /// The rare paths that were taken, and what they came to.
    rare: BTreeSet<&'static str>,
    hash: u64,
}

fn faults() -> NetFaults {
    NetFaults {
        slow_tail_ppm: 500,
        stall_ppm: 500,
        stall_mean_ns: 300_000_000,
        partial_write_ppm: 50_000,
        partial_frame_ppm: 50_000,
        reset_ppm: 1_000,
        half_open_ppm: 300,
        connect_hang_ppm: 50_000,
        slow_reader_ppm: 2_000,
        ..NetFaults::default()
    }
}

/// Everybody asks everybody for 20 s while connections and links break; then all is whole within
/// the time that dialling again takes.
fn chaos(seed: u64) -> Tally {
    let (mut sim, at) = world(Config { buggify: true, ..testing::config(seed) });
    sim.control(|control| control.set_net_faults(faults()));
    let driver = async move {
        let asked = Arc::new(Mutex::new(BTreeMap::new()));
        let mut all = Vec::new();
        for (own, cx) in at.into_iter().enumerate() {
            let links = Links::new(cx, reception(cx, own as u64 + 1), blank());
            open(cx, &links, noting(cx, asked.clone())).await;
            all.push(links);
        }
        let numbers = Arc::new(AtomicU64::new(0));
        let (answered, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut askers = Vec::new();
        for (own, links) in all.iter().enumerate() {
            for other in (1..=3).filter(|id| *id != own as u64 + 1) {
                let (cx, line, numbers) =
                    (at[own], links.line(other, &peer(other)), numbers.clone());
                let (answered, refused) = (answered.clone(), refused.clone());
                askers.push(cx.spawn("asker", async move {
                    let end = cx.now() + 20_000 * MS;
                    while cx.now() < end {
                        let number = numbers.fetch_add(1, Ordering::Relaxed);
                        let len = if cx.below(20) == 0 { cx.below(200_000) } else { cx.below(200) };
                        let channel = Channel::ALL[cx.below(4) as usize];
                        let payload = sealed(number, len as usize);
                        let answer = line.ask(channel, payload.clone());
                        match cx.timeout(150 * MS, answer).await {
                            Ok(Ok(Ok(answer))) => {
                                assert!(answer == payload, "an answer to another question");
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            _ => drop(refused.fetch_add(1, Ordering::Relaxed)),
                        }
                        cx.sleep(Duration::from_millis(cx.below(20))).await;
                    }
                }));
            }
        }
        for _ in 0..20 {
            at[0].sleep(Duration::from_millis(500 + at[0].below(900))).await;
            let pairs = [("n1", "n2"), ("n2", "n3"), ("n3", "n1"), ("n2", "n1")];
            let (from, to) = pairs[at[0].below(4) as usize];
            let fault = match at[0].below(6) {
                0 => Some(LinkFault::Cut),
                1 => Some(LinkFault::OneWay),
                2 => Some(LinkFault::Clog(30_000_000)),
                3 => Some(LinkFault::Bandwidth(300_000)),
                _ => None,
            };
            Control.link(from, to, fault);
        }
        for asker in askers {
            asker.await.unwrap();
        }
        Control.quiet();
        Control.set_net_faults(NetFaults::default());
        let is_whole =
            || all.iter().all(|links| links.status().values().all(|status| status.is_up));
        // An open end without another may look whole for as long as it takes to notice.
        at[0].sleep(1_500 * MS).await;
        until(at[0], "all are connected", 2_500 * MS, is_whole).await;
        for (own, links) in all.iter().enumerate() {
            for other in (1..=3).filter(|id| *id != own as u64 + 1) {
                let payload = sealed(u64::MAX, 100_000);
                let line = links.line(other, &peer(other));
                let answer = ask(at[own], &line, Channel::Append, payload.clone()).await;
                assert!(answer == Some(Ok(payload)), "{} to {other}", own + 1);
            }
        }
        let asked = asked.lock().unwrap();
        let twice = asked.iter().filter(|(number, times)| **number != u64::MAX && **times > 1);
        (answered.load(Ordering::Relaxed), twice.count() as u64, refused.load(Ordering::Relaxed))
    };
    let (answered, twice, refused) = sim.run(at[0], driver).unwrap_or_else(|failure| {
        panic!("seed {seed}: {failure:?}");
    });
    let report = sim.finish();
    let places = report.coverage.places(|_| true);
    let rare = places.filter(|(_, _, hits)| *hits > 0).map(|(site, ..)| site.name).collect();
    Tally { answered, twice, refused, rare, hash: report.trace_hash }
}

#[test]
fn whatever_breaks_answers_are_right_and_links_come_back() {
    let mut sum = Tally { answered: 0, twice: 0, refused: 0, rare: BTreeSet::new(), hash: 0 };
    for seed in 0..8 {
        let tally = chaos(seed);
        assert!(tally.answered > 300, "seed {seed}: {} answers", tally.answered);
        sum.answered += tally.answered;
        sum.twice += tally.twice;
        sum.refused += tally.refused;
        sum.rare.extend(tally.rare);
    }
    // The chaos was one.
    assert!(sum.twice > 0 && sum.refused > 300);
    for place in [
        "link: a byte flips on its way",
        "link: a request is overtaken",
        "link: a request is sent twice",
        "link: a request is malformed",
        "link: an answer is malformed",
        "link: a silent peer is given up",
    ] {
        assert!(sum.rare.contains(place), "no seed came to {place:?}");
    }
}

#[test]
fn a_seed_is_one_story() {
    assert_eq!(chaos(3).hash, chaos(3).hash);
}

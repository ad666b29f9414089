//! Randomness.

use orloj_kernel::Context;

conformance! {
    one: [
        draws_differ,
        every_bit_is_sometimes_set_and_sometimes_not,
        a_bounded_draw_reaches_all_and_no_more,
    ],
    two: [hosts_draw_apart],
}

async fn draws_differ(cx: Context) {
    let mut draws: Vec<u64> = (0..1_000).map(|_| cx.entropy()).collect();
    draws.sort_unstable();
    draws.dedup();
    assert_eq!(draws.len(), 1_000);
}

async fn every_bit_is_sometimes_set_and_sometimes_not(cx: Context) {
    let (mut set, mut unset) = (0, 0);
    for _ in 0..128 {
        let draw = cx.entropy();
        set |= draw;
        unset |= !draw;
    }
    assert_eq!((set, unset), (u64::MAX, u64::MAX));
}

async fn a_bounded_draw_reaches_all_and_no_more(cx: Context) {
    assert_eq!(cx.below(0), 0);
    assert_eq!(cx.below(1), 0);
    let mut counts = [0; 6];
    for _ in 0..6_000 {
        counts[cx.below(6) as usize] += 1;
    }
    assert!(counts.iter().all(|c| (700..1_300).contains(c)), "{counts:?}");
    assert!((0..64).any(|_| cx.below(u64::MAX) > u64::MAX / 2));
}

async fn hosts_draw_apart(here: Context, there: Context) {
    let a: Vec<u64> = (0..100).map(|_| here.entropy()).collect();
    let b: Vec<u64> = (0..100).map(|_| there.entropy()).collect();
    assert!(a.iter().all(|draw| !b.contains(draw)));
}

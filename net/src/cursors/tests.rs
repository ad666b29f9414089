use bytes::Bytes;

use super::*;

fn key(n: usize) -> Key {
    Bytes::from(format!("key:{n:06}"))
}

/// Walks an ordered set page by page while keys come and go, through numbers alone.
#[test]
fn every_key_that_stays_is_returned_once() {
    let mut store: std::collections::BTreeSet<Key> = (0..1000).map(|n| key(n * 2)).collect();
    let mut cursors = Cursors::default();
    let (mut seen, mut cursor, mut round) = (Vec::new(), 0, 0);
    loop {
        let after = cursors.resume(cursor).expect("a cursor just handed out");
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let page: Vec<Key> =
            store.range::<Key, _>((from, std::ops::Bound::Unbounded)).take(7).cloned().collect();
        let Some(last) = page.last().cloned() else { break };
        seen.extend(page);
        cursor = cursors.park(&last);
        // The key the scan stands on vanishes, and new ones appear on both sides of it.
        if last.last().is_some_and(|digit| digit % 4 == 0) {
            store.remove(&last);
        }
        store.insert(key(round * 11 % 2000 / 2 * 2 + 1));
        round += 1;
    }
    for n in (0..1000).map(|n| n * 2) {
        assert_eq!(seen.iter().filter(|seen| **seen == key(n)).count(), 1, "key {n}");
    }
}

#[test]
fn a_number_is_known_wherever_its_key_was_parked() {
    let (mut one, mut other) = (Cursors::default(), Cursors::default());
    let cursor = one.park(&key(5));
    assert_eq!(other.resume(cursor), Err(Refusal::InvalidCursor));
    assert_eq!(other.park(&key(5)), cursor);
    assert_eq!(one.park(&key(5)), cursor);
    assert_eq!(other.resume(cursor), Ok(Some(key(5))));
    assert_eq!(other.resume(0), Ok(None));
}

#[test]
fn the_table_is_bounded_and_forgets_the_oldest() {
    let mut cursors = Cursors::new(4, 1000);
    let numbers: Vec<u64> = (0..10).map(|n| cursors.park(&key(n))).collect();
    for (n, number) in numbers.iter().enumerate() {
        let expected = if n < 6 { Err(Refusal::InvalidCursor) } else { Ok(Some(key(n))) };
        assert_eq!(cursors.resume(*number), expected, "{n}");
        assert!((1..=CURSOR_MAX).contains(number));
    }
    let long = Bytes::from(vec![b'x'; 5000]);
    let number = cursors.park(&long);
    assert_eq!(cursors.resume(number), Ok(Some(long)));
    assert_eq!(cursors.keys.len(), 1);
    assert_eq!(cursors.bytes, 5000);
}

//! Loads, whose pages are in no journal: a backup behind one has a base of its own, whenever it
//! came, and no restore believes a journal that has one.

use super::*;
use crate::{
    backup::{Flaw, Object, Part, inventory::fetch, pieces::put},
    journal::Records,
    page::{Claim, PagePtr},
    record::Op,
};

/// Entries for a load.
fn entries(round: u8) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    (0..300_u32).map(move |n| (format!("load {n:05}").into_bytes(), vec![round; 90]))
}

/// Restores `at`, and compares what is there then with the origin.
async fn is_restored(db: &Database, dir: &str, at: Lsn) {
    let done = restored(db.cx(), dir, at.into()).await.expect("it is within the backup");
    assert_eq!(done.reached.version, at);
    let copy = open(db.cx(), dir).await;
    assert_eq!(content(&copy, at).await, content(db, at).await, "{dir} at {at}");
    assert!(everything(&copy, at).await == everything(db, at).await, "{dir} at {at}");
    copy.close().await.expect("nothing is in the way");
}

#[orloj_sim::test(seeds = 4)]
async fn a_backup_behind_a_load_has_a_base_of_its_own(cx: Context) {
    let (db, all) = made(cx).await;
    work(cx, db.clone(), all.clone(), 40).await;
    let mut kept = backup(&db, How::Continue).await.expect("the disk works");
    db.put(&all, b"behind", b"1".into()).await.expect("it is written");
    let plain = kept.advance(&mut |_| {}).await.expect("the disk works").version;
    assert_eq!((kept.is_full(), kept.inventory().number), (true, 2), "it went on");
    let first = kept.inventory().superblock.lsn;

    let loaded = db.load_keyspace(&all, entries(1)).await.expect("they ascend");
    db.put(&all, b"load 00007", b"2".into()).await.expect("it is written");
    let to = kept.advance(&mut |_| {}).await.expect("the disk works").version;
    assert!(to > loaded && kept.is_full());
    assert_eq!(kept.inventory().number, 3);
    assert!(kept.inventory().superblock.lsn >= loaded, "the base has what was loaded");
    is_restored(&db, "new", to).await;
    is_restored(&db, "old", plain).await;
    assert!(restored(cx, "base", first.into()).await.is_ok(), "the older ones are as they were");

    drop(kept);
    db.put(&all, b"more", b"3".into()).await.expect("it is written");
    let next = backup(&db, How::Continue).await.expect("the disk works");
    assert_eq!((next.is_full(), next.inventory().number), (false, 4), "nothing was loaded since");
    drop(next);
    db.load_keyspace(&all, entries(4)).await.expect("they ascend");
    let last = backup(&db, How::Continue).await.expect("the disk works");
    assert_eq!((last.is_full(), last.inventory().number), (true, 5));
    is_restored(&db, "last", last.inventory().to.version).await;
    db.close().await.expect("nothing is in the way");
}

#[orloj_sim::test(seeds = 12)]
async fn loads_while_a_backup_is_taken_are_in_it_or_behind_it(cx: Context) {
    let (db, all) = made(cx).await;
    work(cx, db.clone(), all.clone(), 40).await;
    let other = db.create_keyspace("other", Retention::All).await.expect("it is new");
    let loader = {
        let db = db.clone();
        cx.spawn("loader", async move {
            for round in 0..12 {
                db.load_keyspace(&other, entries(round)).await.expect("they ascend");
                cx.sleep(Duration::from_millis(cx.below(40))).await;
            }
        })
    };
    let mut fulls = 0;
    let busy = workers(cx, &db, &all, 60);
    let mut kept = backup(&db, How::Full).await.expect("the disk works");
    for step in 0..6 {
        let before = (db.newest(), kept.inventory().superblock.lsn);
        kept.advance(&mut |_| {}).await.expect("the disk works");
        let to = kept.inventory().to;
        assert!(to.version >= before.0, "it reaches to what there was");
        fulls += u32::from(kept.inventory().superblock.lsn > before.1);
        let again = restored(cx, &format!("time-{step}"), Point::Time(to.time)).await;
        assert!(again.is_ok_and(|done| done.reached.version <= to.version));
        is_restored(&db, &format!("new-{step}"), to.version).await;
        cx.sleep(Duration::from_millis(cx.below(60))).await;
    }
    join(busy).await;
    join(vec![loader]).await;
    assert!(fulls > 0, "something was loaded between two");
    kept.advance(&mut |_| {}).await.expect("the disk works");
    assert_eq!(kept.inventory().to.version, db.newest());
    is_restored(&db, "end", db.newest()).await;
    db.close().await.expect("nothing is in the way");
}

/// A backup as no release takes it: somebody put a load into its journal.
#[orloj_sim::test(seeds = 1)]
async fn a_journal_with_a_load_is_not_restored(cx: Context) {
    let (db, all) = made(cx).await;
    let mut kept = backup(&db, How::Full).await.expect("the disk works");
    db.put(&all, b"a", b"1".into()).await.expect("it is written");
    kept.advance(&mut |_| {}).await.expect("the disk works");
    let mut forged = kept.inventory().clone();
    let target = target(cx);
    let last: &mut Object = forged.objects.last_mut().expect("a piece of the journal");
    let Part::Journal { first, last: end } = last.part else { panic!("{last:?}") };
    let bytes = fetch(&*target, last).await.expect("it is there");
    let (mut records, root) =
        (Records::new(), PagePtr { unit: 9, units: 1, sum: 1, generation: 1 });
    let mut claim = Claim::default();
    claim.add(9, 1);
    let units = claim.encode();
    for (n, record) in Records::decode(bytes).expect("it is whole").iter().enumerate() {
        let load = Op::Load { keyspace: all.id(), root, units: &units };
        match n {
            0 => records.push(|out| load.write(out, true)),
            _ => records.push(|out| out.extend_from_slice(record)),
        }
    }
    let (name, part) = (last.name.clone(), Part::Journal { first, last: end });
    *last = put(&*target, name, part, records.bytes().to_vec()).await.expect("the disk works");
    let object = last.name.clone();
    forged.number += 1;
    target.put(&forged.name(), forged.encode()).await.expect("the disk works");
    let refused = restored(cx, "new", Point::Newest).await.expect_err("its pages are nowhere");
    let what = Flaw::Load { version: first };
    assert_eq!(refused, BackupError::Damaged { object, what });
    let before = restored(cx, "new", first.previous().into()).await;
    assert!(before.is_ok(), "up to there all of it is there: {before:?}");
    db.close().await.expect("nothing is in the way");
}

//! Restored databases against the one that was copied.

use super::*;
use crate::{
    Error,
    backup::{
        Part,
        inventory::fetch,
        pages::{PageWalk, Reseal},
    },
    manifest,
    page::{PageHeader, PageType},
    pager::Pager,
    superblock,
    verify::{Grade, Offline},
    vlog::ValueLog,
};

type Pages = BTreeMap<u64, blake3::Hash>;

/// The hash of a page without its checksum, which is that of its database too.
fn note(pages: &mut Pages, image: &[u8]) {
    let header = PageHeader::read(image).expect("a page");
    // Others hold references, hence checksums.
    if matches!(header.kind, PageType::Leaf | PageType::Space) {
        pages.insert(header.unit, blake3::hash(&image[4..]));
    }
}

/// The pages that were copied.
async fn copied_pages(backup: &Backup) -> Pages {
    let (inventory, mut pages) = (backup.inventory(), Pages::new());
    let mut same = Reseal::new(inventory.database(), inventory.database());
    for object in inventory.objects.iter().filter(|object| object.part == Part::Pages) {
        let bytes = fetch(&*target(backup.db.cx()), object).await.expect("it is there");
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let before = rest;
            let (_, image) = same.next(&mut rest).expect("it is whole");
            assert!(before.starts_with(&image), "made its own, a page is what it was");
            note(&mut pages, &image);
        }
    }
    pages
}

/// The pages of a database that is not open.
async fn pages(cx: Context, dir: &str) -> Pages {
    let manifest = manifest::read(cx, dir).await.expect("it is whole").expect("it is there");
    let database = manifest.database;
    let block = superblock::read(cx, dir, database).await.expect("it is whole").newest;
    let pager = Pager::open_to_read(cx, dir, database).await.expect("it is there");
    let (values, mut pages) = (ValueLog::new(cx, dir, database), Pages::new());
    let walk = PageWalk::begin(&pager, &values, &block.expect("there is one")).await;
    let (mut walk, _) = walk.expect("it is whole");
    while let Some(image) = walk.next().await.expect("it is whole") {
        note(&mut pages, &image);
    }
    pages
}

async fn is_sound(cx: Context, dir: &str) {
    let offline = Offline::open(cx, dir).await.expect("it is closed");
    let report = offline.verify(&mut |_| {}).await.expect("it can be read");
    let wrong = report.findings.iter().find(|finding| finding.grade != Grade::Waste);
    assert_eq!(wrong, None, "{dir}");
}

#[orloj_sim::test(seeds = 8)]
async fn every_version_of_a_backup_is_what_it_was(cx: Context) {
    let (db, all) = made(cx).await;
    work(cx, db.clone(), all.clone(), 60).await;
    let busy = workers(cx, &db, &all, 150);
    let before = db.newest();
    let mut backup = backup(&db, How::Continue).await.expect("the disk works");
    let during = db.newest();
    let first = backup.inventory().clone();
    assert!(backup.is_full() && first.from.version >= first.superblock.lsn);
    assert!(first.to.version >= before);
    for _ in 0..3 {
        cx.sleep(Duration::from_millis(700)).await;
        let to = backup.advance(&mut |_| {}).await.expect("the disk works");
        assert_eq!(to, backup.inventory().to);
    }
    join(busy).await;
    let to = backup.advance(&mut |_| {}).await.expect("the disk works").version;
    assert_eq!(to, db.newest());
    let base = first.superblock.lsn;
    assert!(to.0 - base.0 > 200, "{base} to {to}, {during} when the first was done");

    let pages_of_base = copied_pages(&backup).await;
    assert!(pages_of_base.len() > 10);
    for step in 0..10 {
        let at = match step {
            0 => base,
            1 => to,
            2 => first.to.version,
            _ => Lsn(base.0 + cx.below(to.0 - base.0)),
        };
        let dir = format!("restored-{step}");
        let plan = planned(cx, &dir, at.into()).await.expect("it is within the backup");
        let done = restored(cx, &dir, at.into()).await.expect("it is within the backup");
        assert_eq!((plan.reached, plan.database), (done.reached, None));
        assert_eq!((done.reached.version, done.base), (at, base));
        is_sound(cx, &dir).await;
        assert!(pages(cx, &dir).await == pages_of_base, "{dir}");
        let copy = open(cx, &dir).await;
        assert_eq!(copy.newest(), at);
        let id = copy.engine().expect("it has files").manifest().database;
        assert!(done.database == Some(id) && id != done.origin);
        assert_eq!(content(&copy, at).await, content(&db, at).await, "{dir} at {at}");
        assert!(everything(&copy, at).await == everything(&db, at).await, "{dir} at {at}");
        // It goes on as any other.
        let all = copy.keyspace("all").expect("it is there");
        copy.create_keyspace("more", Retention::default()).await.expect("its number is free");
        work(cx, copy.clone(), all, 20).await;
        copy.close().await.expect("nothing is in the way");
        is_sound(cx, &dir).await;
    }
    db.close().await.expect("nothing is in the way");
}

#[orloj_sim::test(seeds = 4)]
async fn a_time_gives_the_newest_version_before_it_and_never_a_later_one(cx: Context) {
    let (db, all) = made(cx).await;
    let mut backup = backup(&db, How::Full).await.expect("the disk works");
    let mut written = Vec::new();
    for number in 0..30_u8 {
        let version = db.put(&all, b"a", (&[number]).into()).await.expect("it is written");
        written.push((db.now(), version));
        cx.sleep(Duration::from_millis(300 + cx.below(1_500))).await;
    }
    let to = backup.advance(&mut |_| {}).await.expect("the disk works");
    for step in 0..8 {
        let (asked, _) = written[2 + 3 * step];
        let asked = asked + cx.below(300);
        let later = written.iter().find(|(time, _)| *time > asked).map(|(_, version)| *version);
        // History is told the time within a second of a write.
        let sure = written.iter().rfind(|(time, _)| *time + 2_000 < asked).map(|w| w.1);
        let dir = format!("restored-{step}");
        let done = restored(cx, &dir, Point::Time(asked)).await.expect("it is within");
        let at = done.reached.version;
        assert!(later.is_none_or(|later| at < later), "{at} is not before {later:?}");
        assert!(sure.is_none_or(|sure| at >= sure), "{at} is before {sure:?}");
        assert!(done.reached.time <= asked);
        let copy = open(cx, &dir).await;
        assert_eq!(content(&copy, at).await, content(&db, at).await);
    }
    let late = restored(cx, "late", Point::Time(to.time + 1)).await;
    assert!(matches!(late, Err(BackupError::OutOfReach { .. })), "{late:?}");
    let last = restored(cx, "last", Point::Time(to.time)).await.expect("it is within");
    assert_eq!(last.reached, to);
}

#[orloj_sim::test(seeds = 4)]
async fn a_backup_goes_on_with_the_last_one_while_the_journal_is_there(cx: Context) {
    let (db, all) = made(cx).await;
    work(cx, db.clone(), all.clone(), 50).await;
    let first = backup(&db, How::Continue).await.expect("the disk works");
    assert_eq!((first.is_full(), first.inventory().number), (true, 1));
    drop(first);
    db.close().await.expect("nothing is in the way");
    let db = open(cx, "db").await;
    let all = db.keyspace("all").expect("it is there");
    db.put(&all, b"new", b"1".into()).await.expect("it is written");
    let second = backup(&db, How::Continue).await.expect("the disk works");
    assert_eq!((second.is_full(), second.inventory().number), (false, 2));
    let objects = second.inventory().objects.len();
    drop(second);
    // Nobody keeps the journal now, and checkpoints do not need it.
    work(cx, db.clone(), all.clone(), 300).await;
    for _ in 0..3 {
        db.put(&all, b"new", b"2".into()).await.expect("it is written");
        db.checkpoint().await.expect("the disk works");
    }
    let third = backup(&db, How::Continue).await.expect("the disk works");
    assert_eq!((third.is_full(), third.inventory().number), (true, 3));
    assert!(third.inventory().objects.len() > 2 && objects > 2);
    let forced = backup(&db, How::Full).await.expect("the disk works");
    assert_eq!((forced.is_full(), forced.inventory().number), (true, 4));
    // A version between the bases is in the older ones.
    let between = Lsn(third.inventory().superblock.lsn.0 - 1);
    let lost = restored(cx, "lost", between.into()).await;
    assert!(matches!(lost, Err(BackupError::OutOfReach { .. })), "{lost:?}");
    let at = Lsn(third.inventory().superblock.lsn.0);
    let done = restored(cx, "third", at.into()).await.expect("it is within the third");
    assert_eq!((done.number, done.reached.version), (3, at));
    let copy = open(cx, "third").await;
    assert_eq!(content(&copy, at).await, content(&db, at).await);
}

#[orloj_sim::test(seeds = 2)]
async fn what_cannot_be_done_is_said(cx: Context) {
    let none = planned(cx, "copy", Point::Newest).await;
    assert!(matches!(none, Err(BackupError::None)), "{none:?}");
    let (db, all) = made(cx).await;
    let taken = backup(&db, How::Full).await.expect("the disk works");
    let to = taken.inventory().to.version;
    let beyond = planned(cx, "copy", to.next().into()).await.expect_err("it is still to come");
    assert!(matches!(beyond, BackupError::OutOfReach { .. }), "{beyond}");
    let full = restored(cx, "db", Point::Newest).await.expect_err("a database is there");
    assert!(matches!(full, BackupError::Engine(Error::NotEmpty { .. })), "{full}");
    assert!(db.put(&all, b"a", b"1".into()).await.is_ok(), "it is as it was");

    let other = open(cx, "other").await;
    let foreign = backup(&other, How::Continue).await.expect_err("it is another database");
    assert!(matches!(foreign, BackupError::Foreign { .. }), "{foreign}");
    let memory = Database::in_memory(cx, options("")).expect("options are within bounds");
    let memory = backup(&memory, How::Full).await.expect_err("it has no files");
    assert!(matches!(memory, BackupError::InMemory), "{memory}");
}

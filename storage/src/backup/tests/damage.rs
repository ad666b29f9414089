//! Backups that are not whole.

use orloj_kernel::OpenMode;

use super::*;
use crate::{backup::Flaw, manifest};

async fn bytes(cx: Context, path: &str) -> Vec<u8> {
    let file = cx.open(path, OpenMode::Read).await.expect("it is there");
    let size = file.size().await.expect("the disk works");
    file.read_at(0, size as usize).await.expect("the disk works")
}

async fn replace(cx: Context, path: &str, bytes: &[u8]) {
    let file = cx.open(path, OpenMode::Create).await.expect("the disk works");
    file.set_len(0).await.expect("the disk works");
    file.write_at(0, bytes.to_vec()).await.expect("the disk works");
}

/// Asserts that the backup is refused, by name of `object`, dry or not, and nothing is made.
async fn refused(cx: Context, object: &str, what: &str) -> Flaw {
    let plan = planned(cx, "copy", Point::Newest).await.expect_err(what);
    let done = restored(cx, "copy", Point::Newest).await.expect_err(what);
    assert_eq!(plan, done, "{what}");
    assert!(manifest::read(cx, "copy").await.expect("the disk works").is_none(), "{what}");
    match done {
        BackupError::Damaged { object: named, what } if named == object => what,
        other => panic!("{what}: {other}"),
    }
}

#[orloj_sim::test(seeds = 2)]
async fn a_backup_that_is_not_whole_is_refused_and_says_where(cx: Context) {
    let (db, all) = made(cx).await;
    work(cx, db.clone(), all.clone(), 120).await;
    db.put(&all, b"long", (&vec![7; 5_000]).into()).await.expect("it is written");
    let mut taken = backup(&db, How::Full).await.expect("the disk works");
    work(cx, db.clone(), all.clone(), 60).await;
    taken.advance(&mut |_| {}).await.expect("the disk works");
    let inventory = taken.inventory().clone();
    let names: Vec<String> =
        inventory.objects.iter().map(|o| o.name.clone()).chain([inventory.name()]).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in &names {
        let path = format!("target/{name}");
        let whole = bytes(cx, &path).await;
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            replace(cx, &path, &damaged).await;
            let flaw = refused(cx, name, &format!("{name} at {at}")).await;
            assert_eq!(flaw, Flaw::Sum);
        }
        replace(cx, &path, &whole[..whole.len() - 1]).await;
        refused(cx, name, &format!("{name} cut short")).await;
        cx.remove(&path).await.expect("it is there");
        if *name != inventory.name() {
            assert_eq!(refused(cx, name, &format!("{name} removed")).await, Flaw::Missing);
        }
        replace(cx, &path, &whole).await;
    }
    let done = restored(cx, "copy", Point::Newest).await.expect("it is whole again");
    let at = done.reached.version;
    let copy = open(cx, "copy").await;
    assert_eq!(content(&copy, at).await, content(&db, at).await);
}

#[orloj_sim::test(seeds = 2)]
async fn pages_that_do_not_belong_together_are_refused(cx: Context) {
    let (db, all) = made(cx).await;
    work(cx, db.clone(), all.clone(), 120).await;
    let first = backup(&db, How::Full).await.expect("the disk works").inventory().clone();
    work(cx, db.clone(), all.clone(), 120).await;
    let second = backup(&db, How::Full).await.expect("the disk works").inventory().clone();
    // Each page of it is whole; they are those of another generation.
    let mut mixed = second.clone();
    let page = |object: &super::super::Object| object.part == super::super::Part::Pages;
    let old = first.objects.iter().rfind(|object| page(object)).expect("it has pages");
    *mixed.objects.iter_mut().rfind(|object| page(object)).expect("it has pages") = old.clone();
    replace(cx, &format!("target/{}", mixed.name()), &mixed.encode()).await;
    let error = restored(cx, "copy", Point::Newest).await.expect_err("they do not fit");
    assert!(matches!(error, BackupError::Damaged { what: Flaw::Misfit, .. }), "{error}");
}

#[orloj_sim::test(seeds = 2)]
async fn damage_of_the_database_does_not_get_into_a_backup(cx: Context) {
    let (db, all) = made(cx).await;
    for number in 0..2_000_u32 {
        let value = vec![1; if number % 100 == 0 { 600 } else { 50 }];
        db.put(&all, &number.to_be_bytes(), (&value).into()).await.expect("it is written");
    }
    db.checkpoint().await.expect("the disk works");
    let engine = db.engine().expect("it has files");
    let used = engine.newest().expect("there is one").units;
    let path = "db/data.pages";
    let mut whole = bytes(cx, path).await;
    for unit in 1..used as usize {
        whole[unit * 4096 + 1000] ^= 1;
    }
    let file = cx.open(path, OpenMode::Write).await.expect("it is there");
    file.write_at(0, whole).await.expect("the disk works");
    let error = backup(&db, How::Full).await.expect_err("most of its pages are damaged");
    assert!(matches!(error, BackupError::Engine(crate::Error::Corrupt(_))), "{error}");
    let none = planned(cx, "copy", Point::Newest).await;
    assert!(matches!(none, Err(BackupError::None)), "{none:?}");
}

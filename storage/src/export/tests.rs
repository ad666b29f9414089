//! Goal: what was exported is what is imported, and an export that is not whole is refused before
//! anything is written.
//! Method: one database with every kind of entry goes through a file on a simulated disk; the file
//! is damaged at every byte of a small one.

use std::num::NonZeroU32;

use orloj_kernel::{Context, OpenMode};

use super::{
    format::{write_head, write_line},
    *,
};
use crate::{Database, Durability, Lsn, Options, Retention, database::Value, journal::DatabaseId};

const FILE: &str = "all.export";

async fn open(cx: Context, dir: &str) -> Database {
    let options = Options { inline_bytes: 300, ..Options::new(dir, Durability::Strict) };
    Database::open(cx, options).await.expect("it can be opened").0
}

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

async fn import(
    cx: Context,
    file: &str,
    db: &Database,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Imported, ExportError> {
    Judged::read(cx, file, progress).await?.import(db, progress).await
}

#[orloj_sim::test(seeds = 4)]
async fn what_was_exported_is_imported(cx: Context) {
    let db = open(cx, "db").await;
    let last = Retention::Last(NonZeroU32::new(3).expect("not zero"));
    let users = db.create_keyspace("users", last).await.expect("it is new");
    let all = db.create_keyspace("all", Retention::All).await.expect("it is new");
    db.create_keyspace("empty", Retention::default()).await.expect("it is new");
    let until = db.now() + 3_600_000;
    for number in 0..3_000_u32 {
        let key = number.to_be_bytes();
        let len = if number % 100 == 0 { 4_000 } else { cx.below(60) as usize };
        let value = vec![number as u8; len];
        let value = Value { bytes: &value, deadline: (number % 7 == 0).then_some(until) };
        let to = if number % 2 == 0 { &users } else { &all };
        db.put(to, &key, value).await.expect("it is written");
    }
    // Larger than what is read at once.
    let large = vec![3; 3 << 20];
    db.put(&all, b"large", (&large).into()).await.expect("it is written");
    let at = db.snapshot().expect("it is open");
    db.delete(&users, &8_u32.to_be_bytes()).await.expect("it is written");
    let done = export(&db, &at, FILE, &mut |_| {}).await.expect("the disk works");
    assert_eq!((done.keyspaces, done.content.keys, done.content.keyspaces), (3, 3_001, 2));
    assert_eq!(done.content, db.content(&at).await.expect("it is kept"));
    assert_eq!(done.bytes, bytes(cx, FILE).await.len() as u64);
    let again = export(&db, &at, FILE, &mut |_| {}).await.expect_err("it is there");
    assert!(matches!(again, ExportError::Exists { .. }), "{again}");

    let new = open(cx, "new").await;
    let mut seen = (0, 0);
    let imported = import(cx, FILE, &new, &mut |read, of| seen = (read, of)).await;
    let imported = imported.expect("it is whole");
    assert_eq!(seen, (2 * done.bytes, 2 * done.bytes));
    assert_eq!((imported.content.hash, imported.keyspaces), (done.content.hash, 3));
    assert_eq!(new.keyspace("users").expect("it is there").retention(), last);
    let content = new.content(&new.snapshot().expect("it is open")).await.expect("it is kept");
    assert_eq!(content.hash, done.content.hash);
    let twice = import(cx, FILE, &new, &mut |_, _| {}).await.expect_err("they are there");
    assert!(matches!(twice, ExportError::Engine(Error::KeyspaceExists { .. })), "{twice}");
    let changed = db.content(&db.snapshot().expect("it is open")).await.expect("it is kept");
    assert_ne!(changed.hash, content.hash, "a key was deleted since");
}

#[orloj_sim::test(seeds = 1)]
async fn an_export_that_is_not_whole_is_refused_before_anything_is_written(cx: Context) {
    let db = open(cx, "db").await;
    let data = db.create_keyspace("data", Retention::All).await.expect("it is new");
    for key in [b"a", b"b", b"c"] {
        db.put(&data, key, b"value".into()).await.expect("it is written");
    }
    let at = db.snapshot().expect("it is open");
    export(&db, &at, FILE, &mut |_| {}).await.expect("the disk works");
    let whole = bytes(cx, FILE).await;
    let new = open(cx, "new").await;
    let refused = async |bytes: &[u8], what: &str| {
        replace(cx, FILE, bytes).await;
        let error = import(cx, FILE, &new, &mut |_, _| {}).await.expect_err(what);
        assert!(new.keyspaces().expect("it is open").is_empty(), "{what}");
        match error {
            ExportError::File { what, .. } => what,
            error => panic!("{what}: {error}"),
        }
    };
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        refused(&damaged, &format!("byte {at}")).await;
        let cut = refused(&whole[..at], &format!("cut at {at}")).await;
        assert_eq!(cut, ExportFault::Short, "cut at {at}");
    }
    let longer = [&whole[..], &[0]].concat();
    assert_eq!(refused(&longer, "a byte more").await, ExportFault::Behind);
    replace(cx, FILE, &whole).await;
    import(cx, FILE, &new, &mut |_, _| {}).await.expect("it is whole");
}

#[test]
fn golden() {
    let header = Header { database: DatabaseId(0x0102), version: Lsn(3), written_at: 4 };
    let mut file = Vec::new();
    let mut sum = write_head(&mut file, &header);
    let lines = [
        Line::Keyspace { name: "k", keep: Retention::All },
        Line::Entry { key: b"a", value: b"1", deadline: None },
        Line::Entry { key: b"b", value: b"", deadline: Some(5) },
        Line::End(Totals { keyspaces: 1, entries: 2, content: [9; 32] }),
    ];
    for line in &lines {
        sum = write_line(&mut file, line, sum);
    }
    #[rustfmt::skip]
    let golden: &[&[u8]] = &[
        b"orlojexp", &[1, 0, 0, 0], &[2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[3, 0, 0, 0, 0, 0, 0, 0], &[4, 0, 0, 0, 0, 0, 0, 0], &SUMS[0].to_le_bytes(),
        &SUMS[1].to_le_bytes(), &[4, 0, 0, 0], &[1, 1, b'k', 1],
        &SUMS[2].to_le_bytes(), &[4, 0, 0, 0], &[2, 1, b'a', b'1'],
        &SUMS[3].to_le_bytes(), &[11, 0, 0, 0], &[3, 1, b'b', 5, 0, 0, 0, 0, 0, 0, 0],
        &SUMS[4].to_le_bytes(), &[49, 0, 0, 0], &[4, 1, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0, 0, 0, 0, 0, 0, 0], &[9; 32],
    ];
    assert_eq!(file, golden.concat());
    // However it comes, it is read the same.
    for run in [1, 7, file.len()] {
        let mut reading = Reading::new();
        let mut left = file.chunks(run);
        for line in &lines {
            loop {
                match reading.line() {
                    Ok(read) => break assert_eq!(read.as_ref(), Some(line)),
                    Err(ExportFault::Short) => reading.feed(left.next().expect("there is more")),
                    Err(fault) => panic!("{fault}"),
                }
            }
        }
        assert_eq!((reading.header(), reading.line()), (Ok(header), Ok(None)));
        reading.feed(&[0]);
        assert_eq!(reading.line(), Err(ExportFault::Behind));
    }
}

/// Computed by another program.
const SUMS: [u32; 5] = [0x3f80_4bbd, 0xf054_2d2a, 0x34f7_cdf5, 0xfc2f_33ae, 0x5da0_190f];

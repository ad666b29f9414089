//! A database that is being made.

use super::*;
use crate::manifest;

fn options() -> Options {
    Options::new("db", Durability::Strict)
}

/// Makes a keyspace with one key.
async fn fill(db: &Database, value: &[u8]) {
    let data = db.create_keyspace("data", Retention::default()).await.expect("it is new");
    db.put(&data, b"a", value.into()).await.expect("it is written");
}

#[orloj_sim::test(seeds = 4)]
async fn it_is_none_before_it_is_published(cx: Context) {
    let given_up = Database::make(cx, options()).await.expect("the directory is not there");
    fill(&given_up, b"1").await;
    let second = Database::make(cx, options()).await.expect_err("it is being made");
    assert!(matches!(second, Error::Locked { .. }), "{second}");
    given_up.checkpoint().await.expect("the disk works");
    given_up.close().await.expect("the disk works");
    assert!(manifest::read(cx, "db").await.expect("the disk works").is_none());
    let opened = Database::open(cx, options()).await.expect_err("it was not published");
    assert!(matches!(opened, Error::Unfinished { .. }), "{opened}");

    // What was left is removed.
    let db = Database::make(cx, options()).await.expect("what is there is nobody's");
    fill(&db, b"2").await;
    db.publish().await.expect("the disk works");
    db.close().await.expect("the disk works");
    let (db, _) = Database::open(cx, options()).await.expect("it is a database");
    let data = db.keyspace("data").expect("it was made");
    assert_eq!(read(&db, &data, b"a").await.map(|(_, value)| value), Some(b"2".to_vec()));
    db.close().await.expect("the disk works");
    let again = Database::make(cx, options()).await.expect_err("it is a database");
    assert!(matches!(again, Error::NotEmpty { .. }), "{again}");
}

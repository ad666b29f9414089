//! Files, names and directories of a disk where nothing goes wrong.

use std::sync::Arc;

use orloj_host::{Host, Options};
use orloj_kernel::{Context, DiskError, DiskErrorKind, Entry, File, OpenMode};

machine_only! {
    one: [
        a_file_is_opened_as_its_mode_says,
        opening_what_cannot_be_a_file_is_refused,
        bytes_are_read_where_they_were_written,
        a_read_is_short_only_at_the_end,
        a_write_beyond_the_end_leaves_zeros,
        overwriting_changes_only_what_it_covers,
        an_empty_write_does_not_grow_a_file,
        the_length_can_be_set_both_ways,
        a_file_opened_for_reading_is_not_written,
        a_write_hands_its_buffer_back,
        a_write_and_its_sync_in_one,
        two_handles_see_one_file,
        a_removed_file_lives_on_in_its_handles,
        a_name_is_removed_once,
        a_rename_replaces,
        a_rename_moves_between_directories,
        a_rename_of_nothing_or_to_nowhere_fails,
        a_renamed_file_keeps_its_handles,
        a_listing_is_sorted_and_tells_files_from_directories,
        listing_what_is_no_directory_fails,
        directories_are_made_with_their_parents,
        a_file_in_the_way_is_no_directory,
        directories_are_synced,
        a_removed_directory_is_no_file,
        a_lock_is_held_by_one,
        a_lock_lives_as_long_as_its_guard,
        concurrent_writes_all_arrive,
        concurrent_reads_and_syncs_do_not_disturb,
        a_dropped_write_is_done_or_not_but_never_half,
        an_error_says_what_and_where,
        large_transfers,
    ],
    two: [each_host_has_its_own_disk],
}

fn kind<T>(result: Result<T, DiskError>) -> DiskErrorKind {
    match result {
        Ok(_) => panic!("it was to fail"),
        Err(e) => e.kind,
    }
}

async fn file_with(cx: Context, path: &str, bytes: &[u8]) -> File {
    let file = cx.open(path, OpenMode::CreateNew).await.expect("the name is free");
    file.write_at(0, bytes.to_vec()).await.expect("there is room");
    file
}

async fn read_all(file: &File) -> Vec<u8> {
    let len = file.size().await.expect("a file has a length");
    file.read_at(0, len as usize).await.expect("a file can be read")
}

async fn names(cx: Context, dir: &str) -> Vec<String> {
    let entries = cx.list(dir).await.expect("the directory exists");
    entries.into_iter().map(|e| e.name).collect()
}

async fn a_file_is_opened_as_its_mode_says(cx: Context) {
    use OpenMode::{Create, CreateNew, Read, Write};
    assert_eq!(kind(cx.open("a", Read).await), DiskErrorKind::NotFound);
    assert_eq!(kind(cx.open("a", Write).await), DiskErrorKind::NotFound);
    assert!(names(cx, "").await.is_empty());
    let file = cx.open("a", Create).await.unwrap();
    assert_eq!((file.path(), file.size().await.unwrap()), ("a", 0));
    file.write_at(0, b"kept".to_vec()).await.unwrap();
    assert_eq!(kind(cx.open("a", CreateNew).await), DiskErrorKind::AlreadyExists);
    for mode in [Read, Write, Create] {
        let again = cx.open("a", mode).await.unwrap();
        assert_eq!(read_all(&again).await, b"kept", "{mode:?}");
    }
    cx.open("b", CreateNew).await.unwrap();
    assert_eq!(names(cx, "").await, ["a", "b"]);
}

async fn opening_what_cannot_be_a_file_is_refused(cx: Context) {
    cx.create_dir("dir").await.unwrap();
    file_with(cx, "file", b"").await;
    for mode in [OpenMode::Read, OpenMode::Write, OpenMode::Create] {
        assert_eq!(kind(cx.open("dir", mode).await), DiskErrorKind::BadPath, "{mode:?}");
        assert_eq!(kind(cx.open("", mode).await), DiskErrorKind::BadPath, "{mode:?}");
        assert_eq!(kind(cx.open("file/x", mode).await), DiskErrorKind::BadPath, "{mode:?}");
        assert_eq!(kind(cx.open("no/x", mode).await), DiskErrorKind::NotFound, "{mode:?}");
        assert_eq!(kind(cx.open("nul\0", mode).await), DiskErrorKind::BadPath, "{mode:?}");
        let long = "x".repeat(256);
        assert_eq!(kind(cx.open(&long, mode).await), DiskErrorKind::BadPath, "{mode:?}");
    }
    let exists = cx.open("dir", OpenMode::CreateNew).await;
    assert_eq!(kind(exists), DiskErrorKind::AlreadyExists);
}

async fn bytes_are_read_where_they_were_written(cx: Context) {
    let file = file_with(cx, "a", b"0123456789").await;
    assert_eq!(file.read_at(3, 4).await.unwrap(), b"3456");
    assert_eq!(file.read_at(0, 0).await.unwrap(), b"");
    file.sync().await.unwrap();
    assert_eq!(read_all(&file).await, b"0123456789");
    assert!(format!("{file:?}").contains("\"a\""));
}

async fn a_read_is_short_only_at_the_end(cx: Context) {
    let file = file_with(cx, "a", b"0123456789").await;
    assert_eq!(file.read_at(8, 100).await.unwrap(), b"89");
    assert_eq!(file.read_at(10, 100).await.unwrap(), b"");
    assert_eq!(file.read_at(1 << 40, 100).await.unwrap(), b"");
}

async fn a_write_beyond_the_end_leaves_zeros(cx: Context) {
    let file = file_with(cx, "a", b"abc").await;
    file.write_at(100_000, b"z".to_vec()).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 100_001);
    let all = read_all(&file).await;
    assert_eq!((&all[..3], all[100_000]), (&b"abc"[..], b'z'));
    assert!(all[3..100_000].iter().all(|b| *b == 0));
}

async fn overwriting_changes_only_what_it_covers(cx: Context) {
    let file = file_with(cx, "a", b"0123456789").await;
    file.write_at(4, b"xy".to_vec()).await.unwrap();
    file.write_at(9, b"end".to_vec()).await.unwrap();
    assert_eq!(read_all(&file).await, b"0123xy678end");
}

async fn an_empty_write_does_not_grow_a_file(cx: Context) {
    let file = file_with(cx, "a", b"abc").await;
    file.write_at(10, Vec::new()).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 3);
}

async fn the_length_can_be_set_both_ways(cx: Context) {
    let file = file_with(cx, "a", b"0123456789").await;
    file.set_len(4).await.unwrap();
    assert_eq!(read_all(&file).await, b"0123");
    file.set_len(8).await.unwrap();
    assert_eq!(read_all(&file).await, b"0123\0\0\0\0", "what was cut does not come back");
    file.sync().await.unwrap();
    file.set_len(0).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 0);
}

async fn a_file_opened_for_reading_is_not_written(cx: Context) {
    file_with(cx, "a", b"abc").await;
    let file = cx.open("a", OpenMode::Read).await.unwrap();
    assert_eq!(kind(file.write_at(0, b"x".to_vec()).await), DiskErrorKind::ReadOnly);
    assert_eq!(kind(file.write_sync(0, b"x".to_vec()).await), DiskErrorKind::ReadOnly);
    assert_eq!(kind(file.set_len(0).await), DiskErrorKind::ReadOnly);
    file.sync().await.unwrap();
    assert_eq!(read_all(&file).await, b"abc");
}

async fn a_write_hands_its_buffer_back(cx: Context) {
    let file = cx.open("a", OpenMode::Create).await.unwrap();
    let mut buf = Vec::with_capacity(1 << 16);
    buf.extend_from_slice(b"reuse me");
    let (address, capacity) = (buf.as_ptr().addr(), buf.capacity());
    let buf = file.write_at(0, buf).await.unwrap();
    let buf = file.write_sync(8, buf).await.unwrap();
    assert_eq!((buf.as_ptr().addr(), buf.capacity()), (address, capacity));
    assert_eq!(buf, b"reuse me");
}

async fn a_write_and_its_sync_in_one(cx: Context) {
    let file = file_with(cx, "a", b"0123").await;
    file.write_sync(2, b"xyz".to_vec()).await.unwrap();
    assert_eq!(read_all(&file).await, b"01xyz");
    file.write_sync(9, Vec::new()).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 5);
}

async fn two_handles_see_one_file(cx: Context) {
    let one = file_with(cx, "a", b"0123").await;
    let two = cx.open("a", OpenMode::Write).await.unwrap();
    two.write_at(4, b"45".to_vec()).await.unwrap();
    assert_eq!(read_all(&one).await, b"012345");
    one.set_len(1).await.unwrap();
    assert_eq!(two.size().await.unwrap(), 1);
}

async fn a_removed_file_lives_on_in_its_handles(cx: Context) {
    let file = file_with(cx, "a", b"0123").await;
    cx.remove("a").await.unwrap();
    assert!(names(cx, "").await.is_empty());
    assert_eq!(read_all(&file).await, b"0123");
    file.write_at(4, b"45".to_vec()).await.unwrap();
    let new = cx.open("a", OpenMode::CreateNew).await.unwrap();
    assert_eq!((new.size().await.unwrap(), file.size().await.unwrap()), (0, 6));
}

async fn a_name_is_removed_once(cx: Context) {
    file_with(cx, "a", b"").await;
    cx.remove("a").await.unwrap();
    assert_eq!(kind(cx.remove("a").await), DiskErrorKind::NotFound);
    assert_eq!(kind(cx.remove("no/a").await), DiskErrorKind::NotFound);
    cx.sync_dir("").await.unwrap();
}

async fn a_rename_replaces(cx: Context) {
    file_with(cx, "new", b"new").await;
    file_with(cx, "old", b"old").await;
    cx.rename("new", "old").await.unwrap();
    assert_eq!(names(cx, "").await, ["old"]);
    let file = cx.open("old", OpenMode::Read).await.unwrap();
    assert_eq!(read_all(&file).await, b"new");
    cx.rename("old", "old").await.unwrap();
    assert_eq!(names(cx, "").await, ["old"]);
}

async fn a_rename_moves_between_directories(cx: Context) {
    cx.create_dir("x/y").await.unwrap();
    file_with(cx, "a", b"moved").await;
    cx.rename("a", "x/y/b").await.unwrap();
    assert_eq!(
        (names(cx, "").await, names(cx, "x/y").await),
        (vec!["x".to_owned()], vec!["b".to_owned()])
    );
    cx.rename("x/y", "z").await.unwrap();
    let file = cx.open("z/b", OpenMode::Read).await.unwrap();
    assert_eq!(read_all(&file).await, b"moved");
    for dir in ["", "x", "z"] {
        cx.sync_dir(dir).await.unwrap();
    }
}

async fn a_rename_of_nothing_or_to_nowhere_fails(cx: Context) {
    file_with(cx, "a", b"a").await;
    cx.create_dir("dir").await.unwrap();
    assert_eq!(kind(cx.rename("no", "b").await), DiskErrorKind::NotFound);
    assert_eq!(kind(cx.rename("a", "no/b").await), DiskErrorKind::NotFound);
    assert_eq!(kind(cx.rename("a", "dir").await), DiskErrorKind::BadPath);
    assert_eq!(kind(cx.rename("dir", "a").await), DiskErrorKind::BadPath);
    assert_eq!(names(cx, "").await, ["a", "dir"]);
}

async fn a_renamed_file_keeps_its_handles(cx: Context) {
    let file = file_with(cx, "a", b"0123").await;
    cx.rename("a", "b").await.unwrap();
    file.write_at(4, b"45".to_vec()).await.unwrap();
    let renamed = cx.open("b", OpenMode::Read).await.unwrap();
    assert_eq!(read_all(&renamed).await, b"012345");
}

async fn a_listing_is_sorted_and_tells_files_from_directories(cx: Context) {
    cx.create_dir("dir/inner").await.unwrap();
    for name in ["b", "a", "B", "a.b", "é", "10", "9"] {
        file_with(cx, &format!("dir/{name}"), name.as_bytes()).await;
    }
    let entry = |name: &str, len, is_dir| Entry { name: name.to_owned(), len, is_dir };
    let expected = [
        entry("10", 2, false),
        entry("9", 1, false),
        entry("B", 1, false),
        entry("a", 1, false),
        entry("a.b", 3, false),
        entry("b", 1, false),
        entry("inner", 0, true),
        entry("é", 2, false),
    ];
    assert_eq!(cx.list("dir").await.unwrap(), expected);
    assert_eq!(cx.list("dir/inner").await.unwrap(), []);
    assert_eq!(cx.list("").await.unwrap(), [entry("dir", 0, true)]);
}

async fn listing_what_is_no_directory_fails(cx: Context) {
    file_with(cx, "a", b"").await;
    assert_eq!(kind(cx.list("a").await), DiskErrorKind::BadPath);
    assert_eq!(kind(cx.list("no").await), DiskErrorKind::NotFound);
}

async fn directories_are_made_with_their_parents(cx: Context) {
    cx.create_dir("a/b/c").await.unwrap();
    cx.create_dir("a/b/c").await.unwrap();
    cx.create_dir("a/b/d").await.unwrap();
    cx.create_dir("").await.unwrap();
    assert_eq!(names(cx, "a/b").await, ["c", "d"]);
}

async fn a_file_in_the_way_is_no_directory(cx: Context) {
    file_with(cx, "a", b"").await;
    assert_eq!(kind(cx.create_dir("a").await), DiskErrorKind::BadPath);
    assert_eq!(kind(cx.create_dir("a/b").await), DiskErrorKind::BadPath);
}

async fn directories_are_synced(cx: Context) {
    cx.create_dir("a/b").await.unwrap();
    for dir in ["", "a", "a/b"] {
        cx.sync_dir(dir).await.unwrap();
    }
    assert_eq!(kind(cx.sync_dir("no").await), DiskErrorKind::NotFound);
    file_with(cx, "file", b"").await;
    assert_eq!(kind(cx.sync_dir("file").await), DiskErrorKind::BadPath);
}

async fn a_removed_directory_is_no_file(cx: Context) {
    cx.create_dir("a").await.unwrap();
    assert_eq!(kind(cx.remove("a").await), DiskErrorKind::BadPath);
    assert_eq!(names(cx, "").await, ["a"]);
}

async fn a_lock_is_held_by_one(cx: Context) {
    let held = cx.lock("LOCK").await.unwrap();
    assert_eq!(kind(cx.lock("LOCK").await), DiskErrorKind::Locked);
    let other = cx.lock("OTHER").await.unwrap();
    assert_eq!(names(cx, "").await, ["LOCK", "OTHER"]);
    drop((held, other));
    assert_eq!(kind(cx.lock("no/LOCK").await), DiskErrorKind::NotFound);
}

async fn a_lock_lives_as_long_as_its_guard(cx: Context) {
    for _ in 0..10 {
        let held = cx.lock("LOCK").await.unwrap();
        // Opening the file is no attempt at the lock.
        cx.open("LOCK", OpenMode::Write).await.unwrap();
        assert_eq!(kind(cx.lock("LOCK").await), DiskErrorKind::Locked);
        drop(held);
    }
}

async fn concurrent_writes_all_arrive(cx: Context) {
    const BLOCK: usize = 1_000;
    let file = Arc::new(cx.open("a", OpenMode::Create).await.unwrap());
    let writers: Vec<_> = (0..50_u8)
        .map(|n| {
            let file = file.clone();
            cx.spawn("writer", async move {
                for round in 0..4 {
                    let offset = (usize::from(n) * 4 + round) * BLOCK;
                    file.write_at(offset as u64, vec![n; BLOCK]).await.unwrap();
                }
                file.sync().await.unwrap();
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let all = read_all(&file).await;
    assert_eq!(all.len(), 200 * BLOCK);
    for (at, byte) in all.iter().enumerate() {
        assert_eq!(usize::from(*byte), at / (4 * BLOCK), "at {at}");
    }
}

async fn concurrent_reads_and_syncs_do_not_disturb(cx: Context) {
    let file = Arc::new(file_with(cx, "a", &[7; 10_000]).await);
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let file = file.clone();
            cx.spawn("reader", async move {
                if n % 4 == 0 {
                    file.sync().await.unwrap();
                }
                let read = file.read_at(n * 100, 500).await.unwrap();
                assert_eq!(read, [7; 500]);
                assert_eq!(file.size().await.unwrap(), 10_000);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn a_dropped_write_is_done_or_not_but_never_half(cx: Context) {
    let file = Arc::new(file_with(cx, "a", &[0; 8_192]).await);
    for n in 1..20_u8 {
        let writer = file.clone();
        let task = cx.spawn("writer", async move { writer.write_at(0, vec![n; 8_192]).await });
        cx.yield_now().await;
        task.abort();
        let _ = task.await;
        // A second write waits for the first nowhere, so only its own place is certain.
        file.write_at(8_192, vec![n]).await.unwrap();
    }
    // Whatever was under way is over when the file is closed and opened again.
    cx.sleep(std::time::Duration::from_millis(20)).await;
    let all = read_all(&file).await;
    assert_eq!(all.len(), 8_193);
    assert!(all[..8_192].iter().all(|b| *b == all[0]), "a write is there in part");
}

async fn an_error_says_what_and_where(cx: Context) {
    let error = cx.open("no/such", OpenMode::Read).await.unwrap_err();
    assert_eq!((error.op, error.path.as_str()), ("open", "no/such"));
    assert_eq!(error.to_string(), "open no/such: not found");
    assert_eq!(cx.remove("gone").await.unwrap_err().to_string(), "remove gone: not found");
    let file = file_with(cx, "a", b"").await;
    drop(file);
    let file = cx.open("a", OpenMode::Read).await.unwrap();
    let error = file.write_at(0, vec![1]).await.unwrap_err();
    assert_eq!(error.to_string(), "write a: read-only");
}

async fn large_transfers(cx: Context) {
    const LEN: usize = 9 << 20;
    let bytes: Vec<u8> = (0..LEN).map(|n| (n / 4_096 + n) as u8).collect();
    let file = cx.open("a", OpenMode::Create).await.unwrap();
    let bytes = file.write_sync(5, bytes).await.unwrap();
    assert!(file.read_at(5, LEN).await.unwrap() == bytes);
    assert_eq!(file.size().await.unwrap(), LEN as u64 + 5);
}

async fn each_host_has_its_own_disk(here: Context, there: Context) {
    file_with(here, "a", b"here").await;
    assert_eq!(kind(there.open("a", OpenMode::Read).await), DiskErrorKind::NotFound);
    file_with(there, "a", b"there").await;
    let file = here.open("a", OpenMode::Read).await.unwrap();
    assert_eq!(read_all(&file).await, b"here");
    let _held = here.lock("LOCK").await.unwrap();
    there.lock("LOCK").await.unwrap();
}

/// A device that is always full and cannot be synced, which no portable test could make of a disk.
#[test]
fn a_full_device_is_full_and_a_failed_sync_is_the_end_of_a_file() {
    let cx = Host::new(Options::new("unused")).unwrap().context();
    cx.block_on(async {
        let file = cx.open("/dev/full", OpenMode::Write).await.unwrap();
        for _ in 0..2 {
            assert_eq!(kind(file.write_at(0, vec![1]).await), DiskErrorKind::Full);
            let error = file.write_sync(0, vec![1]).await.unwrap_err();
            assert_eq!((error.op, error.kind), ("write", DiskErrorKind::Full));
        }
        assert_eq!(file.read_at(0, 3).await.unwrap(), [0; 3], "a full disk can be read");

        let error = file.sync().await.unwrap_err();
        assert_eq!(error.op, "sync");
        assert!(matches!(error.kind, DiskErrorKind::Io(_)), "{error}");
        for dead in [
            file.sync().await.map(drop),
            file.write_at(0, vec![1]).await.map(drop),
            file.write_sync(0, vec![1]).await.map(drop),
            file.read_at(0, 1).await.map(drop),
            file.size().await.map(drop),
            file.set_len(0).await.map(drop),
        ] {
            assert_eq!(kind(dead), DiskErrorKind::Dead);
        }
    });
}

#[test]
fn a_root_is_made_with_everything_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let cx = Host::new(Options::new(dir.path().join("a/b/c"))).unwrap().context();
    cx.block_on(async {
        assert_eq!(kind(cx.list("").await), DiskErrorKind::NotFound);
        cx.create_dir("d").await.unwrap();
        assert_eq!(names(cx, "").await, ["d"]);
    });
    assert!(dir.path().join("a/b/c/d").is_dir());
}

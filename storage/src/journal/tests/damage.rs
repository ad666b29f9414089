//! Goal: damage to history that was synced is refused, by name; it is never read, cut or skipped.
//! Method: one journal of several segments, closed or not; then every bit, sector and file of it in
//! turn is damaged, and the journal must say so or give back the whole history.

use std::collections::BTreeMap;

use orloj_kernel::{Context, DiskError, OpenMode};

use super::{History, World, append, open};
use crate::journal::{Damage, DatabaseId, JournalError, Recovery, SECTOR, SegmentHeader};

/// The journal's files by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// The files of a journal of three segments or so, and its history. It ends with a mark unless
/// `bare`.
fn journal(bare: bool) -> (Files, History) {
    let mut world = World::new(1);
    let mut history = History::new();
    for life in 0..3 {
        let mut so_far = history;
        history = world.live(|cx| async move {
            let (mut log, _, found) = open(cx).await.expect("an intact journal");
            assert_eq!(found, so_far);
            for n in 0..6 {
                let record = vec![b'a' + n + life; 300 + 40 * usize::from(n)];
                append(&mut log, &record).await.expect("room for it");
                so_far.push(record);
            }
            if !(bare && life == 2) {
                log.mark(life == 1).await.expect("room for it");
            }
            so_far
        });
    }
    (world.live(read), history)
}

pub(super) async fn read(cx: Context) -> Files {
    let mut files = Files::new();
    for entry in cx.list("wal").await.expect("there is a journal") {
        let path = format!("wal/{}", entry.name);
        let file = cx.open(&path, OpenMode::Read).await.expect("it is there");
        let bytes = file.read_at(0, entry.len as usize).await.expect("it can be read");
        files.insert(path, bytes);
    }
    files
}

pub(super) async fn write(cx: Context, files: Files) -> Result<(), DiskError> {
    cx.create_dir("wal").await?;
    for (path, bytes) in files {
        cx.open(&path, OpenMode::CreateNew).await?.write_sync(0, bytes).await?;
    }
    cx.sync_dir("wal").await
}

/// Opens the journal that is in `files`.
fn reopen(files: Files) -> Result<(Recovery, History), JournalError> {
    World::new(2).live(|cx| async move {
        write(cx, files).await.expect("room for it");
        open(cx).await.map(|(_, recovery, history)| (recovery, history))
    })
}

/// Damages a copy of one of the files and opens the journal.
fn damaged(
    files: &Files,
    name: &str,
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<History, JournalError> {
    let mut files = files.clone();
    change(files.get_mut(name).expect("the file is there"));
    reopen(files).map(|(_, history)| history)
}

#[test]
fn every_flipped_bit_is_harmless_or_refused() {
    for bare in [false, true] {
        let (files, history) = journal(bare);
        let mut refused = 0;
        for (name, bytes) in &files {
            // Beyond the last frame there is nothing to damage.
            let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |n| n + 1);
            for at in (0..used).step_by(3) {
                let bit = 1 << (at % 8);
                match damaged(&files, name, |b| b[at] ^= bit) {
                    Ok(found) => assert_eq!(found, history, "{name}, byte {at}"),
                    Err(JournalError::Damaged { .. }) => refused += 1,
                    Err(e) => panic!("{name}, byte {at}: {e}"),
                }
            }
        }
        assert!(refused > 1_500, "{refused} refused");
    }
}

#[test]
fn every_lost_sector_is_harmless_or_refused() {
    let (files, history) = journal(false);
    for (name, bytes) in &files {
        for sector in 0..bytes.len() / SECTOR {
            for noise in [0, 0x77] {
                let place = sector * SECTOR..(sector + 1) * SECTOR;
                match damaged(&files, name, |b| b[place].fill(noise)) {
                    Ok(found) => assert_eq!(found, history, "{name}, sector {sector}"),
                    Err(JournalError::Damaged { .. }) => {}
                    Err(e) => panic!("{name}, sector {sector}: {e}"),
                }
            }
        }
    }
}

#[test]
fn every_cut_file_is_harmless_or_refused() {
    let (files, history) = journal(false);
    for (name, bytes) in &files {
        for len in (0..bytes.len()).step_by(97) {
            match damaged(&files, name, |b| b.truncate(len)) {
                Ok(found) => assert_eq!(found, history, "{name}, {len} bytes"),
                Err(JournalError::Damaged { .. }) => {}
                Err(e) => panic!("{name}, {len} bytes: {e}"),
            }
        }
    }
}

#[test]
fn a_lost_file_is_missed() {
    // Within one life segments follow each other, and each tells of its successor.
    let (files, history) = {
        let mut world = World::new(5);
        let history = world.live(|cx| async move {
            let (mut log, _, mut history) = open(cx).await.expect("a new journal");
            for n in 0..40_u8 {
                history.push(vec![n; 900]);
                append(&mut log, &[n; 900]).await.expect("room for it");
            }
            history
        });
        (world.live(read), history)
    };
    let segments: Vec<_> = files.keys().filter(|n| n.ends_with(".seg")).collect();
    assert!(segments.len() >= 3, "{segments:?}");
    for name in segments {
        let mut rest = files.clone();
        rest.remove(name);
        let error = reopen(rest).expect_err("a segment is gone");
        let JournalError::Missing { file, .. } = &error else { panic!("{error}") };
        assert_eq!(format!("wal/{file}"), *name);
    }
    assert_eq!(reopen(files).map(|(_, found)| found), Ok(history));
}

#[test]
fn a_lost_file_is_missed_by_the_next_life_too() {
    let mut world = World::new(6);
    for life in 0..3_u8 {
        world.live(|cx| async move {
            let (mut log, ..) = open(cx).await.expect("a journal");
            append(&mut log, &[life; 900]).await.expect("room for it");
        });
    }
    let files = world.live(read);
    let segments: Vec<_> = files.keys().filter(|n| n.ends_with(".seg")).collect();
    assert!(segments.len() >= 2, "{segments:?}");
    for name in segments {
        let mut rest = files.clone();
        rest.remove(name);
        let error = reopen(rest).expect_err("a segment is gone");
        // The one before was cut where this one began.
        let is_told = matches!(error, JournalError::Missing { .. } | JournalError::Damaged { .. });
        assert!(is_told, "{error}");
    }
}

#[test]
fn strangers_are_refused_by_name() {
    let (files, _) = journal(false);
    let rewrite = |change: fn(&mut SegmentHeader)| {
        let (name, _) = files.iter().next().expect("there are segments");
        damaged(&files, name, |bytes| {
            let mut header = SegmentHeader::decode(bytes).expect("an intact head");
            change(&mut header);
            bytes[..2 * SECTOR].copy_from_slice(&header.encode());
        })
        .expect_err("a stranger")
        .to_string()
    };
    let error = rewrite(|h| h.database = DatabaseId(7));
    assert!(error.contains("belongs to database 00000000000000000000000000000007"), "{error}");
    let error = rewrite(|h| h.number = 99);
    assert!(error.contains("is segment 99 under another name"), "{error}");
    let error = rewrite(|h| h.previous = 77);
    assert!(error.contains("names a predecessor it cannot have"), "{error}");
}

#[test]
fn the_report_says_what_was_cut_and_what_was_rewritten() {
    let (mut files, history) = journal(true);
    let (recovery, found) = reopen(files.clone()).expect("an intact journal");
    assert_eq!((recovery.records, recovery.rewritten), (18, 1), "the last frame is unproven");
    assert_eq!((recovery.cut, recovery.closed, recovery.created), (None, false, false));
    assert_eq!(found, history);

    let name = files.keys().rfind(|n| n.ends_with(".seg")).expect("a last segment").clone();
    // The last frame loses its second sector, as a power cut may leave it.
    let bytes = files.get_mut(&name).expect("it is there");
    let last = bytes.iter().rposition(|b| *b != 0).expect("it has frames");
    bytes[last / SECTOR * SECTOR..].fill(0);
    let (recovery, found) = reopen(files).expect("a torn tail is no damage");
    assert_eq!(found, history[..17]);
    let cut = recovery.cut.expect("something was cut");
    assert_eq!((format!("wal/{}", cut.file), cut.bytes), (name, SECTOR as u64));
}

#[test]
fn damage_names_place_and_cause() {
    let (files, _) = journal(false);
    let name = files.keys().next().expect("a first segment");
    let error = damaged(&files, name, |b| b[1024 + 300] ^= 4).expect_err("damage");
    let JournalError::Damaged { file, offset, lsn, damage } = error else { panic!("{error}") };
    assert_eq!((file.as_str(), offset, lsn.0, damage), (name.as_str(), 1024, 1, Damage::Body));
}

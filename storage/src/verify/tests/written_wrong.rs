//! Databases whose checksums are all right, and whose contents are not.

use super::*;
use crate::{
    catalogue::encode_space,
    keyspace::KeyspaceId,
    page::{Fence, Leaf, PagePtr, UNIT, seal},
    recover::{read_catalogue, read_space},
    superblock::{self, Superblock},
    vlog,
};

/// Where a segment's first record stands: behind two sectors of head.
const FIRST_RECORD: u64 = 1024;

/// A database with a generation, long values in it.
async fn made(cx: Context) {
    let (mut model, mut chance) = (Model::default(), Chance(11));
    let mut trial = Trial::open(cx).await.expect("a disk that works");
    // Several, so that there are units which the newest generation does not use.
    for _ in 0..4 {
        for _ in 0..60 {
            trial.commit(&mut model, chance.change(80)).await.expect("it fits");
        }
        trial.checkpoint(&mut model).await.expect("a disk that works");
    }
}

fn run<T, F>(test: impl FnOnce(Context) -> F) -> T
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut sim = Simulation::new(Config::seed(6));
    let node = sim.idle_host("node");
    let test = test(node);
    sim.run(node, test).unwrap_or_else(|e| panic!("{} {}", e.law, e.evidence))
}

/// Replaces the page of used units of the newest generation.
async fn mark(cx: Context, change: impl FnOnce(&mut crate::pager::Bits, &Superblock)) {
    let offline = Offline::open(cx, "db").await.expect("it is whole");
    let block = offline.found.newest.expect("it has a generation");
    let pager = offline.pager.as_ref().expect("it has pages");
    let mut used = read_space(pager, &block).await.expect("it is whole");
    change(&mut used, &block);
    let size = block.space.size();
    let mut image = encode_space(&used, block.units, size, block.lsn);
    let database = offline.manifest.database;
    let space = seal(&mut image, database, block.space.unit, block.generation);
    overwrite(cx, "db/data.pages", space.offset(), image).await;
    let block = Superblock { space, ..block };
    superblock::write(cx, "db", &block).await.expect("a disk that works");
}

#[test]
fn units_that_are_marked_wrongly_are_found() {
    run(|cx| async move {
        made(cx).await;
        let catalogue = async || {
            let offline = Offline::open(cx, "db").await.expect("it is whole");
            offline.found.newest.expect("it has a generation").catalogue
        };
        let at = catalogue().await;
        mark(cx, |used, _| assert!(used.take(at.unit, at.units.into()))).await;
        let findings = walk(cx).await.findings;
        let [finding] = &findings[..] else { panic!("{findings:#?}") };
        assert_eq!(finding.what, Defect::Unmarked(at.units.into()));
        assert_eq!((finding.grade, finding.offset), (Grade::Damage, at.offset()));

        mark(cx, |used, _| used.add(at.unit, at.units.into())).await;
        is_sound(cx, "marked again").await;
    });
}

#[test]
fn a_unit_that_is_marked_and_not_used_is_found() {
    run(|cx| async move {
        made(cx).await;
        let mut free = None;
        mark(cx, |used, block| {
            free = (1..block.units).find(|unit| !used.has(*unit));
            used.add(free.expect("not all are in use"), 1);
        })
        .await;
        let findings = walk(cx).await.findings;
        let [finding] = &findings[..] else { panic!("{findings:#?}") };
        assert_eq!((&finding.what, finding.grade), (&Defect::Leaked(1), Grade::Waste));
        assert_eq!(Some(finding.offset / UNIT as u64), free);
    });
}

/// Replaces the only leaf of a new database by `leaf`, with right checksums all the way up.
async fn with_leaf(cx: Context, change: impl FnOnce(Leaf) -> Leaf) -> PagePtr {
    let mut model = Model::default();
    let mut trial = Trial::open(cx).await.expect("a disk that works");
    for _ in 0..2 {
        trial.commit(&mut model, (NEWEST, Vec::new())).await.expect("it fits");
    }
    let long = vec![7; 900];
    let writes = vec![(b"a".to_vec(), Some(long)), (b"b".to_vec(), Some(b"short".to_vec()))];
    trial.commit(&mut model, (NEWEST, writes)).await.expect("it fits");
    trial.checkpoint(&mut model).await.expect("a disk that works");
    drop(trial);
    let offline = Offline::open(cx, "db").await.expect("it is whole");
    let (block, database) = (offline.found.newest.expect("one"), offline.manifest.database);
    let pager = offline.pager.as_ref().expect("it has pages");
    let mut catalogue = read_catalogue(pager, &block).await.expect("it is whole");
    let root = &mut catalogue.keyspaces.iter_mut().find(|k| k.id == NEWEST).expect("made").roots[0];
    let (_, image) = pager.read(root.1).await.expect("it is whole");
    let (ptr, keyspace, lsn) = crate::page::InnerPage::read(&image, |page| {
        assert_eq!(page.children.len(), 1);
        (page.children[0].1, page.keyspace, page.lsn)
    })
    .expect("it makes sense");
    let (_, image) = pager.read(ptr).await.expect("it is whole");
    let leaf = change(Leaf::read(image).expect("it makes sense"));
    let mut image = leaf.encode();
    assert_eq!(image.len(), ptr.size(), "it fits where it was");
    let leaf = seal(&mut image, database, ptr.unit, block.generation);
    overwrite(cx, "db/data.pages", leaf.offset(), image).await;
    let children = vec![(Fence::FIRST, leaf)];
    let inner = crate::page::InnerPage { keyspace, level: 1, lsn, children, upper: None };
    let mut image = inner.encode();
    root.1 = seal(&mut image, database, root.1.unit, block.generation);
    overwrite(cx, "db/data.pages", root.1.offset(), image).await;
    let mut image = catalogue.encode(block.lsn);
    let catalogue = seal(&mut image, database, block.catalogue.unit, block.generation);
    overwrite(cx, "db/data.pages", catalogue.offset(), image).await;
    let block = Superblock { catalogue, ..block };
    superblock::write(cx, "db", &block).await.expect("a disk that works");
    leaf
}

#[test]
fn a_leaf_as_it_was_is_sound() {
    run(|cx| async move {
        with_leaf(cx, |leaf| leaf).await;
        let report = is_sound(cx, "nothing was changed").await;
        assert_eq!((report.totals.entries, report.totals.values), (2, 1));
    });
}

#[test]
fn a_leaf_of_other_fences_or_another_keyspace_is_found() {
    run(|cx| async move {
        let other = Leaf::new(NEWEST, Fence::before(b"a"), None, UNIT);
        let at = with_leaf(cx, |_| other).await;
        let findings = walk(cx).await.findings;
        assert_eq!(findings[0].what, Defect::Fences, "{findings:?}");
        assert_eq!(findings[0].offset, at.offset());
        assert_eq!(findings[0].keys, Some((NEWEST, Vec::new(), None)));
    });
    run(|cx| async move {
        let other = Leaf::new(KeyspaceId(99), Fence::FIRST, None, UNIT);
        with_leaf(cx, |_| other).await;
        let findings = walk(cx).await.findings;
        assert_eq!(findings[0].what, Defect::Keyspace(KeyspaceId(99)), "{findings:?}");
    });
}

#[test]
fn a_value_without_a_reference_is_found() {
    run(|cx| async move {
        // The leaf that referred to it is another one now, and no catalogue counts it as dead.
        with_leaf(cx, |_| Leaf::new(NEWEST, Fence::FIRST, None, UNIT)).await;
        let report = walk(cx).await;
        let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
        let bytes = vlog::record_size(1, 900) as u64;
        assert_eq!(finding.what, Defect::Unreferenced { bytes, dead: 0 });
        assert_eq!(finding.grade, Grade::Waste);
        assert_eq!(finding.file, "db/vlog/vlog-000001.seg");
        assert_eq!(report.totals.dead_bytes, bytes);
    });
}

#[test]
fn a_reference_that_leads_elsewhere_is_found_with_its_key() {
    run(|cx| async move {
        with_leaf(cx, |leaf| leaf).await;
        let offline = Offline::open(cx, "db").await.expect("it is whole");
        // Another record in its place, intact by itself.
        let path = offline.values.path(1);
        let file = cx.open(&path, OpenMode::Read).await.expect("it is there");
        let bytes = file.read_at(0, 4096).await.expect("a disk that works");
        let head = vlog::SegmentHead::decode(&bytes).expect("it is whole");
        drop(offline);
        let value = vec![8; 900];
        let record = vlog::Record { keyspace: NEWEST, version: Lsn(3), key: b"a", value: &value };
        let mut bytes = Vec::new();
        vlog::encode(&mut bytes, &head, FIRST_RECORD, &record);
        overwrite(cx, &path, FIRST_RECORD, bytes).await;
        let report = walk(cx).await;
        let [finding] = &report.findings[..] else { panic!("{:#?}", report.findings) };
        assert_eq!((&finding.what, finding.grade), (&Defect::Dangling(Lsn(3)), Grade::Damage));
        assert_eq!((&finding.file, finding.offset), (&path, FIRST_RECORD));
        assert_eq!(finding.keys, Some((NEWEST, b"a".to_vec(), Some(b"a\0".to_vec()))));
    });
}

#[test]
fn a_reference_behind_the_end_of_the_log_is_found_and_so_is_a_segment_nobody_lists() {
    run(|cx| async move {
        let mut moved = 0;
        with_leaf(cx, |leaf| leaf).await;
        let (from, to) = ("db/vlog/vlog-000001.seg", "db/vlog/vlog-000009.seg");
        cx.rename(from, to).await.expect("a disk that works");
        for finding in walk(cx).await.findings {
            match finding.what {
                Defect::Segment { fault: crate::Fault::Missing, values } => {
                    assert_eq!((&finding.file[..], values), (from, 1));
                    assert_eq!(finding.grade, Grade::Damage);
                }
                Defect::Unlisted => assert_eq!(finding.file, to),
                _ => panic!("{finding:?}"),
            }
            moved += 1;
        }
        assert_eq!(moved, 2);
    });
}

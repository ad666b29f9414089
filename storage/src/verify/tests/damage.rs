//! Bytes that flip, and files that go.

use super::*;
use crate::{
    journal::{End as ScanEnd, FIRST_FRAME, Scan, SegmentHeader},
    recover::read_generation,
    superblock::{SECOND_COPY, SUPERBLOCK},
};
use orloj_sim::disk::Image;

/// What of every file is used by anybody, and the disk of a database of three generations with
/// records behind the last.
struct Small {
    image: Image,
    files: BTreeMap<String, Vec<u8>>,
    pages: BTreeSet<u64>,
    values: BTreeMap<String, u64>,
}

fn small(sim: &mut Simulation) -> Small {
    let node = sim.idle_host("node");
    let made = sim.run(node, async move {
        let (mut model, mut chance) = (Model::default(), Chance(3));
        let mut trial = Trial::open(node).await.expect("a disk that works");
        for round in 0..4 {
            for _ in 0..20 {
                trial.commit(&mut model, chance.change(60)).await.expect("it fits");
            }
            if round == 3 {
                trial.flush(&mut model).await.expect("a disk that works");
                break;
            }
            trial.checkpoint(&mut model).await.expect("a disk that works");
            drop(trial);
            trial = Trial::open(node).await.expect("a disk that works");
        }
        trial.log.mark(true).await.expect("a disk that works");
        drop(trial);
        is_sound(node, "before any damage").await;
        let offline = Offline::open(node, "db").await.expect("it is whole");
        let (mut pages, mut values) = (BTreeSet::new(), BTreeMap::new());
        let pager = offline.pager.as_ref().expect("it has pages");
        for block in offline.found.newest.iter().chain(&offline.found.other) {
            let (catalogue, used) = read_generation(pager, block).await.expect("it is whole");
            pages.extend((1..block.units).filter(|unit| used.has(*unit)));
            for segment in catalogue.segments {
                values.insert(offline.values.path(segment.number), segment.bytes);
            }
        }
        drop(offline);
        (files(node, "db").await, pages, values)
    });
    let (files, pages, values) = made.expect("no property is broken");
    let image = sim.control(|c| {
        c.crash("node", Crash::Power);
        c.snapshot_disk("node")
    });
    Small { image, files, pages, values }
}

impl Small {
    /// The files of the journal, oldest first, with the heads of their segments.
    fn journal(&self) -> Vec<(&String, SegmentHeader)> {
        let wal = self.files.iter().filter(|(path, _)| path.contains("/wal/"));
        wal.map(|(path, bytes)| (path, SegmentHeader::decode(bytes).expect("it is whole")))
            .collect()
    }

    /// Whether nothing reads byte `at` of a file, by its format and not by what a walk says.
    fn is_unused(&self, path: &str, at: u64) -> bool {
        let bytes = &self.files[path];
        if path.ends_with("LOCK") || path.ends_with("MANIFEST") || path.contains("SUPERBLOCK") {
            return false;
        }
        if path.ends_with("data.pages") {
            return !self.pages.contains(&(at / crate::page::UNIT as u64));
        }
        if path.contains("/vlog/") {
            return self.values.get(path).is_none_or(|end| at >= *end);
        }
        let journal = self.journal();
        let (_, head) = journal.iter().find(|(name, _)| *name == path).expect("it is one of them");
        if at < FIRST_FRAME {
            return false;
        }
        match journal.iter().find(|(_, later)| later.previous == head.number) {
            Some((_, later)) => at >= later.previous_end,
            None => {
                let mut scan = Scan::new(bytes.clone(), *head, None, Lsn(0));
                while scan.frame().is_some() {}
                assert_eq!(scan.end(), Some(ScanEnd::Clean));
                at >= scan.offset()
            }
        }
    }

    /// What a walk finds after `damage`.
    fn look<F>(
        &self,
        sim: &mut Simulation,
        calm: Context,
        damage: impl FnOnce(Context) -> F + Send + 'static,
    ) -> Report
    where
        F: Future<Output = ()> + Send,
    {
        sim.control(|c| {
            c.restore_disk("node", &self.image);
            c.restart("node");
        });
        let report = sim.run(calm, async move {
            let node = Control.context("node");
            damage(node).await;
            let report = walk(node).await;
            Control.crash("node", Crash::Power);
            report
        });
        report.unwrap_or_else(|e| panic!("{} {}", e.law, e.evidence))
    }
}

#[test]
fn every_flipped_bit_is_found_in_its_file_or_nobody_reads_it() {
    let mut sim = Simulation::new(Config::seed(1));
    let calm = sim.idle_host("calm");
    let small = small(&mut sim);
    let mut counts: BTreeMap<&str, [u32; 2]> = BTreeMap::new();
    for (path, bytes) in &small.files {
        let kind = path.trim_start_matches("db/").split(['-', '_', '/']).next().unwrap_or("");
        let small_file = bytes.len() <= 2 * SECOND_COPY + SUPERBLOCK;
        let step = if small_file { 31 } else { 397 };
        for at in (0..bytes.len()).step_by(step) {
            let (file, flipped) = (path.clone(), vec![bytes[at] ^ 1 << (at % 8)]);
            let report = small.look(&mut sim, calm, move |cx| async move {
                overwrite(cx, &file, at as u64, flipped).await;
            });
            let is_unused = small.is_unused(path, at as u64);
            if report.is_sound() {
                assert!(is_unused, "{path}: nothing is said of byte {at}");
            } else {
                assert!(!is_unused, "{path}, byte {at}: {:?}", report.findings);
            }
            for finding in &report.findings {
                assert_eq!(&finding.file, path, "byte {at}: {finding:?}");
                assert!(finding.offset <= at as u64, "byte {at}: {finding:?}");
            }
            assert!(report.findings.len() <= 2, "byte {at} of {path}: {:#?}", report.findings);
            counts.entry(kind).or_default()[usize::from(is_unused)] += 1;
        }
    }
    let found = |kind: &str| counts.get(kind).map_or(0, |count| count[0]);
    assert!(found("MANIFEST") > 100 && found("SUPERBLOCK") > 200, "{counts:?}");
    assert!(found("data.pages") > 100 && found("wal") > 30 && found("vlog") > 200, "{counts:?}");
}

#[test]
fn a_file_that_is_lost_is_named() {
    let mut sim = Simulation::new(Config::seed(2));
    let calm = sim.idle_host("calm");
    let small = small(&mut sim);
    // Nothing tells of a segment that an opening began: see the journal's format.
    let newest = small.files.keys().rfind(|path| path.contains("/wal/"));
    let lost: Vec<&String> = small
        .files
        .keys()
        .filter(|path| !path.ends_with("LOCK") && !path.ends_with("MANIFEST"))
        .filter(|path| Some(*path) != newest)
        .collect();
    assert!(lost.len() > 5, "{lost:?}");
    for path in lost {
        let name = path.clone();
        let report = small.look(&mut sim, calm, move |cx| async move {
            cx.remove(&name).await.expect("a disk that works");
        });
        let [finding] = &report.findings[..] else { panic!("{path}: {:#?}", report.findings) };
        assert_eq!(&finding.file, path, "{finding:?}");
        let expected = if path.contains("SUPERBLOCK") { Grade::Reserve } else { Grade::Damage };
        assert!(finding.grade == expected || finding.grade == Grade::Reserve, "{finding:?}");
    }
}

#[test]
fn a_directory_that_is_no_database_or_in_use_is_not_walked() {
    let mut sim = Simulation::new(Config::seed(4));
    let node = sim.idle_host("node");
    let end = sim.run(node, async move {
        let open = async |dir: &str| Offline::open(node, dir).await.expect_err("no database");
        assert!(matches!(open("db").await, Error::Disk(_)), "it is not there");
        node.create_dir("db").await.expect("a disk that works");
        assert!(matches!(open("db").await, Error::NoDatabase { .. }), "it is empty");
        assert!(node.list("db").await.expect("a disk that works").is_empty(), "and left so");
        let trial = Trial::open(node).await.expect("a disk that works");
        assert!(matches!(open("db").await, Error::Locked { .. }));
        drop(trial);
        let report = is_sound(node, "before the first checkpoint").await;
        assert_eq!((report.generation, report.totals.pages), (0, 0));
        let offline = Offline::open(node, "db").await.expect("it is whole");
        let locked = Trial::open(node).await.err();
        assert!(matches!(locked, Some(Error::Locked { .. })), "while it is walked: {locked:?}");
        assert_eq!(offline.stats().await.expect("it is whole").superblock, None);
    });
    end.unwrap_or_else(|e| panic!("{} {}", e.law, e.evidence));
}

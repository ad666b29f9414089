//! Goal: a page is read back as it was written or refused by its place, whatever the disk does to
//! it; passing failures are not noticed.

use orloj_sim::{
    Config, Control, Crash, Simulation,
    disk::{Ambush, Damage, DiskFaults, OnSynced, Place},
};

use super::*;
use crate::{
    KeyspaceId, Lsn, Verdict,
    page::{PAGE_HEAD, PageType},
};

const ME: DatabaseId = DatabaseId(7);

fn image(units: usize, fill: u8) -> Vec<u8> {
    let mut image = vec![fill; units * UNIT];
    let header = PageHeader {
        kind: PageType::Leaf,
        level: 0,
        no_upper: true,
        unit: 0,
        generation: 0,
        lsn: Lsn(3),
        keyspace: KeyspaceId(16),
        len: (units * UNIT) as u32,
        count: 0,
        heap: 0,
        prefix: 0,
        lower: 0,
        upper: 0,
        lower_version: Lsn(0),
        upper_version: Lsn(0),
        dead: 0,
    };
    header.write(&mut image);
    image
}

async fn pager(cx: Context) -> Pager {
    Pager::open(cx, "", ME).await.expect("a disk that works")
}

/// Pages of these sizes, written and synced.
async fn write(pager: &Pager, sizes: &[usize]) -> Vec<PagePtr> {
    pager.space.begin();
    let mut run = Run::new(pager, 9);
    let mut pages = Vec::new();
    for (n, units) in sizes.iter().enumerate() {
        pages.push(run.add(image(*units, n as u8)).await.expect("a disk that works"));
    }
    let bytes = run.finish().await.expect("a disk that works");
    assert_eq!(bytes, (sizes.iter().sum::<usize>() * UNIT) as u64);
    pager.sync().await.expect("a disk that works");
    pager.space.settle();
    pages
}

/// Lets go of pages, and of the generation that had them.
fn release(pager: &Pager, pages: &[PagePtr]) {
    pager.space.begin();
    pages.iter().for_each(|page| pager.space.release(*page));
    pager.space.settle();
    pager.space.begin();
    pager.space.settle();
}

fn in_sim<F: Future<Output = ()> + Send + 'static>(seed: u64, body: impl FnOnce(Context) -> F) {
    let mut sim = Simulation::new(Config::seed(seed));
    let cx = sim.idle_host("node");
    sim.run(cx, body(cx)).expect("no property is broken");
}

#[test]
fn runs_are_cut_where_pages_do_not_adjoin_and_at_a_mebibyte() {
    in_sim(1, |cx| async move {
        let pager = pager(cx).await;
        let old = write(&pager, &[1, 3, 1]).await;
        release(&pager, &[old[1]]);
        // Between the neighbours, then behind them, and more than one run.
        let pages = write(&pager, &[2, 1, 200, 100, 1]).await;
        assert_eq!([pages[0].unit, pages[1].unit, pages[2].unit], [2, 4, 6]);
        for (n, page) in pages.iter().enumerate() {
            let (header, image) = pager.read(*page).await.expect("it was written");
            assert_eq!((header.unit, header.generation), (page.unit, 9));
            assert!(image[PAGE_HEAD..].iter().all(|b| *b == n as u8), "page {n}");
        }
    });
}

#[test]
fn a_page_of_another_place_or_time_is_refused() {
    in_sim(2, |cx| async move {
        let pager = pager(cx).await;
        let page = write(&pager, &[2, 1]).await[0];
        for (wrong, fault) in [
            (PagePtr { sum: page.sum ^ 1, ..page }, PageFault::Stale),
            (PagePtr { generation: 8, ..page }, PageFault::Senseless),
            (PagePtr { unit: 2, ..page }, PageFault::Sum),
            (PagePtr { unit: 3, ..page }, PageFault::Short),
        ] {
            let error = pager.read(wrong).await.expect_err("it is another page");
            let Error::Corrupt(corrupt) = &error else { panic!("{error}") };
            assert_eq!(corrupt.what, fault.into(), "{wrong:?}");
            assert_eq!((corrupt.file.as_str(), corrupt.offset), ("/data.pages", wrong.offset()));
            assert_eq!(error.verdict(), Verdict::Repair);
        }
    });
}

#[test]
fn damage_is_refused_and_what_passes_is_not_noticed() {
    let (mut refused, mut whole) = (0, 0);
    for seed in 0..300 {
        let mut sim = Simulation::new(Config::seed(seed));
        let cx = sim.idle_host("node");
        let counts = sim.run(cx, async move {
            let mut refused = 0;
            let pages = write(&pager(cx).await, &[1, 4, 2, 1]).await;
            cx.sync_dir("").await.expect("a disk that works");
            let damage = [Damage::BitRot, Damage::Zeroed, Damage::Misdirected, Damage::Unreadable];
            let on_synced = OnSynced::ALL;
            Control.set_disk_faults("node", DiskFaults { on_synced, ..DiskFaults::HONEST });
            if seed % 5 < 4 {
                let damage = damage[(seed % 5) as usize];
                Control.damage_disk("node", damage, "*data.pages", Place::Anywhere);
            }
            for ambush in [Ambush::Read, Ambush::Flip, Ambush::MisdirectedRead] {
                Control.ambush_disk("node", ambush, "*data.pages");
            }
            let pager = pager(cx).await;
            for (n, page) in pages.iter().enumerate() {
                match pager.read(*page).await {
                    Ok((_, image)) => {
                        assert!(image[PAGE_HEAD..].iter().all(|b| *b == n as u8), "page {n}");
                    }
                    Err(Error::Corrupt(corrupt)) => {
                        assert_eq!(corrupt.offset, page.offset());
                        refused += 1;
                    }
                    Err(Error::Disk(_)) => refused += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            refused
        });
        match counts.expect("no property is broken") {
            0 => whole += 1,
            1 => refused += 1,
            more => panic!("seed {seed}: {more} pages refused for one sector"),
        }
    }
    assert!(refused > 50 && whole > 60, "{refused} and {whole}");
}

#[test]
fn what_was_synced_survives_a_power_cut_while_more_is_written() {
    for seed in 0..60 {
        let mut sim = Simulation::new(Config::seed(seed));
        let calm = sim.idle_host("calm");
        let node = sim.idle_host("node");
        sim.run(calm, async move {
            Control.set_disk_faults("node", DiskFaults::HONEST);
            let first = pager(node).await;
            let pages = write(&first, &[1, 4, 2, 1]).await;
            node.sync_dir("").await.expect("a disk that works");
            first.space.begin();
            let mut run = Run::new(&first, 10);
            for _ in 0..5 {
                run.add(image(100, 0xff)).await.expect("a disk that works");
            }
            run.finish().await.expect("a disk that works");
            Control.crash("node", Crash::Power);
            Control.restart("node");
            let pager = pager(Control.context("node")).await;
            for page in pages {
                pager.read(page).await.expect("it was synced");
            }
        })
        .expect("no property is broken");
    }
}

#[test]
fn the_end_of_the_file_is_cut_off() {
    in_sim(3, |cx| async move {
        let pager = pager(cx).await;
        let pages = write(&pager, &[1, 4, 2]).await;
        assert_eq!(pager.shrink().await, Ok(0));
        release(&pager, &pages[1..]);
        assert_eq!(pager.shrink().await, Ok(6 * UNIT as u64));
        pager.read(pages[0]).await.expect("it is in use");
        assert_eq!(write(&pager, &[9]).await[0].unit, 2);
    });
}

//! The storage tree under real threads: nothing is lost, torn or seen half done.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use orloj_storage::{
    At, Attempt, Durability, Error, KeyspaceId, Options, Pause, Retention,
    journal::{DatabaseId, Lsn, Records},
    page::{UNIT, open, seal},
    record::Op,
    tree::{Capture, Check, Cursor, Evicted, Keyspace, Tree},
};

const SPACE: KeyspaceId = KeyspaceId::FIRST_USER;
const DATABASE: DatabaseId = DatabaseId(1);
const ACCOUNTS: u64 = 400;
const EACH: u64 = 1_000;

fn tree() -> (Arc<Tree>, Arc<Keyspace>) {
    let options = Options {
        page_bytes: 4096,
        batch_bytes: 1 << 30,
        ..Options::new("", Durability::Buffered)
    };
    let tree = Arc::new(Tree::new(&options));
    let keep = Retention::Last(NonZeroU32::MIN);
    tree.commit(&[], &[Op::Create { keyspace: SPACE, name: "users", keep }]).expect("it is new");
    let keyspace = tree.keyspace(SPACE).expect("it was made");
    (tree, keyspace)
}

/// As a journal that never fails.
fn drain(tree: &Tree, records: &mut Records) {
    let last = tree.tail().drain(records);
    tree.tail().durable(last);
}

fn account(n: u64) -> [u8; 8] {
    n.to_be_bytes()
}

/// A disk that only this thread looks at.
#[derive(Default)]
struct Disk {
    pages: BTreeMap<u64, Vec<u8>>,
    next: u64,
}

impl Disk {
    fn checkpoint(&mut self, tree: &Arc<Tree>, records: &mut Records) -> (Lsn, Tree) {
        let mut capture = Capture::begin(tree);
        drain(tree, records);
        while let Some(dirty) = capture.next() {
            let mut image = dirty.image().to_vec();
            self.next += 1;
            let (unit, units) = (self.next, image.len() / UNIT);
            self.next += units as u64;
            let ptr = seal(&mut image, DATABASE, unit, 1);
            self.pages.insert(unit, image);
            dirty.saved(ptr);
        }
        let (at, catalogue) = (capture.version(), capture.catalogue());
        for ptr in capture.finish() {
            assert!(self.pages.remove(&ptr.unit).is_some(), "released twice");
        }
        let options = Options { page_bytes: 4096, ..Options::new("", Durability::Buffered) };
        (at, Tree::open(&options, at, &catalogue))
    }

    fn resolve<T>(&self, mut ask: impl FnMut() -> Attempt<T>) -> T {
        loop {
            match ask() {
                Ok(answer) => return answer,
                Err(Pause::Miss(miss)) => {
                    let image = self.pages[&miss.ptr().unit].clone();
                    open(&image, DATABASE, miss.ptr()).expect("it is whole");
                    miss.install(image).expect("it is the right one");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

fn sum(of: &Arc<Keyspace>, at: Lsn, disk: Option<&Disk>) -> (u64, u64) {
    let none = Disk::default();
    let mut cursor = Cursor::new(of, b"", Some(&[1]), at).expect("a snapshot holds it");
    let (mut count, mut total) = (0, 0);
    loop {
        let next = disk.unwrap_or(&none).resolve(|| {
            let item = cursor.next()?;
            Ok(item.map(|item| u64::from_be_bytes(item.value.try_into().expect("a number"))))
        });
        let Some(money) = next else { return (count, total) };
        (count, total) = (count + 1, total + money);
    }
}

/// Moves money between two accounts if nobody else has touched them.
fn transfer(tree: &Tree, of: &Keyspace, from: u64, to: u64) -> bool {
    let snapshot = tree.snapshot();
    let since = snapshot.version();
    let mut out = Vec::new();
    let mut read = |n: u64| {
        let found = tree.get(of, &account(n), At::Version(since), &mut out);
        found.expect("all is in memory").expect("it is there");
        u64::from_be_bytes(out[..].try_into().expect("a number"))
    };
    let (a, b) = (read(from), read(to));
    if from == to || a == 0 {
        return false;
    }
    let (a, b) = ((a - 1).to_be_bytes(), (b + 1).to_be_bytes());
    let (from, to) = (account(from), account(to));
    let check = |key| Check::Unchanged { keyspace: SPACE, key, since };
    let put = |key, value| Op::Put { keyspace: SPACE, key, value, deadline: None };
    match tree.commit(&[check(&from), check(&to)], &[put(&from, &a), put(&to, &b)]) {
        Ok(_) => true,
        Err(Pause::Failed(Error::Conflict { .. })) => false,
        Err(other) => panic!("{other:?}"),
    }
}

fn mix(n: u64) -> u64 {
    let z = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 20
}

#[test]
fn money_is_neither_made_nor_lost_while_leaves_split_merge_and_are_captured() {
    let (tree, of) = tree();
    for n in 0..ACCOUNTS {
        tree.put(&of, &account(n), &EACH.to_be_bytes(), None).expect("there is room");
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let movers: Vec<_> = (0..2_u64)
            .map(|me| {
                let (tree, of) = (&tree, &of);
                scope.spawn(move || {
                    let moves = (0..15_000_u64).filter(|n| {
                        let dice = mix(n * 2 + me + 1);
                        let (from, to) = (dice % ACCOUNTS, (dice >> 16) % ACCOUNTS);
                        transfer(tree, of, from, to)
                    });
                    moves.count()
                })
            })
            .collect();
        // Others come and go beside the accounts, so that leaves split and can be merged again.
        let sower = scope.spawn(|| {
            for n in 0..20_000_u64 {
                let key = [&[1][..], &account(n % 3_000)].concat();
                let done = match n / 3_000 % 2 {
                    0 => tree.put(&of, &key, &[7; 90], None),
                    _ => tree.delete(&of, &key),
                };
                done.expect("there is room");
            }
        });
        let reader = scope.spawn(|| {
            let mut sums = 0;
            while !over.load(Relaxed) {
                let snapshot = tree.snapshot();
                assert_eq!(sum(&of, snapshot.version(), None), (ACCOUNTS, ACCOUNTS * EACH));
                sums += 1;
            }
            sums
        });
        let keeper = scope.spawn(|| {
            let (mut disk, mut records) = (Disk::default(), Records::new());
            let mut checkpoints = 0;
            while !over.load(Relaxed) {
                tree.merge_small();
                let (at, copy) = disk.checkpoint(&tree, &mut records);
                let of = copy.keyspace(SPACE).expect("it was catalogued");
                assert_eq!(sum(&of, at, Some(&disk)), (ACCOUNTS, ACCOUNTS * EACH), "at {at}");
                checkpoints += 1;
            }
            checkpoints
        });
        let moved: usize = movers.into_iter().map(|mover| mover.join().expect("it ran")).sum();
        sower.join().expect("it ran");
        over.store(true, Relaxed);
        let (sums, checkpoints) = (reader.join().expect("ran"), keeper.join().expect("ran"));
        assert!(moved > 1_000 && sums > 0 && checkpoints > 0, "{moved} {sums} {checkpoints}");
    });
    assert_eq!(sum(&of, tree.tail().assigned(), None), (ACCOUNTS, ACCOUNTS * EACH));
}

#[test]
fn two_threads_on_disjoint_keys_lose_nothing() {
    let (tree, of) = tree();
    let each = 30_000_u64;
    thread::scope(|scope| {
        for me in 0..2_u64 {
            let (tree, of) = (&tree, &of);
            scope.spawn(move || {
                let mut out = Vec::new();
                for n in 0..each {
                    let key = account(mix(n) << 1 | me);
                    let at = tree.put(of, &key, &key, None).expect("there is room");
                    let found = tree.get(of, &key, At::Assigned, &mut out).expect("in memory");
                    assert_eq!((found.map(|found| found.version), &out[..]), (Some(at), &key[..]));
                }
            });
        }
    });
    let mut expected: Vec<u64> = (0..each).flat_map(|n| [mix(n) << 1, mix(n) << 1 | 1]).collect();
    expected.sort_unstable();
    expected.dedup();
    let mut cursor = Cursor::new(&of, b"", None, tree.tail().assigned()).expect("it is kept");
    for n in &expected {
        let item = cursor.next().expect("in memory").expect("it was put");
        assert_eq!((item.key, item.value), (&account(*n)[..], &account(*n)[..]));
    }
    assert!(cursor.next().expect("in memory").is_none());
    assert!(tree.take_born().iter().all(|node| tree.evict(node) != Evicted::Yes(0)));
}

//! Transactions of every kind on real threads: what no simulated schedule interleaves, since
//! nothing between two awaits is ever interrupted there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use orloj_host::{Host, Options as HostOptions, Workers};
use orloj_kernel::Context;
use orloj_storage::{
    Attempt, Durability, Error, KeyspaceId, Lsn, Options, Pause, Retention,
    locks::Mode,
    record::Op,
    tree::{At, Keyspace, Tree},
    txn::{
        Isolation, Locked, Terms, Transaction,
        single::{Aborts, Access, Action, Execution, Row, SingleShot},
    },
};

const USERS: KeyspaceId = KeyspaceId(16);
/// Every transaction adds one to both of a pair.
const PAIRS: [[&[u8]; 2]; 2] = [[b"a", b"y"], [b"b", b"z"]];
const ROUNDS: u32 = 1_500;
/// Who takes longer has hung. Generous, because the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct World {
    cx: Context,
    tree: Arc<Tree>,
    users: Arc<Keyspace>,
    /// How many transactions got through.
    done: Arc<AtomicU64>,
    /// How many lost and tried again.
    lost: Arc<AtomicU64>,
}

impl World {
    fn new(cx: Context) -> World {
        let tree = Arc::new(Tree::new(&Options::new("", Durability::InMemory)));
        let keep = Retention::default();
        for (keyspace, name) in [(KeyspaceId::DEADLINES, "deadlines"), (USERS, "users")] {
            tree.commit(&[], &[Op::Create { keyspace, name, keep }]).expect("it is new");
        }
        let users = tree.keyspace(USERS).expect("just made");
        World { cx, tree, users, done: Arc::default(), lost: Arc::default() }
    }

    fn terms(&self) -> Terms {
        Terms { now: 0, deadline: self.cx.now() + Duration::from_secs(30) }
    }

    async fn settle<T>(&self, mut ask: impl FnMut() -> Attempt<T>) -> Result<T, Error> {
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(Pause::Wait(wait)) => wait.over(&self.cx).await?,
                Err(Pause::Failed(error)) => return Err(error),
                Err(pause) => panic!("all is in memory: {pause:?}"),
            }
        }
    }

    async fn shot(&self, pair: [&[u8]; 2]) -> Result<(), Error> {
        let row = |id: u32, key| Row { id, access: Access::Write, keyspace: USERS, key };
        let rows = vec![row(0, pair[0]), row(1, pair[1])];
        let actions = [(0, Action::Add(1)), (1, Action::Add(1))];
        let shot = SingleShot::new(rows, &[], &actions).expect("it makes sense");
        let mut execution = Execution::new(&shot, &self.tree, self.terms());
        let aborts = Aborts::default();
        self.settle(|| execution.run(&aborts)).await.map(|_| ())
    }

    async fn locked(&self, pair: [&[u8]; 2]) -> Result<(), Error> {
        let mut txn = Locked::begin(&self.tree, self.terms());
        let mut out = Vec::new();
        for key in pair {
            self.settle(|| txn.get(&self.users, key, Mode::Update, &mut out)).await?;
            let more = value(number(&out) + 1);
            self.settle(|| txn.put(&self.users, key, &more, None)).await?;
        }
        self.settle(|| txn.commit()).await.map(|_| ())
    }

    async fn optimistic(&self, pair: [&[u8]; 2]) -> Result<(), Error> {
        let mut txn = Transaction::begin(&self.tree, Isolation::Snapshot, self.terms());
        let mut out = Vec::new();
        for key in pair {
            self.settle(|| txn.get(&self.users, key, &mut out)).await?;
            txn.put(&self.users, key, &value(number(&out) + 1), None)?;
        }
        self.settle(|| txn.commit()).await.map(|_| ())
    }

    /// Compares and sets both, by version.
    async fn swap(&self, pair: [&[u8]; 2]) -> Result<(), Error> {
        let mut txn = Transaction::begin(&self.tree, Isolation::Serializable, self.terms());
        let mut out = Vec::new();
        for key in pair {
            let found = self.tree.get(&self.users, key, At::Assigned, &mut out);
            let version = found.expect("it is in memory").map_or(Lsn(0), |found| found.version);
            txn.expect(&self.users, key, version);
            txn.put(&self.users, key, &value(number(&out) + 1), None)?;
        }
        self.settle(|| txn.commit()).await.map(|_| ())
    }

    async fn work(self, kind: u32) {
        for round in 0..ROUNDS {
            let mut pair = PAIRS[((round + kind) % 2) as usize];
            if round % 3 == 0 && kind % 2 == 1 {
                pair.reverse();
            }
            loop {
                let tried = match kind % 4 {
                    0 => self.shot(pair).await,
                    1 => self.locked(pair).await,
                    2 => self.optimistic(pair).await,
                    _ => self.swap(pair).await,
                };
                match tried {
                    Ok(()) => break,
                    Err(Error::Conflict { .. } | Error::Deadlock { .. }) => {
                        self.lost.fetch_add(1, Ordering::Relaxed);
                        self.cx.yield_now().await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Both of a pair, as one snapshot has them.
    async fn look(&self, pair: [&[u8]; 2]) -> [i64; 2] {
        let mut txn = Transaction::begin(&self.tree, Isolation::Serializable, self.terms());
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for (key, out) in pair.into_iter().zip([&mut one, &mut other]) {
            self.settle(|| txn.get(&self.users, key, out)).await.expect("it is in memory");
        }
        [number(&one), number(&other)]
    }
}

/// An integer as shots know it.
fn value(number: i64) -> Vec<u8> {
    [&[2][..], &number.to_le_bytes()].concat()
}

/// The integer of a value; 0 of none.
fn number(value: &[u8]) -> i64 {
    value.get(1..).map_or(0, |bytes| i64::from_le_bytes(bytes.try_into().expect("eight bytes")))
}

#[test]
fn no_addition_is_lost_between_threads_whatever_the_kind() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let workers = Workers::Many(2);
    let host = Host::new(HostOptions { workers, ..HostOptions::new(dir.path()) });
    let cx = host.expect("a runtime starts").context();
    cx.block_on(async {
        let world = World::new(cx);
        let kinds = (0..8).map(|kind| cx.spawn("adds", world.clone().work(kind)));
        let tasks: Vec<_> = kinds.collect();
        let all = 8 * u64::from(ROUNDS);
        let patience = cx.now() + PATIENCE;
        while world.done.load(Ordering::Relaxed) < all {
            assert!(cx.now() < patience, "still not done after {PATIENCE:?}");
            for pair in PAIRS {
                let [one, other] = world.look(pair).await;
                assert_eq!(one, other, "half of a transaction was seen");
            }
            cx.yield_now().await;
        }
        for task in tasks {
            task.await.expect("no task panics");
        }
        let [[a, y], [b, z]] = [world.look(PAIRS[0]).await, world.look(PAIRS[1]).await];
        assert_eq!((a, b), (y, z));
        assert_eq!((a + b) as u64, all, "{} tried again", world.lost.load(Ordering::Relaxed));
        assert!(world.tree.locks().is_empty(), "a lock is left");
    });
}

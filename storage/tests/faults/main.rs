//! Goal: whatever the disk does and whenever the power goes, the database never loses what it has
//! acknowledged, never shows a byte that was not written there, and recovers to the same twice.
//! Method: several lives of one database per seed on a simulated disk. In each, clients write,
//! delete, read, scan at snapshots, transact and checkpoint at once, while the disk fails in drawn
//! ways and power is cut at a drawn poll. A model that knows every write judges all that is seen.

mod client;
mod every;
mod model;

use std::time::Duration;

use orloj_kernel::{Context, DiskErrorKind};
use orloj_sim::{
    Config, Control, Crash, Simulation,
    disk::{DiskFaults, OnSynced},
    fault::FaultClass,
};
use orloj_storage::{
    Database, Durability, Error, Options, Retention, Verdict,
    database::{KeyRange, Keyspace},
};

use client::work;
use model::{Seen, Shared};

const NODE: &str = "node";
/// Processes per seed.
const LIVES: u64 = 5;
/// Clients at once.
const CLIENTS: u64 = 3;

/// What a power cut does: more than most do.
const POWER_CUT: DiskFaults = DiskFaults {
    lost_write: 500_000,
    torn: 300_000,
    reorder: 500_000,
    garbage: 100_000,
    lost_name: 500_000,
    lost_rename: 500_000,
    ..DiskFaults::NONE
};

/// What was synced may flip on the way to whoever reads it, and stays as it is.
const ON_THE_WAY: OnSynced = OnSynced {
    garbage: false,
    bit_rot: true,
    misdirected: false,
    stale: false,
    zeroed: false,
    unreadable: false,
};

/// Small pages, small segments, little memory: everything happens often.
fn options(durability: Durability) -> Options {
    Options {
        page_bytes: 4096,
        inline_bytes: 300,
        cache_bytes: 64 * 4096,
        segment_bytes: 64 << 10,
        checkpoint_bytes: 64 << 10,
        checkpoint_every: Duration::from_millis(50),
        lock_wait: Duration::from_millis(500),
        ..Options::new("db", durability)
    }
}

struct World {
    sim: Simulation,
    seed: u64,
    durability: Durability,
    shared: Shared,
    /// Lives that a power cut ended.
    cut_short: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let mut sim = Simulation::new(Config { buggify: true, ..Config::seed(seed) });
        sim.idle_host(NODE);
        let is_buffered = sim.control(|w| w.between("buffered", 0, 3)) == 0;
        let durability = if is_buffered { Durability::Buffered } else { Durability::Strict };
        let shared = Shared::default();
        if is_buffered {
            shared.buffered();
        }
        World { sim, seed, durability, shared, cut_short: 0 }
    }

    /// Runs `life` in a new process; `None` if power ends it.
    fn run<F>(&mut self, life: impl FnOnce(Context) -> F) -> Option<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cx = self.sim.control(|w| {
            w.exit(NODE);
            w.restart(NODE);
            w.context(NODE)
        });
        match self.sim.run(cx, life(cx)) {
            Ok(out) => Some(out),
            Err(_) if !self.sim.control(|w| w.is_up(NODE)) => {
                self.cut_short += 1;
                None
            }
            Err(failure) => panic!("seed {}: {failure}", self.seed),
        }
    }

    fn calm(&mut self) {
        self.sim.control(|w| {
            w.limit_disk(NODE, None);
            w.set_disk_faults(NODE, POWER_CUT);
        });
    }

    /// One process, in trouble. It is over when the clients are done, or when power goes.
    fn live(&mut self, trouble: impl FnOnce(Control)) -> Option<Result<(), Error>> {
        self.calm();
        self.sim.control(|w| {
            trouble(w);
            w.kill_after_polls(NODE, w.between("polls", 20, 900), Crash::Power);
        });
        let (shared, durability) = (self.shared.clone(), self.durability);
        let ended = self.run(|cx| one_life(cx, shared, durability));
        self.sim.control(|w| match w.between("end", 0, 3) {
            0 => w.exit(NODE),
            _ => w.crash(NODE, Crash::Power),
        });
        self.shared.end_of_life();
        ended
    }

    /// Everything that is there, after a power cut and with nothing in the way.
    fn recover(&mut self) -> Result<Vec<Seen>, Error> {
        self.calm();
        self.sim.control(|w| {
            // A host whose process has ended has power all the same.
            w.restart(NODE);
            w.crash(NODE, Crash::Power);
        });
        let durability = self.durability;
        let seen = self.run(|cx| async move {
            let (db, _) = Database::open(cx, options(durability)).await?;
            let Ok(data) = db.keyspace("data") else { return Ok(Vec::new()) };
            everything(&db, &data).await
        });
        seen.expect("power stays on")
    }
}

/// Every key of a snapshot taken now.
async fn everything(db: &Database, data: &Keyspace) -> Result<Vec<Seen>, Error> {
    let snapshot = db.snapshot()?;
    let mut cursor = db.cursor(data, KeyRange::from(..), &snapshot)?;
    let mut seen = Vec::new();
    while let Some(item) = cursor.next().await? {
        seen.push((item.key.to_vec(), item.version, item.value.to_vec()));
    }
    Ok(seen)
}

async fn one_life(cx: Context, shared: Shared, durability: Durability) -> Result<(), Error> {
    let (db, _) = Database::open(cx, options(durability)).await?;
    let data = match db.keyspace("data") {
        Ok(data) => data,
        Err(_) => db.create_keyspace("data", Retention::All).await?,
    };
    shared.check_all(&everything(&db, &data).await?);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| cx.spawn("client", work(cx, db.clone(), data.clone(), shared.clone())))
        .collect();
    for client in clients {
        client.await.expect("clients end by themselves");
    }
    match cx.below(3) {
        0 => db.close().await,
        _ => Ok(()),
    }
}

/// Whether a disk that is in trouble, but honest, explains it.
fn is_excused(error: &Error) -> bool {
    match error {
        Error::Disk(_) | Error::ReadOnly { .. } | Error::InDoubt { .. } => true,
        Error::Journal(cause) => cause.to_string().contains("wal"),
        // A bit that flips on the way looks like damage for a moment.
        Error::Corrupt(_) | Error::Superblock { .. } | Error::Manifest { .. } => true,
        _ => false,
    }
}

/// Adds up which faults there were.
struct Injected([u64; FaultClass::ALL.len()]);

impl Injected {
    fn add(&mut self, world: World) {
        let report = world.sim.finish();
        for (sum, class) in self.0.iter_mut().zip(FaultClass::ALL) {
            *sum += report.faults.injected(*class);
        }
    }

    /// Green without the fault would prove nothing about it.
    fn check(&self, wanted: &[FaultClass]) {
        for (sum, class) in self.0.iter().zip(FaultClass::ALL) {
            assert!(*sum > 5 || !wanted.contains(class), "{}: {sum} times", class.name());
        }
    }
}

#[test]
fn an_honest_disk_that_fails_loses_nothing_that_was_acknowledged() {
    let mut injected = Injected([0; FaultClass::ALL.len()]);
    let (mut cut_short, mut acknowledged) = (0, 0);
    for seed in 0..200 {
        let mut world = World::new(seed);
        for _ in 0..LIVES {
            let ended = world.live(|w| match w.between("trouble", 0, 8) {
                0 => w.limit_disk(NODE, Some(w.between("room", 0, 300_000))),
                1 => w.set_disk_faults(NODE, DiskFaults { write_error: 10_000, ..POWER_CUT }),
                2 => w.set_disk_faults(NODE, DiskFaults { sync_failed: 5_000, ..POWER_CUT }),
                3 => w.set_disk_faults(NODE, DiskFaults { full: 10_000, ..POWER_CUT }),
                4 => w.set_disk_faults(NODE, DiskFaults { read_error: 20_000, ..POWER_CUT }),
                5 => w.set_disk_faults(
                    NODE,
                    DiskFaults { read_flip: 20_000, on_synced: ON_THE_WAY, ..POWER_CUT },
                ),
                6 => w.set_disk_faults(
                    NODE,
                    DiskFaults {
                        write_error: 3_000,
                        sync_failed: 1_000,
                        full: 3_000,
                        read_error: 5_000,
                        read_flip: 5_000,
                        on_synced: ON_THE_WAY,
                        slow: 20_000,
                        stall: 2_000,
                        ..POWER_CUT
                    },
                ),
                _ => {}
            });
            if let Some(Err(error)) = ended {
                assert!(is_excused(&error), "seed {seed}: {error}");
            }
        }
        let first = world.recover().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let second = world.recover().unwrap_or_else(|e| panic!("seed {seed}, again: {e}"));
        assert_eq!(first, second, "seed {seed}: recovery twice");
        world.shared.check_all(&second);
        world.shared.check_whole(&second);
        cut_short += world.cut_short;
        acknowledged += world.shared.acknowledged();
        injected.add(world);
    }
    assert!(cut_short > 200, "{cut_short} lives were cut short");
    assert!(acknowledged > 5_000, "{acknowledged} writes were acknowledged");
    use FaultClass as C;
    injected.check(&[
        C::DiskLostWrite,
        C::DiskTorn,
        C::DiskReorder,
        C::DiskGarbage,
        C::DiskLostName,
        C::DiskSyncFailed,
        C::DiskReadError,
        C::DiskWriteError,
        C::DiskBitRot,
        C::DiskFull,
        C::DiskSlow,
        C::DiskStall,
        C::HostPowerLoss,
    ]);
}

#[test]
fn a_disk_that_lies_is_never_believed() {
    let mut injected = Injected([0; FaultClass::ALL.len()]);
    let mut refused = 0;
    for seed in 1_000..1_100 {
        let mut world = World::new(seed);
        world.shared.lied_to();
        for _ in 0..LIVES {
            let lies = DiskFaults { on_synced: OnSynced::ALL, ..POWER_CUT };
            let ended = world.live(|w| match w.between("lie", 0, 5) {
                0 => w.set_disk_faults(NODE, DiskFaults { bit_rot: 5_000, ..lies }),
                1 => w.set_disk_faults(NODE, DiskFaults { misdirected_write: 2_000, ..lies }),
                2 => w.set_disk_faults(NODE, DiskFaults { misdirected_read: 10_000, ..lies }),
                3 => w.set_disk_faults(NODE, DiskFaults { stale: 4_000, ..lies }),
                4 => w.set_disk_faults(NODE, DiskFaults { zeroed: 2_000, ..lies }),
                _ => w.set_disk_faults(NODE, DiskFaults { unreadable: 5_000, ..lies }),
            });
            if let Some(Err(error)) = ended {
                assert!(is_excused(&error), "seed {seed}: {error}");
                refused += 1;
            }
        }
        match world.recover() {
            Ok(seen) => world.shared.check_all(&seen),
            Err(error) => {
                let verdict = error.verdict();
                let is_told = matches!(verdict, Verdict::Halt | Verdict::Repair | Verdict::Retry);
                assert!(is_told && is_excused(&error), "seed {seed}: {error}");
                refused += 1;
            }
        }
        injected.add(world);
    }
    assert!(refused > 10, "{refused} refusals");
    use FaultClass as C;
    injected.check(&[
        C::DiskBitRot,
        C::DiskMisdirectedWrite,
        C::DiskMisdirectedRead,
        C::DiskStale,
        C::DiskZeroed,
        C::DiskReadError,
    ]);
}

#[test]
fn a_read_only_disk_refuses_to_open_and_harms_nothing() {
    let mut world = World::new(7);
    world.calm();
    let shared = world.shared.clone();
    world
        .run(|cx| one_life(cx, shared, Durability::Strict))
        .expect("power stays on")
        .expect("calm");
    world.shared.end_of_life();
    let before = world.recover().expect("nothing is damaged");
    world.sim.control(|w| w.set_disk_read_only(NODE, true));
    let refused = world
        .run(|cx| async move { Database::open(cx, options(Durability::Strict)).await.map(|_| ()) });
    match refused.expect("power stays on") {
        Err(Error::Disk(error)) => assert_eq!(error.kind, DiskErrorKind::ReadOnly),
        other => panic!("{other:?}"),
    }
    world.sim.control(|w| w.set_disk_read_only(NODE, false));
    assert_eq!(world.recover().expect("nothing is damaged"), before);
}

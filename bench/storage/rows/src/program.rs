//! The program around an engine: it reads the name of a row, runs it, prints its figure, and reads
//! the next. So all peers stand ready with loaded databases while their rows take turns.

use std::fs;
use std::io::{BufRead, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::data::distinct;
use crate::sizes::{SMALL_KEYS, Sizes};
use crate::{Durability, Engine, Setup, cost, reopen, scaling, space, strict};

/// More than any database here takes.
const CACHE: u64 = 4 << 30;
/// What fjall and RocksDB do by themselves.
const LOG: u64 = 64 << 20;
/// More than the reopen row writes, with whatever an engine adds.
const LOG_REOPEN: u64 = 1 << 30;

/// Runs the rows named on standard input, one a line, and prints `row figure`, or `row -` when the
/// engine has nothing of the kind. Command line: `--dir DIR`, which it alone writes in, and
/// `--quick` for smaller sizes.
///
/// # Errors
///
/// The engine's own, a name that is no row, and an engine that loses what it was given.
pub fn main<E: Engine>() -> Result<()> {
    let (mut dir, mut sizes) = (None, Sizes::FULL);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--dir" => dir = arguments.next().map(PathBuf::from),
            "--quick" => sizes = Sizes::QUICK,
            other => bail!("{other} is neither --dir nor --quick"),
        }
    }
    let dir = dir.context("--dir is missing")?;
    let mut program = Program::<E> { dir, sizes, databases: Vec::new(), runs: 0 };
    for row in std::io::stdin().lock().lines() {
        let row = row?;
        let figure = program.run(&row).with_context(|| format!("row {row}"))?;
        match figure {
            Some(figure) => println!("{row} {figure}"),
            None => println!("{row} -"),
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// The databases a program keeps between its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// [`Sizes::keys`] keys, loaded in no order, buffered.
    Main,
    /// The same in memory.
    Memory,
    /// [`SMALL_KEYS`] keys, each put synced.
    Strict,
    /// [`SMALL_KEYS`] keys, loaded sorted, buffered.
    Small,
    /// [`Sizes::large_keys`] keys, loaded sorted, buffered.
    Large,
}

impl Kept {
    fn setup(self) -> Setup {
        let durability = match self {
            Kept::Memory => Durability::Memory,
            Kept::Strict => Durability::Strict,
            Kept::Main | Kept::Small | Kept::Large => Durability::Buffered,
        };
        Setup { durability, cache: CACHE, log: LOG }
    }
}

struct Program<E> {
    dir: PathBuf,
    sizes: Sizes,
    databases: Vec<(Kept, E)>,
    /// Rows run so far; the seed of the next, so that no two runs of a row visit the same keys.
    runs: u64,
}

impl<E: Engine> Program<E> {
    fn run(&mut self, row: &str) -> Result<Option<f64>> {
        let Sizes { keys, gets, scans, writes, mixed, strict_time, .. } = self.sizes;
        self.runs += 1;
        let seed = self.runs << 32;
        use Kept::*;
        match row {
            "load-random" => self.load_main(),
            "load-sorted" => self.load_sorted(),
            "get-cached" => self.on(Main, |db| cost::get(db, keys, gets, seed)),
            "get-snapshot-cached" => self.on(Main, |db| cost::get_snapshot(db, keys, gets, seed)),
            "scan-100" => self.on(Main, |db| cost::scan(db, keys, scans, seed)),
            "put-update" => self.on(Main, |db| cost::put_update(db, keys, writes, seed)),
            "put-insert" => self.on(Main, |db| cost::put_insert(db, keys, writes, seed)),
            "delete-buffered" => self.on(Main, |db| cost::delete(db, keys, writes, seed)),
            "ycsb_a-buffered" => self.on(Main, |db| cost::mixed(db, keys, mixed, 50, seed)),
            "ycsb_b-buffered" => self.on(Main, |db| cost::mixed(db, keys, mixed, 5, seed)),
            "threads2-get" => self.on(Main, |db| scaling::get(db, keys, seed)),
            "threads2-put" => self.on(Main, |db| scaling::put(db, keys, seed)),
            "get-memory" => self.on(Memory, |db| cost::get(db, keys, gets, seed)),
            "put-memory" => self.on(Memory, |db| cost::put_update(db, keys, writes, seed)),
            "threads2-get-memory" => self.on(Memory, |db| scaling::get(db, keys, seed)),
            "threads2-put-memory" => self.on(Memory, |db| scaling::put(db, keys, seed)),
            "strict1-p50" => self.on(Strict, |db| strict::one(db, SMALL_KEYS, strict_time, seed)),
            "strict16-rate" => {
                self.on(Strict, |db| strict::sixteen(db, SMALL_KEYS, strict_time, seed))
            }
            "growth-get" => self.growth(|db, keys| cost::get(db, keys, gets, seed)),
            "growth-put" => self.growth(|db, keys| cost::put_update(db, keys, writes, seed)),
            "space-churned" => self.space_churned(seed),
            "space-compacted" => self.space_compacted(),
            "reopen-fill" => self.reopen_fill(),
            "reopen-kill" => self.reopen_open().map(Some),
            other => bail!("there is no row {other}"),
        }
    }

    /// Runs `row` on the database, which is opened and loaded when it is not there yet, and waits
    /// until the engine has nothing left to do.
    fn on(&mut self, kept: Kept, row: impl FnOnce(&E) -> Result<f64>) -> Result<Option<f64>> {
        let Some(database) = self.database(kept)? else { return Ok(None) };
        let figure = row(database)?;
        database.settle()?;
        Ok(Some(figure))
    }

    fn database(&mut self, kept: Kept) -> Result<Option<&E>> {
        if !self.databases.iter().any(|(name, _)| *name == kept) {
            let Some(database) = self.create(kept)? else { return Ok(None) };
            match kept {
                Kept::Main | Kept::Memory => {
                    cost::write_all(&database, 0..self.sizes.keys, 0)?;
                    finish_load(&database, self.sizes.keys)?;
                }
                Kept::Strict => cost::write_all(&database, 0..SMALL_KEYS, 0)?,
                Kept::Small | Kept::Large => {
                    let keys = self.keys(kept);
                    cost::load_sorted(&database, keys, 0)?;
                    finish_load(&database, keys)?;
                }
            }
            self.databases.push((kept, database));
        }
        Ok(self.databases.iter().find(|(name, _)| *name == kept).map(|(_, database)| database))
    }

    /// Opens an empty database, in place of the one of that name.
    fn create(&mut self, kept: Kept) -> Result<Option<E>> {
        self.databases.retain(|(name, _)| *name != kept);
        let dir = self.path(kept);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        E::open(&dir, &kept.setup())
    }

    fn path(&self, kept: Kept) -> PathBuf {
        self.dir.join(format!("{kept:?}").to_lowercase())
    }

    fn keys(&self, kept: Kept) -> u64 {
        match kept {
            Kept::Main | Kept::Memory => self.sizes.keys,
            Kept::Strict | Kept::Small => SMALL_KEYS,
            Kept::Large => self.sizes.large_keys,
        }
    }

    fn load_main(&mut self) -> Result<Option<f64>> {
        let Some(database) = self.create(Kept::Main)? else { return Ok(None) };
        let figure = cost::load_random(&database, self.sizes.keys, self.runs)?;
        finish_load(&database, self.sizes.keys)?;
        self.databases.push((Kept::Main, database));
        Ok(Some(figure))
    }

    fn load_sorted(&mut self) -> Result<Option<f64>> {
        let dir = self.dir.join("sorted");
        fs::create_dir_all(&dir)?;
        let Some(database) = E::open(&dir, &Kept::Main.setup())? else { return Ok(None) };
        let figure = cost::load_sorted(&database, self.sizes.keys, self.runs)?;
        finish_load(&database, self.sizes.keys)?;
        drop(database);
        fs::remove_dir_all(&dir)?;
        Ok(Some(figure))
    }

    /// How many times what an operation costs in the small database it costs in the large one.
    fn growth(&mut self, cost: impl Fn(&E, u64) -> Result<f64>) -> Result<Option<f64>> {
        let mut best = [f64::INFINITY; 2];
        for _ in 0..3 {
            for (best, kept) in best.iter_mut().zip([Kept::Small, Kept::Large]) {
                let keys = self.keys(kept);
                match self.on(kept, |database| cost(database, keys))? {
                    Some(figure) => *best = best.min(figure),
                    None => return Ok(None),
                }
            }
        }
        Ok(Some(best[1] / best[0]))
    }

    /// Writes half of the keys again, in no order, and says what the database takes then.
    fn space_churned(&mut self, seed: u64) -> Result<Option<f64>> {
        let keys = self.sizes.keys;
        let churn = distinct(seed, keys, keys / 2);
        let churned = self.on(Kept::Main, |database| {
            cost::write_all(database, churn, seed)?;
            Ok(0.0)
        })?;
        if churned.is_none() {
            return Ok(None);
        }
        space::amplification(&self.path(Kept::Main), keys).map(Some)
    }

    fn space_compacted(&mut self) -> Result<Option<f64>> {
        self.database(Kept::Main)?;
        let at = self.databases.iter().position(|(name, _)| *name == Kept::Main);
        let Some(at) = at else { return Ok(None) };
        let (_, database) = self.databases.swap_remove(at);
        let dir = self.path(Kept::Main);
        let database = database.compact(&dir, &Kept::Main.setup())?;
        database.settle()?;
        let figure = space::amplification(&dir, self.sizes.keys)?;
        cost::warm(&database, self.sizes.keys)?;
        self.databases.push((Kept::Main, database));
        Ok(Some(figure))
    }

    /// Fills a database that is then left open, for this process is about to be killed.
    fn reopen_fill(&mut self) -> Result<Option<f64>> {
        let dir = self.dir.join("reopen");
        fs::create_dir_all(&dir)?;
        let Some(database) = E::open(&dir, &reopen_setup())? else { return Ok(None) };
        reopen::fill(&database, self.sizes.reopen_bytes)?;
        // Closing it would take the point out of killing.
        std::mem::forget(database);
        Ok(Some(0.0))
    }

    fn reopen_open(&mut self) -> Result<f64> {
        reopen::open::<E>(&self.dir.join("reopen"), &reopen_setup(), self.sizes.reopen_bytes)
    }
}

fn reopen_setup() -> Setup {
    Setup { durability: Durability::Buffered, cache: CACHE, log: LOG_REOPEN }
}

/// Waits for what a load leaves to the background, then warms every cache and counts.
fn finish_load<E: Engine>(database: &E, keys: u64) -> Result<()> {
    database.settle()?;
    cost::warm(database, keys)
}

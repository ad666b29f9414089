//! Small programs, exhaustively, and long ones by chance, against the oracle.

use std::collections::BTreeSet;

use super::{LAWFUL, Rig, oracle::Oracle, runs};
use crate::{
    choice::{Choices, Stream},
    disk::{DiskFaults, FileKey, SECTOR, SyncToken},
    explore::every_way,
};

#[derive(Clone, Copy, Debug)]
enum Op {
    Write(u64, u8, usize),
    SetLen(u64),
    Sync,
    BeginSync,
    EndSync,
}

/// A file under test beside the oracle of it.
struct Pair {
    rig: Rig,
    file: FileKey,
    oracle: Oracle,
    syncs: Vec<(SyncToken, usize)>,
}

impl Pair {
    fn new(choices: Choices, faults: DiskFaults) -> Pair {
        let mut rig = Rig::with(choices);
        let file = rig.durable("f", b"");
        rig.disk.set_faults(faults);
        Pair { rig, file, oracle: Oracle::new(), syncs: Vec::new() }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Write(offset, byte, len) => {
                self.rig.write(self.file, offset, &vec![byte; len]).unwrap();
                self.oracle.write(offset as usize, &vec![byte; len]);
            }
            Op::SetLen(len) => {
                self.rig.disk.set_len(self.file, len).unwrap();
                self.oracle.set_len(len as usize);
            }
            Op::Sync => {
                self.apply(Op::BeginSync);
                self.end(self.syncs.len() - 1);
            }
            Op::BeginSync => {
                let token = self.rig.disk.begin_sync(self.file).unwrap();
                self.syncs.push((token, self.oracle.begin()));
            }
            Op::EndSync if self.syncs.is_empty() => {}
            Op::EndSync => self.end(0),
        }
        assert!(self.rig.read(self.file) == *self.oracle.now(), "after {op:?}");
    }

    fn end(&mut self, i: usize) {
        let (token, begin) = self.syncs.remove(i);
        let (disk, mut luck) = self.rig.luck();
        disk.end_sync(token, &mut luck).unwrap();
        self.oracle.synced(begin);
    }

    fn cut(&mut self) -> Vec<u8> {
        self.rig.power_cut();
        self.rig.contents("f").expect("its name is durable")
    }
}

const ALPHABET: [Op; 8] = [
    Op::Write(0, 1, 300),
    Op::Write(300, 2, 900),
    Op::Write(512, 3, 512),
    Op::SetLen(100),
    Op::SetLen(1500),
    Op::Sync,
    Op::BeginSync,
    Op::EndSync,
];

/// Goal: after every program of up to four operations a power cut can leave exactly what the oracle
/// allows. Method: every way in which the choices of the cut can fall.
#[test]
fn a_power_cut_leaves_exactly_what_is_legal() {
    let mut programs: Vec<Vec<Op>> = vec![Vec::new()];
    let mut first = 0;
    for _ in 0..4 {
        let last = programs.len();
        for i in first..last {
            for op in ALPHABET {
                let mut longer = programs[i].clone();
                longer.push(op);
                programs.push(longer);
            }
        }
        first = last;
    }
    let step = if cfg!(debug_assertions) { 31 } else { 1 };
    for program in programs.iter().step_by(step) {
        let mut seen = BTreeSet::new();
        let mut legal = BTreeSet::new();
        every_way(|choices| {
            let mut pair = Pair::new(choices, LAWFUL);
            program.iter().for_each(|op| pair.apply(*op));
            legal = pair.oracle.outcomes();
            let left = pair.cut();
            assert!(legal.contains(&left), "{program:?} left {:?}", runs(&left));
            seen.insert(left);
            pair.rig.choices
        });
        let missed: Vec<_> = legal.difference(&seen).map(|file| runs(file)).collect();
        assert!(missed.is_empty(), "{program:?} never leaves {missed:?}");
    }
}

/// Goal: with order kept, a cut leaves a state the file went through, or one within a single write.
#[test]
fn an_ordered_cut_takes_back_only_the_end() {
    let rates = DiskFaults { reorder: 0, ..LAWFUL };
    let program = [Op::Write(0, 1, 1024), Op::Write(512, 2, 1024), Op::Write(0, 3, 512)];
    let mut seen = BTreeSet::new();
    every_way(|choices| {
        let mut pair = Pair::new(choices, rates);
        program.iter().for_each(|op| pair.apply(*op));
        seen.insert(pair.cut());
        pair.rig.choices
    });
    let file = |sectors: &[u8]| -> Vec<u8> { sectors.iter().flat_map(|b| [*b; 512]).collect() };
    let want = [&[][..], &[1], &[1, 1], &[1, 2], &[1, 2, 2], &[3, 2, 2]].map(file);
    let shown = |files: BTreeSet<Vec<u8>>| files.iter().map(|f| runs(f)).collect::<Vec<_>>();
    assert_eq!(shown(seen), shown(BTreeSet::from(want)));
}

/// Goal: whatever a long program does, every sector after a cut is a legal one, torn or noise at
/// most where those are enabled, and nothing synced is lost. Method: random programs, several lives
/// each.
#[test]
fn long_programs_leave_only_what_is_legal() {
    let programs = if cfg!(debug_assertions) { 100 } else { 5_000 };
    for seed in 0..programs {
        let torn = seed % 2 == 1;
        let rates = DiskFaults { torn: if torn { 300_000 } else { 0 }, ..LAWFUL };
        let mut pair = Pair::new(Choices::from_seed(seed), rates);
        for life in 0..3 {
            for _ in 0..pair.rig.choices.draw(Stream::Workload, "length", 40) {
                let op = random_op(&mut pair.rig.choices);
                pair.apply(op);
            }
            let left = pair.cut();
            if let Err(what) = lawful(&pair.oracle, &left, torn) {
                panic!("seed {seed}, life {life}: {what}");
            }
            pair.file = pair.rig.create("f");
            pair.oracle = Oracle::new();
            pair.oracle.write(0, &left);
            pair.oracle.synced(1);
            pair.syncs.clear();
        }
    }
}

fn random_op(choices: &mut Choices) -> Op {
    let mut draw = |bound| choices.draw(Stream::Workload, "op", bound);
    match draw(10) {
        0..6 => {
            let spread = [600, 9_000][draw(2) as usize];
            Op::Write(draw(spread), draw(256) as u8, 1 + draw(spread) as usize)
        }
        6 => Op::SetLen(draw(12_000)),
        7 => Op::Sync,
        8 => Op::BeginSync,
        _ => Op::EndSync,
    }
}

fn lawful(oracle: &Oracle, left: &[u8], torn: bool) -> Result<(), String> {
    let mut lens = oracle.lens();
    lens.retain(|(len, _)| *len == left.len());
    if lens.is_empty() {
        return Err(format!("no length of {}", left.len()));
    }
    let mut why = String::new();
    for (_, by) in &lens {
        let sectors = left.chunks(SECTOR as usize).enumerate();
        let bad = sectors.filter(|(s, data)| {
            let legal = oracle.sector(*s, *by);
            let is = |one: &Vec<u8>, n: usize, m: usize| one[n..m] == data[n..m];
            let whole = legal.iter().any(|one| is(one, 0, data.len()));
            let mixed = |cut: usize| {
                legal.iter().any(|one| is(one, 0, cut))
                    && legal.iter().any(|one| is(one, cut, data.len()))
            };
            !(whole || torn && (1..data.len()).any(mixed))
        });
        let bad: Vec<usize> = bad.map(|(s, _)| s).collect();
        if bad.is_empty() {
            return Ok(());
        }
        why = format!("illegal sectors {bad:?} of a file of {} bytes", left.len());
    }
    Err(why)
}

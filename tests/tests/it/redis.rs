//! Goal: what the daemon has in common with Redis it does as Redis does: every command, option and
//! refusal gets the same bytes for an answer.
//! Method: random programs, drawn from a seed, go to a real redis-server and to the daemon, the
//! same bytes to each; answers are compared one by one, save for the differences that are declared.
//! A program that makes one is shrunk and printed as lines for redis-cli. `cargo xtask fuzz redis`
//! runs this with other seeds and for longer.

mod declared;
mod drawing;
mod program;
mod server;
mod shrink;

use std::time::{Duration, Instant};

use crate::orlojd::Orlojd;
use program::Program;
use server::{Answers, Redis, run};

/// Programs of a run that is not told how long to last.
const PROGRAMS: u64 = 300;
/// Findings after which a run ends.
const FINDINGS: usize = 8;

/// One program whose answers differ, and where.
struct Finding {
    seed: u64,
    program: Program,
    at: usize,
    answers: (Answers, Answers),
}

/// Both servers.
struct Pair {
    redis: Redis,
    orlojd: Orlojd,
}

impl Pair {
    fn start(dir: &std::path::Path) -> Pair {
        let orlojd = Orlojd::start(&dir.join("orlojd"), &["--durability", "in_memory"]);
        Pair { redis: Redis::start(&dir.join("redis")), orlojd }
    }

    /// The answers of both, and where they differ first.
    fn compare(&self, program: &Program) -> (Option<usize>, (Answers, Answers)) {
        let answers = run(program, &self.redis.addr, &self.orlojd.addr);
        (declared::differ(program, &answers.0, &answers.1), answers)
    }

    /// Whether a program's answers differ each time. A machine that stands still for a moment makes
    /// a difference once.
    fn always_differ(&self, program: &Program) -> bool {
        (0..3).all(|_| self.compare(program).0.is_some())
    }
}

/// What the environment says, if it says anything.
fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn programs_get_the_answers_that_redis_gives() {
    let dir = tempfile::tempdir().expect("room for a test");
    let pair = Pair::start(dir.path());
    let first = told("ORLOJ_FUZZ_SEED").unwrap_or(1);
    let lasts = told("ORLOJ_FUZZ_SECONDS").map(Duration::from_secs);
    let begun = Instant::now();
    let is_over = |done: u64| match lasts {
        Some(lasts) => begun.elapsed() >= lasts,
        None => done >= PROGRAMS,
    };
    let mut found: Vec<Finding> = Vec::new();
    let (mut done, mut commands) = (0, 0);
    while !is_over(done) && found.len() < FINDINGS {
        let seed = first + done;
        done += 1;
        let program = Program::draw(seed);
        commands += program.steps.len();
        if pair.compare(&program).0.is_none() || !pair.always_differ(&program) {
            continue;
        }
        let program = shrink::shrink(program, |smaller| pair.always_differ(smaller));
        let (at, answers) = pair.compare(&program);
        found.push(Finding { seed, program, at: at.unwrap_or_default(), answers });
    }
    println!("redis: {done} programs, {commands} commands, {} differences", found.len());
    let told: Vec<String> = found.iter().map(Finding::tell).collect();
    assert!(found.is_empty(), "{}", told.join("\n\n"));
}

impl Finding {
    /// The program as lines for redis-cli, and what either answers.
    fn tell(&self) -> String {
        let Finding { seed, program, at, answers } = self;
        let answer = |answers: &Answers| match answers.list.get(*at) {
            Some(answer) => answer[..answer.len().min(300)].escape_ascii().to_string(),
            None => format!("nothing ({})", answers.rest.escape_ascii()),
        };
        format!(
            "seed {seed}, answer {}: redis {}, orlojd {}\n{}",
            at + 1,
            answer(&answers.0),
            answer(&answers.1),
            program.script()
        )
    }
}

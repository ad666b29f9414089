//! What checking a history costs, and what the checkers say of published ones.
//!
//! `orloj-bench-checkers` prints the costs; with files it prints a verdict and its cost for each.
//! The formats are those of porcupine's `test_data`, Knossos' `data` and Elle's `histories`.

#![allow(clippy::print_stdout, reason = "it speaks to a person")]

mod cost;
mod edn;
mod published;

use anyhow::{Context, Result};
use orloj_invariants::checkers::linearizability::Budget;

fn main() -> Result<()> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        for (clients, keys, lost) in
            [(10, 100, 0), (50, 100, 0), (50, 100, 1), (50, 100, 10), (10, 1, 0)]
        {
            println!("{}", cost::row(clients, keys, lost)?);
        }
    }
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| file.clone())?;
        let start = cost::cpu_time();
        let said = published::check(&file, &text, &mut Budget::default());
        let said = said.with_context(|| file.clone())?;
        let ms = (cost::cpu_time() - start).as_secs_f64() * 1e3;
        let name = file.rsplit('/').next().unwrap_or(&file);
        println!("{name}: {} ms: {}", ms.round(), said.chars().take(400).collect::<String>());
    }
    Ok(())
}

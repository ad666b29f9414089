//! The simulation program. `cargo xtask sim` builds and runs it.

use std::process::ExitCode;

use orloj_scenarios::allocations::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    orloj_scenarios::cli::main()
}

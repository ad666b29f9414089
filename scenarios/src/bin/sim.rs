//! The simulation program. `cargo xtask sim` builds and runs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    orloj_scenarios::cli::main()
}

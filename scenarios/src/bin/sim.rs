//! The simulation program.

fn main() {}

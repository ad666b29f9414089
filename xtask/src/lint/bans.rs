//! The root `clippy.toml` really bites: a crate made of one violation a line fails on every line.

use crate::process;
use std::collections::BTreeSet;

/// Each line reaches around the context in another way.
const VIOLATIONS: &[&str] = &[
    "let _ = std::time::Instant::now();",
    "let _ = std::time::SystemTime::now();",
    "let _ = std::collections::HashMap::<u8, u8>::new();",
    "let _ = std::collections::HashSet::<u8>::new();",
    "let _ = std::hash::RandomState::new();",
    "let _ = std::thread::spawn(|| ());",
    "std::thread::sleep(std::time::Duration::ZERO);",
    "let _ = std::thread::current();",
    "let _ = std::sync::Condvar::new();",
    "let _ = std::sync::mpsc::channel::<u8>();",
    "let _ = std::fs::read(\"x\");",
    "let _ = std::fs::File::open(\"x\");",
    "let _ = std::path::Path::new(\"x\").exists();",
    "let _ = std::net::TcpStream::connect(\"x:1\");",
    "let _ = std::env::var(\"x\");",
    "let _ = std::env::args();",
    "let _ = std::process::id();",
    "let _ = std::process::Command::new(\"x\");",
];

#[test]
fn clippy_refuses_every_way_around_the_context() {
    let folder = process::root().join("target/xtask/bans");
    std::fs::create_dir_all(folder.join("src")).expect("target/ can be written");
    let manifest = "[package]\nname = \"bans\"\nedition = \"2024\"\n\n[lints.clippy]\n\
                    disallowed_methods = \"deny\"\ndisallowed_types = \"deny\"\n\n[workspace]\n";
    let code = format!("pub fn f() {{\n{}\n}}\n", VIOLATIONS.join("\n"));
    std::fs::write(folder.join("Cargo.toml"), manifest).expect("target/ can be written");
    std::fs::write(folder.join("src/lib.rs"), code).expect("target/ can be written");
    std::fs::copy(process::root().join("clippy.toml"), folder.join("clippy.toml"))
        .expect("there is a clippy.toml");

    let output = process::cargo()
        .current_dir(&folder)
        .args(["clippy", "--quiet", "--offline", "--message-format=short"])
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "clippy found nothing:\n{words}");
    let refused: BTreeSet<usize> = words
        .lines()
        .filter(|line| line.contains("disallowed"))
        .filter_map(|line| line.split(':').nth(1)?.parse().ok())
        .collect();
    for (at, violation) in VIOLATIONS.iter().enumerate() {
        // The first line of the file opens the function, and lines count from 1.
        assert!(refused.contains(&(at + 2)), "not refused: {violation}\n{words}");
    }
}

//! Which crate of the workspace may import which, and which doors of tokio it may open.
//!
//! The table is the layering of ARCHITECTURE.md as data; a crate or an arrow it does not list is
//! refused.

use super::Finding;
use super::metadata::Metadata;
use std::collections::BTreeMap;

/// One crate's row.
struct Row {
    name: &'static str,
    folder: &'static str,
    /// What its code may import.
    imports: &'static [&'static str],
    /// What its tests may import besides.
    tests: &'static [&'static str],
}

const fn row(
    name: &'static str,
    folder: &'static str,
    imports: &'static [&'static str],
    tests: &'static [&'static str],
) -> Row {
    Row { name, folder, imports, tests }
}

/// Short names; the packages are `orloj-` and the short name, but for `orloj` and `xtask`.
const ROWS: &[Row] = &[
    row("kernel", "actors/kernel", &[], &[]),
    row("storage", "storage", &["kernel"], &["sim"]),
    row("net", "net", &["kernel"], &["sim"]),
    row("sim-macros", "sim/macros", &[], &[]),
    row("sim", "sim", &["kernel", "sim-macros"], &[]),
    row("host", "actors/host", &["kernel"], &[]),
    row("invariants", "invariants", &["net"], &[]),
    row("raft", "actors/raft", &["kernel", "net", "storage"], &["sim"]),
    row("db", "actors/db", &["kernel", "net", "storage"], &["sim"]),
    row("orloj", "actors/orloj", &["db", "host", "kernel", "net", "storage"], &[]),
    row("scenarios", "scenarios", &["db", "invariants", "kernel", "net", "sim", "storage"], &[]),
    row("examples", "examples", &["host", "kernel"], &["sim"]),
    row("tests", "tests", EVERYTHING, EVERYTHING),
    row("xtask", "xtask", &[], &[]),
];

const EVERYTHING: &[&str] = &[
    "db",
    "host",
    "invariants",
    "kernel",
    "net",
    "orloj",
    "raft",
    "scenarios",
    "sim",
    "sim-macros",
    "storage",
];

/// Features of tokio that bring its runtime, its clock, the machine or chance with them.
const TOKIO_DOORS: &[&str] = &[
    "fs",
    "full",
    "io-std",
    "macros",
    "net",
    "process",
    "rt",
    "rt-multi-thread",
    "signal",
    "test-util",
    "time",
];

/// The crates that may open them: `host` binds the ports, `tests` run real processes.
const TOKIO_USERS: &[&str] = &["host", "tests"];

/// Features of our own crates that only some may turn on, with those crates.
const GUARDED: &[(&str, &str, &[&str])] = &[("kernel", "mutants", &["sim", "scenarios", "tests"])];

/// Crates of others that only some may import: what is generic is compiled wherever it is named.
const SOLE: &[(&str, &[&str])] = &[("openraft", &["raft"]), ("openraft-rt", &["raft", "tests"])];

/// Judges every dependency that the crates of the workspace declare.
pub(super) fn check(metadata: &Metadata) -> Vec<Finding> {
    let rows: BTreeMap<&str, &Row> = ROWS.iter().map(|row| (row.name, row)).collect();
    let members: Vec<&str> = metadata.members().map(|package| short(&package.name)).collect();
    let mut findings = Vec::new();
    for package in metadata.members() {
        let name = short(&package.name);
        let Some(row) = rows.get(name) else {
            let what = format!("crate {} has no row in the table of arrows", package.name);
            findings.push(Finding::new(
                "Cargo.toml",
                0,
                what,
                "add it to xtask/src/lint/arrows.rs",
            ));
            continue;
        };
        let manifest = format!("{}/Cargo.toml", row.folder);
        for dependency in &package.dependencies {
            let to = short(&dependency.name);
            let is_test = dependency.kind.as_deref() == Some("dev");
            let listed = row.imports.contains(&to) || is_test && row.tests.contains(&to);
            if members.contains(&to) && !listed {
                let tests = if is_test { "'s tests" } else { "" };
                let what = format!("{name}{tests} may not import {to}");
                let remedy = "an arrow goes down and stands in ARCHITECTURE.md: move the code";
                findings.push(Finding::new(&manifest, 0, what, remedy));
            }
            for (sole, may) in SOLE {
                if to == *sole && !may.contains(&name) {
                    let what = format!("{name} imports {sole}");
                    let remedy = format!("only {} may", may.join(" and "));
                    findings.push(Finding::new(&manifest, 0, what, remedy));
                }
            }
            let doors = dependency.features.iter().filter(|f| TOKIO_DOORS.contains(&&***f));
            if to == "tokio" && !TOKIO_USERS.contains(&name) {
                for door in doors {
                    let what = format!("{name} turns on tokio's feature {door}");
                    let remedy = "reach the machine through the Context; only host binds it";
                    findings.push(Finding::new(&manifest, 0, what, remedy));
                }
            }
            for (guarded, feature, may) in GUARDED {
                let on = dependency.features.iter().any(|f| f == feature);
                if to == *guarded && on && !may.contains(&name) {
                    let what = format!("{name} turns on {guarded}'s feature {feature}");
                    let remedy = format!("only {} may", may.join(", "));
                    findings.push(Finding::new(&manifest, 0, what, remedy));
                }
            }
        }
    }
    findings
}

/// `orloj-kernel` is `kernel`; other names are themselves.
pub(super) fn short(package: &str) -> &str {
    package.strip_prefix("orloj-").unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::super::metadata::made_up;
    use super::*;

    fn findings(packages: &[(&str, &[&str])]) -> Vec<String> {
        check(&made_up(packages)).iter().map(Finding::to_string).collect()
    }

    const KERNEL: (&str, &[&str]) = ("orloj-kernel", &[]);
    const SIM: (&str, &[&str]) = ("orloj-sim", &["orloj-kernel"]);

    #[test]
    fn listed_arrows_pass() {
        let db: (&str, &[&str]) = ("orloj-db", &["orloj-kernel", "dev:orloj-sim", "serde"]);
        assert_eq!(findings(&[KERNEL, SIM, db]), [""; 0]);
    }

    #[test]
    fn an_arrow_that_is_not_listed_is_refused() {
        let upward: (&str, &[&str]) = ("orloj-kernel", &["orloj-sim"]);
        let found = findings(&[upward, SIM]);
        assert!(found[0].starts_with("actors/kernel/Cargo.toml:1: kernel may not import sim"));
        let in_code: (&str, &[&str]) = ("orloj-db", &["orloj-sim"]);
        assert_eq!(findings(&[KERNEL, SIM, in_code]).len(), 1);
        let in_tests: (&str, &[&str]) = ("orloj-host", &["dev:orloj-sim"]);
        assert!(findings(&[KERNEL, SIM, in_tests])[0].contains("host's tests may not import sim"));
    }

    #[test]
    fn a_crate_without_a_row_is_refused() {
        assert!(findings(&[("orloj-gadgets", &[])])[0].contains("orloj-gadgets has no row"));
    }

    #[test]
    fn only_raft_names_openraft() {
        let raft: (&str, &[&str]) = ("orloj-raft", &["openraft", "openraft-rt"]);
        assert_eq!(findings(&[raft]), [""; 0]);
        let found = findings(&[("orloj-db", &["openraft"])]);
        assert!(found[0].contains("db imports openraft"), "{found:?}");
    }

    #[test]
    fn only_host_and_tests_open_tokios_doors() {
        let kernel: (&str, &[&str]) = ("orloj-kernel", &["tokio+io-util"]);
        let host: (&str, &[&str]) = ("orloj-host", &["tokio+rt+net"]);
        assert_eq!(findings(&[kernel, host]), [""; 0]);
        let kernel: (&str, &[&str]) = ("orloj-kernel", &["tokio+io-util+time"]);
        assert!(findings(&[kernel])[0].contains("kernel turns on tokio's feature time"));
    }

    #[test]
    fn only_the_simulator_plants_defects() {
        let sim: (&str, &[&str]) = ("orloj-sim", &["orloj-kernel+mutants"]);
        assert_eq!(findings(&[KERNEL, sim]), [""; 0]);
        let orloj: (&str, &[&str]) = ("orloj", &["orloj-kernel+mutants"]);
        assert!(findings(&[KERNEL, orloj])[0].contains("orloj turns on kernel's feature mutants"));
    }
}

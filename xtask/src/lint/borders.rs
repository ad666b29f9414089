//! Only `host` names the machine: tokio's runtime, files, sockets, threads, clocks, environment.
//!
//! Clippy refuses the same by type and is blind where a crate is not compiled or an attribute
//! allows it; this rule reads the names, and an attribute that allows a refused name counts as one.
//! Whoever else must cross the border stands in `CROSSINGS` with the names it needs and the reason;
//! a crossing that is no longer used is refused too, so the table only shrinks by itself.

use super::Finding;
use super::source::{Source, Spelled};
use std::collections::BTreeSet;

/// A refused name, what under it is harmless, and where to go instead.
struct Refused {
    name: &'static str,
    except: &'static [&'static str],
    remedy: &'static str,
}

const fn refused(
    name: &'static str,
    except: &'static [&'static str],
    remedy: &'static str,
) -> Refused {
    Refused { name, except, remedy }
}

const DISK: &str = "use the Context's disk";
const NETWORK: &str = "use the Context's network";
const TASKS: &str = "spawn through the Context";
const TIME: &str = "use the Context's clock";
const CONFIG: &str = "take it from the configuration";
const CHANCE: &str = "draw from the Context's entropy";
const ALLOW: &str = "remove it, or list the file in CROSSINGS of xtask/src/lint/borders.rs";

const REFUSED: &[Refused] = &[
    refused("std::fs", &[], DISK),
    refused("std::os::unix::fs", &[], DISK),
    refused("tokio::fs", &[], DISK),
    refused(
        "std::net",
        &[
            "AddrParseError",
            "IpAddr",
            "Ipv4Addr",
            "Ipv6Addr",
            "Shutdown",
            "SocketAddr",
            "SocketAddrV4",
            "SocketAddrV6",
        ],
        NETWORK,
    ),
    refused("std::os::unix::net", &[], NETWORK),
    refused("tokio::net", &[], NETWORK),
    refused("std::thread", &["AccessError", "LocalKey", "panicking"], TASKS),
    refused("std::os::unix::thread", &[], TASKS),
    refused("tokio::runtime", &[], TASKS),
    refused("tokio::spawn", &[], TASKS),
    refused("tokio::task", &[], TASKS),
    refused("tokio::main", &[], TASKS),
    refused("tokio::test", &[], "use #[orloj_sim::test]"),
    refused(
        "std::process",
        &["ExitCode", "Termination", "abort"],
        "only tests and xtask start processes",
    ),
    refused("std::os::unix::process", &[], "only tests and xtask start processes"),
    refused("tokio::process", &[], "only tests and xtask start processes"),
    refused("tokio::signal", &[], "only host hears signals"),
    refused("std::time", &["Duration", "TryFromFloatSecsError"], TIME),
    refused("tokio::time", &[], TIME),
    refused("std::env", &[], CONFIG),
    refused("libc", &[], "only host calls the system"),
    refused("getrandom", &[], CHANCE),
    refused("rand", &[], CHANCE),
    refused("fastrand", &[], CHANCE),
    refused("std::hash::RandomState", &[], CHANCE),
    refused("std::collections::hash_map::RandomState", &[], CHANCE),
    refused("tokio::sync::watch", &[], "its wake order is chance; use a mailbox"),
    refused("tokio::select", &[], "its branch order is chance; one mailbox, no select"),
    refused("futures_util::select", &[], "its branch order is chance; one mailbox, no select"),
    refused("clippy::disallowed_macros", &[], ALLOW),
    refused("clippy::disallowed_methods", &[], ALLOW),
    refused("clippy::disallowed_types", &[], ALLOW),
];

/// Who may cross the border. `names` empty means every name.
struct Crossing {
    /// A folder (ends in `/`) or a file, from the top folder.
    path: &'static str,
    names: &'static [&'static str],
    #[expect(dead_code, reason = "for the reader of the table")]
    reason: &'static str,
}

const CROSSINGS: &[Crossing] = &[
    Crossing { path: "actors/host/", names: &[], reason: "it binds the ports to the machine" },
    Crossing {
        path: "tests/",
        names: &[],
        reason: "real processes, files and sockets are the subject",
    },
    Crossing { path: "xtask/", names: &[], reason: "automation works on the machine itself" },
    Crossing {
        path: "sim/examples/disk_model.rs",
        names: &["libc"],
        reason: "it measures the disk model's own CPU time, outside of any world",
    },
    Crossing {
        path: "sim/src/testing.rs",
        names: &["std::env", "std::thread", "clippy::disallowed_methods"],
        reason: "a test runs each world on a thread of its own and is told its seed from outside",
    },
    Crossing {
        path: "sim/src/trap/symbols.rs",
        names: &["libc"],
        reason: "it stands between simulated code and the C library",
    },
    Crossing {
        path: "sim/tests/trap.rs",
        names: &[
            "libc",
            "std::net",
            "std::thread",
            "std::time",
            "clippy::disallowed_methods",
            "clippy::disallowed_types",
        ],
        reason: "it asks the machine for all that a task may not",
    },
    Crossing {
        path: "sim/tests/world.rs",
        names: &["std::thread", "clippy::disallowed_methods"],
        reason: "a thread without a world must fail loudly",
    },
    Crossing {
        path: "actors/orloj/src/bin/orlojd.rs",
        names: &["std::fs", "std::process", "clippy::disallowed_methods"],
        reason: "it reads its configuration before there is a host, and tells its process number",
    },
    Crossing {
        path: "bench/",
        names: &[],
        reason: "it measures the machine; a workspace of its own",
    },
    Crossing {
        path: "net/examples/resp_cost.rs",
        names: &["std::time", "clippy::disallowed_types"],
        reason: "it prints what the codec costs in real nanoseconds",
    },
    Crossing {
        path: "scenarios/src/cli/crew.rs",
        names: &[
            "std::fs",
            "std::thread",
            "std::time",
            "clippy::disallowed_methods",
            "clippy::disallowed_types",
        ],
        reason: "a run that takes too long is left behind on its thread",
    },
    Crossing {
        path: "scenarios/src/cli/machine.rs",
        names: &[
            "std::fs",
            "std::process",
            "std::thread",
            "std::time",
            "std::env",
            "std::hash::RandomState",
            "clippy::disallowed_methods",
            "clippy::disallowed_types",
        ],
        reason: "the one file of the sim binary that starts processes, measures and writes reports",
    },
    Crossing {
        path: "scenarios/src/leaks/ways.rs",
        names: &[
            "std::fs",
            "std::thread",
            "std::time",
            "std::env",
            "futures_util::select",
            "clippy::disallowed_macros",
            "clippy::disallowed_methods",
            "clippy::disallowed_types",
        ],
        reason: "each function is a planted leak that the determinism check must catch",
    },
    Crossing {
        path: "scenarios/tests/campaign.rs",
        names: &[
            "std::fs",
            "std::process",
            "std::thread",
            "std::env",
            "clippy::disallowed_methods",
            "clippy::disallowed_types",
        ],
        reason: "it kills campaigns, which are processes",
    },
    Crossing {
        path: "storage/examples/tree_cost.rs",
        names: &["std::env", "std::fs", "std::thread", "clippy::disallowed_methods"],
        reason: "it measures CPU time, on one thread and on two",
    },
    Crossing { path: "fuzz/", names: &[], reason: "no actor runs there; a workspace of its own" },
];

/// Which crossings were made, as (row, name), over all files seen.
#[derive(Default)]
pub(super) struct Used(BTreeSet<(usize, &'static str)>);

/// Judges the names of one file and notes in `used` the crossings it makes.
pub(super) fn check(source: &Source, used: &mut Used) -> Vec<Finding> {
    check_against(CROSSINGS, source, used)
}

fn check_against(crossings: &[Crossing], source: &Source, used: &mut Used) -> Vec<Finding> {
    let row = crossings.iter().position(|crossing| match crossing.path.ends_with('/') {
        true => source.file.starts_with(crossing.path),
        false => source.file == crossing.path,
    });
    let mut findings = Vec::new();
    for path in source.paths() {
        let Some(refused) = REFUSED.iter().find(|refused| is_refused(&path, refused)) else {
            continue;
        };
        let crossing = row.map(|row| (row, &crossings[row]));
        match crossing.filter(|(_, c)| c.names.is_empty() || c.names.contains(&refused.name)) {
            Some((row, _)) => drop(used.0.insert((row, refused.name))),
            None => {
                let what = format!("names {}", path.segments.join("::"));
                findings.push(Finding::new(&source.file, path.line, what, refused.remedy));
            }
        }
    }
    findings
}

/// Whether `path` is `refused` or lies under it. A bare import of the module counts, because what
/// is then used through it cannot be seen; a macro of the same spelling does not.
fn is_refused(path: &Spelled, refused: &Refused) -> bool {
    let name: Vec<&str> = refused.name.split("::").collect();
    if path.segments.len() < name.len() || path.segments.iter().zip(&name).any(|(a, b)| a != b) {
        return false;
    }
    let is_env_macro = path.is_macro && refused.name == "std::env";
    match path.segments.get(name.len()) {
        Some(item) => !refused.except.contains(&&**item),
        None => !is_env_macro,
    }
}

/// Crossings listed by name that no file makes any more.
pub(super) fn stale(used: &Used) -> Vec<Finding> {
    stale_among(CROSSINGS, used)
}

fn stale_among(crossings: &[Crossing], used: &Used) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (row, crossing) in crossings.iter().enumerate() {
        for name in crossing.names.iter().filter(|name| !used.0.contains(&(row, **name))) {
            let what = format!("{} no longer names {name}", crossing.path);
            let remedy = "take the name off its row in CROSSINGS";
            findings.push(Finding::new("xtask/src/lint/borders.rs", 0, what, remedy));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(file: &str, text: &str) -> Vec<String> {
        let found = check(&Source::new(file, text), &mut Used::default());
        found.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn every_refused_name_is_refused() {
        for refused in REFUSED {
            let text = format!("use {}::anything;", refused.name);
            assert_eq!(named("storage/src/a.rs", &text).len(), 1, "{}", refused.name);
        }
    }

    #[test]
    fn names_are_found_however_they_are_spelled() {
        for text in [
            "use std::fs;",
            "use std::{io, fs::{self, File}};",
            "use std::time::*;",
            "let t = ::std::time::Instant::now();",
            "use std::time::{Duration, SystemTime};",
            "use std::net::{SocketAddr, TcpStream};",
            "#[tokio::test]\nasync fn f() {}",
            "tokio::select! {}",
            "#![allow(clippy::disallowed_methods)]",
        ] {
            assert!(!named("actors/db/src/a.rs", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_pure_data_may_be_named() {
        for text in [
            "use std::time::Duration;",
            "use std::net::{SocketAddr, IpAddr};",
            "use std::process::ExitCode;",
            "use tokio::io::{AsyncRead, AsyncWrite};",
            "let v = std::env!(\"CARGO_PKG_VERSION\");",
            "use rand_chacha::rand_core::SeedableRng;",
            "// std::fs would be wrong here\nlet s = \"std::fs\";",
            "std::thread_local! {}",
        ] {
            assert_eq!(named("actors/db/src/a.rs", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn only_listed_folders_cross() {
        assert_eq!(named("actors/host/src/disk.rs", "use std::fs::File;"), [""; 0]);
        assert_eq!(named("actors/hosts/src/disk.rs", "use std::fs::File;").len(), 1);
        assert_eq!(named("storage/tests/a.rs", "use std::fs::File;").len(), 1);
    }

    #[test]
    fn a_crossing_covers_its_names_only_and_goes_stale() {
        let crossings =
            [Crossing { path: "sim/src/a.rs", names: &["libc", "std::time"], reason: "a test" }];
        let mut used = Used::default();
        let source = Source::new("sim/src/a.rs", "use libc::c_int; use std::fs;");
        let found = check_against(&crossings, &source, &mut used);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, "names std::fs");
        let stale = stale_among(&crossings, &used);
        assert_eq!(stale.len(), 1);
        assert!(stale[0].what.contains("no longer names std::time"), "{stale:?}");
    }
}

//! `cargo xtask schemas`: what is on disk, or on a wire, stays readable.
//!
//! Every version of a format has its schemas in `frozen/MAJOR.MINOR/` beside the present ones.
//! Those of the present version are the schemas as they are; a later minor version may only add
//! what readers of the earlier one leave aside; a later major version of the engine's format brings
//! a database of the earlier one, for the test that reads it or says who can.

mod fbs;

use crate::process;
use anyhow::{Context, Result, ensure};
use fbs::{Declared, Field, Schema};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// Major and minor.
type Version = (u16, u16);

/// The schemas of one version, by file name.
type Texts = BTreeMap<String, String>;

/// What has schemas of its own, and a version.
struct Format {
    name: &'static str,
    schemas: &'static str,
    /// Where its version stands, as `pub const FORMAT: (u16, u16)`.
    version_in: &'static str,
    /// Where databases of earlier major versions lie, for the tests that open them; a protocol has
    /// none.
    migrations: Option<&'static str>,
}

/// What lies on disk.
const ENGINE: Format = Format {
    name: "engine",
    schemas: "storage/schemas",
    version_in: "storage/src/superblock.rs",
    migrations: Some("storage/tests/migrations"),
};
/// What goes over a wire.
const NATIVE: Format = Format {
    name: "native protocol",
    schemas: "net/schemas",
    version_in: "net/src/native.rs",
    migrations: None,
};

/// Compares the schemas with those of every version that was frozen.
pub(crate) fn run() -> Result<ExitCode> {
    let mut refused = 0;
    for format in [ENGINE, NATIVE] {
        refused += run_one(&format)?;
    }
    Ok(ExitCode::from(u8::from(refused > 0)))
}

/// How many findings there are in one format.
fn run_one(format: &Format) -> Result<usize> {
    let Format { name, schemas: place, version_in, migrations } = *format;
    let root = process::root();
    let code = fs::read_to_string(root.join(version_in)).context(version_in)?;
    let now = version(&code).with_context(|| format!("{version_in}: no FORMAT"))?;
    let schemas = root.join(place);
    let current = texts(&schemas)?;
    ensure!(!current.is_empty(), "{place}: no schemas");
    let mut frozen = BTreeMap::new();
    for entry in fs::read_dir(schemas.join("frozen")).context("no frozen schemas")? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some((major, minor)) = name.split_once('.') {
            frozen.insert((major.parse()?, minor.parse()?), texts(&path)?);
        }
    }
    let has_migration = |(major, minor): Version| {
        migrations.is_none_or(|migrations| {
            let dir = root.join(format!("{migrations}/{major}.{minor}"));
            fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
        })
    };
    let findings = check(format, now, &current, &frozen, has_migration)?;
    for finding in &findings {
        println!("{finding}");
    }
    println!("schemas: {name} {}.{}, {} refused", now.0, now.1, findings.len());
    Ok(findings.len())
}

/// The version that the code says it writes.
fn version(code: &str) -> Option<Version> {
    let (_, rest) = code.split_once("pub const FORMAT: (u16, u16) = (")?;
    let (major, minor) = rest.split_once(')')?.0.split_once(", ")?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The schemas in a directory.
fn texts(dir: &Path) -> Result<Texts> {
    let mut texts = Texts::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "fbs") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            texts.insert(name, fs::read_to_string(path)?);
        }
    }
    Ok(texts)
}

/// What is wrong with the schemas of version `now`, given those before.
fn check(
    format: &Format,
    now: Version,
    current: &Texts,
    frozen: &BTreeMap<Version, Texts>,
    has_migration: impl Fn(Version) -> bool,
) -> Result<Vec<String>> {
    let Format { schemas, version_in, migrations, .. } = format;
    let mut findings = Vec::new();
    let (major, minor) = now;
    if !frozen.contains_key(&now) {
        let to = format!("{schemas}/frozen/{major}.{minor}");
        findings.push(format!("{to}: missing — copy the schemas there when the version is raised"));
    }
    for (version, texts) in frozen {
        let (its_major, its_minor) = *version;
        if *version > now {
            findings.push(format!("{version_in}: format {its_major}.{its_minor} was given before"));
        } else if *version == now {
            let names =
                current.keys().chain(texts.keys().filter(|name| !current.contains_key(*name)));
            let differ = names.filter(|name| current.get(*name) != texts.get(*name));
            findings.extend(differ.map(|name| {
                let what = "not what was frozen, and known by its hash";
                format!(
                    "{schemas}/{name}: {what} — raise the minor version of FORMAT and freeze it"
                )
            }));
        } else if its_major == major {
            let changes = incompatible(texts, current)?;
            findings.extend(changes.into_iter().map(|what| {
                let remedy = "put it back, or raise the major version of FORMAT";
                format!("{schemas}/{what} — {remedy}")
            }));
        } else {
            let is_newest =
                !frozen.range((its_major, its_minor + 1)..(its_major + 1, 0)).any(|_| true);
            if is_newest && !has_migration(*version) {
                let dir = format!("{}/{its_major}.{its_minor}", migrations.unwrap_or_default());
                findings.push(format!("{dir}: missing — keep a database of it, and a test on it"));
            }
        }
    }
    Ok(findings)
}

/// Every change after which readers and databases of one major version do not fit together.
fn incompatible(old: &Texts, new: &Texts) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (file, old) in old {
        let Some(new) = new.get(file) else {
            found.push(format!("{file}: it is gone"));
            continue;
        };
        let old = fbs::parse(old).with_context(|| format!("{file}, frozen"))?;
        let new = fbs::parse(new).with_context(|| file.clone())?;
        found.extend(changes(&old, &new).into_iter().map(|what| format!("{file}: {what}")));
    }
    Ok(found)
}

fn changes(old: &Schema, new: &Schema) -> Vec<String> {
    let mut found = Vec::new();
    if old.root != new.root {
        found.push("another root".to_owned());
    }
    for (name, before) in &old.declared {
        let what = match (before, new.declared.get(name)) {
            (_, None) => Some("it is gone".to_owned()),
            (Declared::Struct(a), Some(Declared::Struct(b))) => bytes(a, b),
            (Declared::Table(a), Some(Declared::Table(b))) => match old.root.is_some() {
                true => added(a, b),
                false => bytes(a, b),
            },
            (Declared::Union(a), Some(Declared::Union(b))) => {
                (!b.starts_with(a)).then(|| "members may only be added at the end".to_owned())
            }
            _ => Some("it is of another kind".to_owned()),
        };
        found.extend(what.map(|what| format!("{name}: {what}")));
    }
    found
}

/// Fields that stand for bytes in a row: none may come, go or change.
fn bytes(old: &[Field], new: &[Field]) -> Option<String> {
    let count = old.len().max(new.len());
    let at = (0..count).find(|at| old.get(*at) != new.get(*at))?;
    let show = |field: Option<&Field>| field.map_or("nothing".to_owned(), Field::to_string);
    Some(format!("{} where {} was", show(new.get(at)), show(old.get(at))))
}

/// Fields of a FlatBuffers table: new ones stand behind the old ones and may be absent.
fn added(old: &[Field], new: &[Field]) -> Option<String> {
    bytes(old, &new[..old.len().min(new.len())]).or_else(|| {
        let needed = new[old.len()..].iter().find(|field| field.is_required)?;
        Some(format!("{needed} is in no database of an earlier version"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str = "// First.\nnamespace orloj;\ntable Manifest {\n  major: ushort;\n  \
                          reader: string (required);\n  of: [ubyte]; // bytes\n}\n\
                          root_type Manifest;\n";
    const BYTES: &str = "namespace orloj.wal;\nstruct Head { sum: uint; kind: ubyte; }\n\
                         table Put { key: [ubyte]; value: [ubyte]; }\n\
                         table Clear { keyspace: uint; }\nunion Op { Put, Clear }\n";

    fn of(tables: &str, bytes: &str) -> Texts {
        [("manifest.fbs", tables), ("wal.fbs", bytes)]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into()
    }

    /// What is found when format 1.0 was as above and `now` is so.
    fn found(now: Version, tables: &str, bytes: &str) -> Vec<String> {
        let current = of(tables, bytes);
        let frozen = BTreeMap::from([((1, 0), of(TABLES, BYTES)), (now, current.clone())]);
        check(&ENGINE, now, &current, &frozen, |_| false).expect("they can be read")
    }

    fn changed(from: &str, to: &str) -> (String, String) {
        assert!(TABLES.contains(from) || BYTES.contains(from), "{from}");
        (TABLES.replacen(from, to, 1), BYTES.replacen(from, to, 1))
    }

    #[test]
    fn without_a_new_version_nothing_may_change() {
        let (current, frozen) = (of(TABLES, BYTES), BTreeMap::from([((1, 0), of(TABLES, BYTES))]));
        assert_eq!(
            check(&ENGINE, (1, 0), &current, &frozen, |_| false).expect("it is read"),
            [""; 0]
        );
        let (tables, bytes) = changed("// First.", "// Second.");
        let findings =
            check(&ENGINE, (1, 0), &of(&tables, &bytes), &frozen, |_| false).expect("it is read");
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("storage/schemas/manifest.fbs: not what was frozen"));
    }

    #[test]
    fn a_minor_version_may_add_what_can_be_left_aside() {
        for (from, to) in [
            ("of: [ubyte]; // bytes", "of: [ubyte]; more: uint;"),
            (
                "union Op { Put, Clear }",
                "table Drop { keyspace: uint; } union Op { Put, Clear, Drop }",
            ),
            ("// First.", "// Second."),
        ] {
            let (tables, bytes) = changed(from, to);
            assert_eq!(found((1, 1), &tables, &bytes), [""; 0], "{to}");
        }
    }

    #[test]
    fn a_minor_version_may_change_nothing_that_is_there() {
        for (from, to, said) in [
            (
                "major: ushort;",
                "major: uint;",
                "manifest.fbs: Manifest: major: uint where major: ushort was",
            ),
            ("major: ushort;", "", "manifest.fbs: Manifest: reader: string (required) where"),
            ("string (required)", "string", "manifest.fbs: Manifest: reader: string where"),
            (
                "of: [ubyte];",
                "of: [ubyte]; more: string (required);",
                "more: string (required) is in no",
            ),
            ("root_type Manifest;", "", "manifest.fbs: another root"),
            (
                "kind: ubyte;",
                "kind: ubyte; more: uint;",
                "wal.fbs: Head: more: uint where nothing was",
            ),
            (
                "value: [ubyte];",
                "value: [ubyte]; until: ulong;",
                "wal.fbs: Put: until: ulong where",
            ),
            ("{ Put, Clear }", "{ Clear, Put }", "wal.fbs: Op: members may only be added"),
            ("table Clear { keyspace: uint; }", "", "wal.fbs: Clear: it is gone"),
            ("struct Head", "table Head", "wal.fbs: Head: it is of another kind"),
        ] {
            let (tables, bytes) = changed(from, to);
            let findings = found((1, 1), &tables, &bytes);
            assert_eq!(findings.len(), 1, "{to}: {findings:?}");
            assert!(findings[0].contains(said), "{to}: {findings:?}");
        }
    }

    #[test]
    fn a_major_version_brings_a_database_of_the_one_before() {
        let (tables, bytes) = changed("kind: ubyte;", "kind: uint;");
        let findings = found((2, 0), &tables, &bytes);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("storage/tests/migrations/1.0: missing"));
        let current = of(&tables, &bytes);
        let frozen = BTreeMap::from([((1, 0), of(TABLES, BYTES)), ((2, 0), current.clone())]);
        assert_eq!(
            check(&ENGINE, (2, 0), &current, &frozen, |_| true).expect("it is read"),
            [""; 0]
        );
    }

    #[test]
    fn a_version_is_frozen_and_never_given_twice() {
        let current = of(TABLES, BYTES);
        let frozen = BTreeMap::from([((1, 2), current.clone())]);
        let findings =
            check(&ENGINE, (1, 1), &current, &frozen, |_| true).expect("they can be read");
        assert!(findings[0].starts_with("storage/schemas/frozen/1.1: missing"), "{findings:?}");
        assert!(findings[1].contains("format 1.2 was given before"), "{findings:?}");
        assert_eq!(version("pub const FORMAT: (u16, u16) = (3, 14);"), Some((3, 14)));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["enum A : ubyte { B }", "table A { b: uint = 3", "struct A { b uint; }"] {
            assert!(fbs::parse(text).is_err(), "{text}");
        }
        let schema = fbs::parse(TABLES).expect("it is one");
        assert_eq!(schema.root.as_deref(), Some("Manifest"));
        assert!(
            matches!(&schema.declared["Manifest"], Declared::Table(fields) if fields.len() == 3)
        );
    }
}

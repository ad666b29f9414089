//! Goal: every input that fuzzing keeps passes its target, under the compiler that ships the code
//! and without libFuzzer; every target is one of libFuzzer's and keeps something.
//! Method: files of `fuzz/corpus/`, target by target. The targets are the very files of `fuzz/`,
//! which is a workspace of its own: linked here they need no further build.

use std::{collections::BTreeSet, fs, panic::catch_unwind, path::PathBuf};

#[path = "../../../fuzz/src/lib.rs"]
#[allow(unreachable_pub, reason = "a library where it comes from")]
mod targets;

use targets::TARGETS;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(name)
}

fn names(of: &str) -> BTreeSet<String> {
    let folder = folder(of);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.expect("a folder can be read").file_name();
        name.to_string_lossy().trim_end_matches(".rs").to_owned()
    };
    entries.map(name).collect()
}

#[test]
fn every_kept_input_passes() {
    let mut failed = Vec::new();
    for (target, judge) in TARGETS {
        let corpus = format!("corpus/{target}");
        for name in names(&corpus) {
            let input = fs::read(folder(&corpus).join(&name)).expect("a file can be read");
            if catch_unwind(|| judge(&input)).is_err() {
                failed.push(format!("{target}/{name}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn every_target_is_fuzzed_and_keeps_inputs() {
    let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), known);
    assert_eq!(names("corpus"), known);
}

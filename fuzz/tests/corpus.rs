//! Goal: every input that is kept passes its target, under the compiler that ships the code and
//! without libFuzzer; every target is one of libFuzzer's and keeps something.
//! Method: files of `corpus/`, target by target.

use std::{collections::BTreeSet, fs, panic::catch_unwind, path::Path};

use orloj_fuzz::TARGETS;

fn names(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
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
        let folder = format!("corpus/{target}");
        for name in names(&folder) {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder).join(&name);
            let input = fs::read(path).expect("a file can be read");
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

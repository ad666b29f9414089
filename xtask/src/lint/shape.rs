//! How large files, lines and crate roots may be, and what a module may not be called.

use super::Finding;
use super::source::Source;

/// Lines of a file above which it is refused.
const LINES_MAX: usize = 800;
/// Lines of a file above which it is mentioned.
const LINES_LARGE: usize = 500;
/// Lines of a `lib.rs`: the crate in three sentences, its modules, its exports.
const LIB_LINES_MAX: usize = 100;
/// Characters of a line of Rust, as rustfmt has them; rustfmt leaves comments and strings alone.
const COLUMNS_MAX: usize = 100;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] =
    &["common", "helper", "helpers", "manager", "managers", "misc", "util", "utils", "utilities"];

/// Judges the path of a Rust file.
pub(super) fn check_name(file: &str) -> Vec<Finding> {
    let Some(path) = file.strip_suffix(".rs") else { return Vec::new() };
    let empty = path.split('/').filter(|part| EMPTY_NAMES.contains(part));
    empty.map(|name| empty_name(file, 0, name)).collect()
}

/// Judges the size of a Rust file, its lines and the modules it declares.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        let what = format!("{lines} lines, {LINES_MAX} are allowed");
        findings.push(Finding::new(&source.file, lines, what, "cut it where the subject changes"));
    } else if lines > LINES_LARGE {
        let what = format!("{lines} lines");
        let remedy = "look for a second subject in it";
        findings.push(Finding::new(&source.file, lines, what, remedy).warning());
    }
    if source.file.ends_with("src/lib.rs") && lines > LIB_LINES_MAX {
        let what = format!("a lib.rs of {lines} lines, {LIB_LINES_MAX} are allowed");
        findings.push(Finding::new(&source.file, lines, what, "move code into a named module"));
    }
    for (at, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        // A link cannot be broken, so it may stand out.
        if columns > COLUMNS_MAX && !line.contains("://") {
            let what = format!("{columns} columns, {COLUMNS_MAX} are allowed");
            findings.push(Finding::new(&source.file, at + 1, what, "break the line"));
        }
    }
    for (at, line) in source.code.lines().enumerate() {
        let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        for pair in words.windows(2) {
            if pair[0] == "mod" && EMPTY_NAMES.contains(&pair[1]) {
                findings.push(empty_name(&source.file, at + 1, pair[1]));
            }
        }
    }
    findings
}

fn empty_name(file: &str, line: usize, name: &str) -> Finding {
    Finding::new(file, line, format!("a module called {name}"), "name it after the thing inside")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(file: &str, text: &str) -> Vec<Finding> {
        check(&Source::new(file, text))
    }

    #[test]
    fn file_length_warns_then_refuses() {
        assert_eq!(check_text("a/src/b.rs", &"//\n".repeat(500)), []);
        let large = check_text("a/src/b.rs", &"//\n".repeat(501));
        assert!(large.len() == 1 && large[0].warning, "{large:?}");
        assert!(check_text("a/src/b.rs", &"//\n".repeat(800))[0].warning);
        assert!(!check_text("a/src/b.rs", &"//\n".repeat(801))[0].warning);
    }

    #[test]
    fn a_crate_root_is_short() {
        assert_eq!(check_text("a/src/lib.rs", &"//\n".repeat(100)), []);
        assert_eq!(check_text("a/src/lib.rs", &"//\n".repeat(101)).len(), 1);
        assert_eq!(check_text("a/src/glib.rs", &"//\n".repeat(101)), []);
    }

    #[test]
    fn lines_are_counted_in_characters_and_links_may_stand_out() {
        assert_eq!(check_text("a.rs", &"ž".repeat(100)), []);
        let found = check_text("a.rs", &format!("\n{}", "x".repeat(101)));
        assert_eq!((found.len(), found[0].line), (1, 2));
        assert_eq!(check_text("a.rs", &format!("// https://x/{}", "y".repeat(101))), []);
    }

    #[test]
    fn modules_are_named_after_things() {
        for name in EMPTY_NAMES {
            assert_eq!(check_name(&format!("a/src/{name}.rs")).len(), 1, "{name}");
            assert_eq!(check_name(&format!("a/src/{name}/b.rs")).len(), 1, "{name}");
            assert_eq!(check_text("a.rs", &format!("pub mod {name} {{}}")).len(), 1, "{name}");
        }
        assert_eq!(check_name("a/src/journal.rs"), []);
        assert_eq!(check_name("docs/common.md"), []);
        assert_eq!(
            check_text("a.rs", "mod common_prefix; // mod utils\nlet s = \"mod misc\";"),
            []
        );
    }
}

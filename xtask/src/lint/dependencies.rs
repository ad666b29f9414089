//! Every dependency from outside stands under a comment that says why it is there.
//!
//! One comment may cover the dependencies that follow it without a blank line. Crates of this
//! workspace need none, nor does a line that takes its version from the workspace: the reason
//! stands where the version does.

use super::Finding;

/// Judges one `Cargo.toml`.
pub(super) fn check(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_table = false;
    let mut explained = false;
    let mut depth = 0_i32;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if depth > 0 {
            depth += nesting(line);
            continue;
        }
        if line.is_empty() {
            explained = false;
        } else if line.starts_with('#') {
            explained = true;
        } else if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            // `[dependencies.name]` opens the table of one dependency.
            if let Some((table, name)) = header.rsplit_once('.')
                && is_dependencies(table)
                && !explained
            {
                findings.push(unexplained(file, at, name));
            }
            in_table = is_dependencies(header);
            explained = false;
        } else if in_table {
            depth = nesting(line);
            let name = line.split(['=', '.']).next().unwrap_or_default().trim();
            if !is_ours(line) && !explained {
                findings.push(unexplained(file, at, name));
            }
        }
    }
    findings
}

fn is_dependencies(table: &str) -> bool {
    let last = table.rsplit('.').next().unwrap_or(table);
    matches!(last, "dependencies" | "dev-dependencies" | "build-dependencies")
}

/// Whether the line names a crate of this workspace or one whose reason stands at its top.
fn is_ours(line: &str) -> bool {
    let spaceless: String = line.chars().filter(|c| !c.is_whitespace()).collect();
    spaceless.contains("workspace=true") || spaceless.contains("path=\"")
}

fn nesting(line: &str) -> i32 {
    let count = |marks: &[char]| i32::try_from(line.matches(marks).count()).unwrap_or(i32::MAX);
    count(&['[', '{']) - count(&[']', '}'])
}

fn unexplained(file: &str, at: usize, name: &str) -> Finding {
    let what = format!("dependency {name} has no reason");
    Finding::new(file, at + 1, what, "say above it what it does that we should not write ourselves")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        check("a/Cargo.toml", text).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_reason_covers_what_follows_it_without_a_gap() {
        let text = "[dependencies]\n# Why.\na = \"1\"\nb = { version = \"2\" }\n\nc = \"3\"\n";
        assert_eq!(lines(text), [6]);
    }

    #[test]
    fn our_own_crates_and_workspace_versions_need_no_reason() {
        let text = "[dependencies]\na.workspace = true\nb = { workspace = true, features = [] }\n\
                    c = { path = \"../c\" }\n";
        assert_eq!(lines(text), [0; 0]);
    }

    #[test]
    fn every_kind_of_dependency_table_is_read() {
        for table in [
            "dependencies",
            "dev-dependencies",
            "build-dependencies",
            "workspace.dependencies",
            "target.'cfg(unix)'.dependencies",
        ] {
            assert_eq!(lines(&format!("[{table}]\na = \"1\"\n")), [2], "{table}");
            assert_eq!(lines(&format!("[{table}.a]\nversion = \"1\"\n")), [1], "{table}");
            assert_eq!(
                lines(&format!("# Why.\n[{table}.a]\nversion = \"1\"\n")),
                [0; 0],
                "{table}"
            );
        }
        assert_eq!(lines("[package]\nname = \"a\"\n[features]\nb = []\n"), [0; 0]);
    }

    #[test]
    fn lists_over_several_lines_are_one_dependency() {
        let text = "[dependencies]\n# Why.\na = { version = \"1\", features = [\n  \"x\",\n\n  \
                    \"y\",\n] }\nb = \"1\"\n";
        assert_eq!(lines(text), [0; 0]);
    }
}

//! What belongs to one machine and not to the project: absolute paths and the hosts of registries.

use super::Finding;

/// Beginnings of paths that exist on one person's machine. Assembled, so as not to find themselves.
const FOLDERS: &[&str] =
    &[concat!("/", "home/"), concat!("/", "root/"), concat!("/", "Users/"), concat!("/", "work/")];

/// Hosts that only a package manager should know.
const HOSTS: &[&str] = &[
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("registry.", "npmjs.org"),
    concat!("files.", "pythonhosted.org"),
    concat!("deb.", "debian.org"),
    concat!("proxy.", "golang.org"),
];

/// Judges any text file.
pub(super) fn check(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for folder in FOLDERS.iter().filter(|folder| names_path(line, folder)) {
            let what = format!("an absolute path under {folder}");
            findings.push(Finding::new(file, at + 1, what, "write it from the top folder"));
        }
        for host in HOSTS.iter().filter(|host| line.contains(**host)) {
            let what = format!("the host {host}");
            let remedy = "name the package; the client knows where it lies";
            findings.push(Finding::new(file, at + 1, what, remedy));
        }
    }
    findings
}

/// Whether `line` holds a path that begins with `folder`, rather than one that has it inside.
fn names_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-/}$~*".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_of_a_machine_are_refused() {
        for folder in FOLDERS {
            for text in [format!("cd {folder}x"), format!("\"{folder}x\""), format!("{folder}x")] {
                assert_eq!(check("a.md", &text).len(), 1, "{text}");
            }
            assert_eq!(check("a.md", &format!("target{folder}x")), []);
            assert_eq!(check("a.md", &format!("$HOME{folder}x")), []);
        }
        assert_eq!(check("a.md", "/dev/null, /tmp/x, and/or"), []);
    }

    #[test]
    fn registry_hosts_are_refused() {
        for host in HOSTS {
            assert_eq!(check("a.toml", &format!("x = \"https://{host}/a\"")).len(), 1, "{host}");
        }
        assert_eq!(check("a.md", "published on crates.io"), []);
    }
}

//! Links of the documentation lead somewhere: to a file of the tree, and to a heading in it.

use super::Finding;
use std::path::{Component, Path, PathBuf};

/// Judges the links of one markdown file that do not leave the tree.
///
/// `exists` and `read` take paths from the top folder.
pub(super) fn check(
    file: &str,
    text: &str,
    exists: impl Fn(&Path) -> bool,
    read: impl Fn(&Path) -> Option<String>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, target) in links(text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, heading) = match target.split_once('#') {
            Some((path, heading)) => (path, Some(heading)),
            None => (&*target, None),
        };
        let Some(path) = resolve(file, path) else {
            let what = format!("the link {target} leaves the tree");
            findings.push(Finding::new(file, line, what, "link inside it, or to a web address"));
            continue;
        };
        if target.is_empty() || !exists(&path) {
            let what = format!("the link {target:?} leads nowhere");
            findings.push(Finding::new(file, line, what, "write the file or drop the link"));
            continue;
        }
        let Some(heading) = heading.filter(|_| path.extension().is_some_and(|e| e == "md")) else {
            continue;
        };
        let here = path == Path::new(file);
        let there = if here { Some(text.to_owned()) } else { read(&path) };
        if !there.is_some_and(|there| anchors(&there).iter().any(|anchor| anchor == heading)) {
            let what = format!("{} has no heading #{heading}", path.display());
            findings.push(Finding::new(file, line, what, "link to a heading that is there"));
        }
    }
    findings
}

/// `target` as seen from `file`, from the top folder; `None` when it climbs out of the tree.
fn resolve(file: &str, target: &str) -> Option<PathBuf> {
    if target.is_empty() {
        return Some(PathBuf::from(file));
    }
    let mut path = PathBuf::from(file);
    path.pop();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir if !path.pop() => return None,
            Component::ParentDir | Component::CurDir => {}
            Component::Normal(part) => path.push(part),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

/// The targets of `[text](target)` and `[name]: target`, outside code, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (at, line) in prose(text) {
        for (start, _) in line.match_indices("](") {
            let rest = &line[start + 2..];
            if let Some(end) = rest.find(')') {
                let target = rest[..end].split_whitespace().next().unwrap_or_default();
                links.push((at, target.to_owned()));
            }
        }
        if let Some((name, target)) = line.split_once("]: ")
            && name.starts_with('[')
        {
            links.push((at, target.trim().to_owned()));
        }
    }
    links
}

/// The lines outside fenced blocks, with the insides of `code` taken out.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let outside = line.split('`').enumerate().filter(|(part, _)| part % 2 == 0);
            lines.push((at + 1, outside.map(|(_, part)| part).collect()));
        }
    }
    lines
}

/// What the headings of `text` are called in links: lower case, words joined by hyphens.
fn anchors(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut anchors = Vec::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if !fenced && line.starts_with('#') && title.starts_with(' ') {
            let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            anchors.push(kept.collect::<String>().to_lowercase().replace(' ', "-"));
        }
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let exists = |path: &Path| {
            ["docs/src/a.md", "docs/src/b.md", "README.md"].contains(&path.to_str().expect("text"))
        };
        let read = |_: &Path| Some("# The `one` road, twice\n".to_owned());
        let found = check("docs/src/a.md", text, exists, read);
        found.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_link_that_leads_somewhere_passes() {
        for text in [
            "see [b](b.md) and [top](../../README.md)",
            "see [b](./b.md \"title\") and [web](https://example.org/x)",
            "see [b](b.md#the-one-road-twice)",
            "# Here\n[above](#here)",
            "`[code](gone.md)`",
            "```\n[code](gone.md)\n```",
            "[b]: b.md",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_refused() {
        for text in [
            "[x](gone.md)",
            "[x]()",
            "[x](b.md#no-such-heading)",
            "[x](#no-such-heading)",
            "[x](../../../outside.md)",
            "[x]: gone.md",
            "```\ncode\n```\n[x](gone.md)",
            "`code` [x](gone.md) `code`",
        ] {
            assert_eq!(found(text).len(), 1, "{text}");
        }
    }
}

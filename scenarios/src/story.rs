//! The few lines of a story that touch a violation.

use orloj_invariants::{About, Moment, show_bytes};
use orloj_net::words::HiddenKey;

/// Lines that are about the violation's requests and keys,
const ABOUT: usize = 14;
/// and lines about what struck before it.
const STRIKES: usize = 8;

/// Chooses from `story`, whose lines begin with their time, those a reader needs.
pub(crate) fn choose(story: &str, when: Moment, about: &About) -> Vec<String> {
    let lines: Vec<&str> = story.lines().filter(|line| time(line) <= when.0 / 1_000).collect();
    let ops = about.ops.iter().map(|op| (format!("{op}:"), format!("{op} ")));
    let ops: Vec<(String, String)> = ops.collect();
    let mut words: Vec<String> = Vec::new();
    for key in &about.keys {
        words.push(format!(" {} ", show_bytes(key)));
        words.push(format!("{:?}", HiddenKey(key)));
    }
    let touches = |line: &str| {
        ops.iter().any(|(a, b)| line.contains(a) || line.contains(b))
            || words.iter().any(|word| format!("{line} ").contains(word))
    };
    let mut chosen: Vec<usize> = Vec::new();
    let touching = |i: &usize| touches(lines[*i]);
    chosen.extend((0..lines.len()).rev().filter(touching).take(ABOUT));
    let striking = |i: &usize| is_strike(lines[*i]);
    chosen.extend((0..lines.len()).rev().filter(striking).take(STRIKES));
    if about.ops.is_empty() && about.keys.is_empty() {
        chosen.extend((0..lines.len()).rev().take(ABOUT));
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen.into_iter().map(|i| cut(lines[i])).collect()
}

/// Whether a line tells of a fault, a start or an end.
fn is_strike(line: &str) -> bool {
    const MARKS: &[&str] =
        &["CRASH", "PAUSE", "QUIET", "recovered version", "ended:", "undid", " disk ", " clock "];
    MARKS.iter().any(|mark| line.contains(mark)) && !line.contains("not found")
}

/// Microseconds at the head of a line: `41.207 316`.
fn time(line: &str) -> u64 {
    let mut parts = line.split_whitespace();
    let head = parts.next().and_then(|head| head.split_once('.'));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let (s, ms) = head.map_or((0, 0), |(s, ms)| (number(Some(s)), number(Some(ms))));
    s * 1_000_000 + ms * 1_000 + number(parts.next())
}

/// One line stays one line.
fn cut(line: &str) -> String {
    const WIDTH: usize = 140;
    match line.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}..", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use orloj_invariants::OpId;

    use super::*;

    #[test]
    fn a_story_is_told_up_to_its_end_and_to_the_point() {
        let story = "    0.000 100  c0       client     client 0, request 1: SET k a\n\
                     \x20   0.000 200  c1       client     client 1, request 1: GET j\n\
                     \x20   0.000 300  node     host       CRASH Power\n\
                     \x20   0.000 400  c0       client     client 0, request 12: GET j\n\
                     \x20   0.000 500  c0       client     client 0, request 1 heard OK\n\
                     \x20   0.000 600  node     node       nobody: SET k b -> OK, version 7\n";
        let about = About {
            ops: vec![OpId { client: 0, number: 1 }],
            keys: vec![orloj_net::Key::from_static(b"k")],
        };
        let chosen = choose(story, Moment(550_000), &about);
        assert_eq!(chosen.len(), 3, "{chosen:#?}");
        assert!(chosen[0].contains("SET k a") && chosen[2].contains("heard OK"));
        assert_eq!(choose(story, Moment(u64::MAX), &about).len(), 4);
    }
}

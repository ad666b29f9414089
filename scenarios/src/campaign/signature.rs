//! What two failures have in common: a thousand of them are shown as the few that they are.
//!
//! A signature is the law, the function of ours that a panic came out of, and the evidence with
//! everything taken out that another seed would say otherwise: numbers, ids, keys, values, times.

use crate::Breach;

/// Evidence is cut here: what differs after so many words is told in the example.
const WORDS: usize = 40;

/// The signature of a failure.
pub fn signature(breach: &Breach) -> String {
    let mut text = breach.law.clone();
    if let Some(site) = breach.backtrace.as_deref().and_then(blamed) {
        text += &format!(" in {site}");
    }
    format!("{text}: {}", normal(&breach.evidence))
}

/// A short name of a signature: the first 32 bits of its hash.
pub fn id(signature: &str) -> String {
    blake3::hash(signature.as_bytes()).to_hex()[..8].to_owned()
}

/// The innermost function of this repository in a backtrace.
fn blamed(backtrace: &str) -> Option<String> {
    let lines: Vec<&str> = backtrace.lines().map(str::trim).collect();
    let frame = lines.windows(2).find(|pair| {
        let is_ours = pair[0].contains("orloj") && !pair[0].contains("orloj_sim::panics");
        is_ours && pair[1].starts_with("at ")
    })?;
    let name = frame[0].split_once(": ").map_or(frame[0], |(_, name)| name);
    // The hash behind the last `::h` differs from build to build.
    let name = name.rsplit_once("::h").map_or(name, |(name, _)| name);
    Some(name.trim_end_matches("::{{closure}}").to_owned())
}

/// Evidence without what chance put into it.
fn normal(evidence: &str) -> String {
    let mut words: Vec<Word> = Vec::new();
    for text in unquoted(evidence).split_whitespace() {
        let word = Word::of(text);
        match words.last_mut() {
            // A list, and a command with what it is given, are one thing however long they are.
            Some(last) if last.core == CHANCE && word.core == CHANCE && !word.opens() => {
                last.after = word.after;
            }
            _ => words.push(word),
        }
    }
    let is_cut = words.len() > WORDS;
    words.truncate(WORDS);
    let mut text: Vec<String> =
        words.iter().map(|w| [&*w.before, &*w.core, &*w.after].concat()).collect();
    text.extend(is_cut.then(|| "..".to_owned()));
    text.join(" ")
}

/// Everything between quotes is a value.
fn unquoted(text: &str) -> String {
    let parts = text.split('"').enumerate();
    parts.map(|(number, part)| if number % 2 == 0 { part } else { "0" }).collect()
}

/// Stands for what another seed would say otherwise.
const CHANCE: &str = "#";

/// A word and the punctuation around it.
struct Word {
    before: String,
    core: String,
    after: String,
}

impl Word {
    fn of(text: &str) -> Word {
        let is_mark = |c: char| !c.is_alphanumeric();
        let core = text.trim_matches(is_mark);
        if core.is_empty() {
            return Word { before: String::new(), core: text.to_owned(), after: String::new() };
        }
        let start = text.len() - text.trim_start_matches(is_mark).len();
        let after = &text[start + core.len()..];
        // Of `c0.17-----,` only the comma is punctuation.
        let cut = after.trim_end_matches([',', '.', ';', ':', ')', ']', '}', '\'']).len();
        let is_command = core.len() > 1 && core.bytes().all(|byte| byte.is_ascii_uppercase());
        let core = match core.split_once(".rs:") {
            // A place in the source is who is to blame, and stays.
            Some((file, line)) if line.bytes().all(|b| b.is_ascii_digit() || b == b':') => {
                format!("{file}.rs")
            }
            _ if is_command || core.bytes().any(|byte| byte.is_ascii_digit()) => CHANCE.to_owned(),
            _ => core.to_owned(),
        };
        let after = if core == CHANCE { &after[cut..] } else { after };
        Word { before: text[..start].to_owned(), core, after: after.to_owned() }
    }

    /// Whether a bracket opens before it, which closes further on.
    fn opens(&self) -> bool {
        self.before.contains(['(', '[', '{'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breach(law: &str, evidence: &str, backtrace: Option<&str>) -> Breach {
        Breach {
            law: law.to_owned(),
            promise: String::new(),
            evidence: evidence.to_owned(),
            when: 0,
            also: Vec::new(),
            story: Vec::new(),
            events: Vec::new(),
            backtrace: backtrace.map(str::to_owned),
        }
    }

    fn same(one: &str, other: &str) -> bool {
        signature(&breach("law", one, None)) == signature(&breach("law", other, None))
    }

    #[test]
    fn what_only_chance_tells_apart_is_the_same() {
        assert!(same(
            "client 3, request 17: SET h1 \"c3.17--\" was acknowledged at 0.412 003",
            "client 0, request 202: SET c44 \"\" was acknowledged at 1.000 999",
        ));
        assert!(same("keys h1, c2, c3 are gone", "keys c9 are gone"));
        assert!(same(
            "client 1, request 9 (MSET h0 c1.15) at version 4 was acknowledged",
            "client 0, request 2 (SET h2 c1.89------ XX PXAT 1767225600491) at version 11 was \
             acknowledged",
        ));
        assert!(same("broken (actors/db/src/lane.rs:120)", "broken (actors/db/src/lane.rs:7)"));
    }

    #[test]
    fn brackets_that_close_are_opened() {
        let text = "client 1, request 9 (MSET h0 c1.15) at version 4, of [1, 2]";
        let text = signature(&breach("law", text, None));
        assert_eq!(text, "law: client #, request # (#) at version #, of [#]");
    }

    #[test]
    fn what_happened_tells_failures_apart() {
        assert!(!same("SET h1 7 was lost", "GET h1 was answered twice"));
        assert!(!same("broken (actors/db/src/lane.rs:120)", "broken (net/src/resp.rs:120)"));
        let one = signature(&breach("model-equal", "x", None));
        assert_ne!(one, signature(&breach("real-time", "x", None)));
        assert_eq!((id(&one).len(), id(&one)), (8, id(&one)));
    }

    #[test]
    fn a_panic_blames_the_function_it_came_out_of() {
        let trace = "  0: std::panicking::begin_panic::h0123456789abcdef\n    at /rust/panic.rs:1\n\
                     1: orloj_sim::panics::hook::h1\n    at ./sim/src/panics.rs:3\n\
                     2: orloj_db::lane::Lane::next::{{closure}}::hfedcba9876543210\n\
                     at ./actors/db/src/lane.rs:120:9";
        let text = signature(&breach("panic", "index 7 of 3", Some(trace)));
        assert_eq!(text, "panic in orloj_db::lane::Lane::next: index # of #");
    }
}

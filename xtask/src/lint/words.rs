//! Words that mark unfinished work, and marks that switch a test off.

use super::Finding;
use super::source::{Source, Token};

const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX"];
const UNFINISHED_MACROS: &[&str] = &["todo", "unimplemented"];

/// Judges the comments and the code of a Rust file.
pub(super) fn check_source(source: &Source) -> Vec<Finding> {
    let mut findings = check_text(&source.file, &source.comments);
    let tokens = source.tokens();
    for (at, (line, token)) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let before = |mark| at > 0 && tokens[at - 1].1 == Token::Mark(mark);
        let after = |mark| tokens.get(at + 1).is_some_and(|token| token.1 == Token::Mark(mark));
        if UNFINISHED_MACROS.contains(&&**word) && after('!') {
            let what = format!("{word}! in the code");
            findings.push(Finding::new(&source.file, *line, what, "write it, or leave it out"));
        }
        if word == "ignore" && before('[') && (after(']') || after('=')) {
            let what = "a test that is never run";
            let remedy = "make it fast enough to run, or move it behind an xtask";
            findings.push(Finding::new(&source.file, *line, what, remedy));
        }
    }
    for (at, line) in source.strings.lines().enumerate() {
        if line.contains(":p}") && !source.is_test_file() && !source.file.starts_with("xtask/") {
            let what = "an address is formatted";
            let remedy = "addresses differ between runs; print a name or an index";
            findings.push(Finding::new(&source.file, at + 1, what, remedy));
        }
    }
    findings
}

/// Judges any other text: configuration, scripts, scenarios. (Prose may speak of these words.)
pub(super) fn check_text(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        for word in words.filter(|word| UNFINISHED.contains(word)) {
            let what = format!("{word} in a comment");
            let remedy = "do it, or say as a fact what is not done and why";
            findings.push(Finding::new(file, at + 1, what, remedy));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        check_source(&Source::new("a/src/b.rs", text)).len()
    }

    #[test]
    fn unfinished_work_is_refused() {
        for word in UNFINISHED {
            assert_eq!(found(&format!("fn f() {{}} // {word}: later")), 1, "{word}");
            assert_eq!(found(&format!("/* {word} */")), 1, "{word}");
            assert_eq!(check_text("a.toml", &format!("# {word}")).len(), 1, "{word}");
            assert_eq!(found(&format!("let {word} = \"{word}\";")), 0, "{word} is no comment");
        }
        assert_eq!(found("fn f() { todo!() }"), 1);
        assert_eq!(found("fn f() { std::unimplemented!(\"later\") }"), 1);
        assert_eq!(found("// todo!() would be wrong\nlet todo = 1;"), 0);
    }

    #[test]
    fn a_test_that_is_switched_off_is_refused() {
        assert_eq!(found("#[test]\n#[ignore]\nfn f() {}"), 1);
        assert_eq!(found("#[ignore = \"slow\"]"), 1);
        assert_eq!(found("fn ignore() {} // #[ignore]"), 0);
    }

    #[test]
    fn a_formatted_address_is_refused() {
        assert_eq!(found("format!(\"{:p}\", x)"), 1);
        assert_eq!(found("format!(\"{x:p}\")"), 1);
        assert_eq!(found("format!(\"{x:?}\")"), 0);
    }
}

//! A Rust file taken apart into code, comments and literals, so that a rule about one never trips
//! over another.
//!
//! It is a scanner, not a parser: it knows where comments, strings and characters begin and end and
//! how a path is spelled, and nothing of types. Each part keeps the line structure of the file.

/// One Rust file.
pub(super) struct Source {
    /// Path from the top folder.
    pub(super) file: String,
    pub(super) text: String,
    /// The text with comments and the insides of literals blanked.
    pub(super) code: String,
    /// The text with everything but comments blanked.
    pub(super) comments: String,
    /// The text with everything but the insides of string literals blanked.
    pub(super) strings: String,
}

/// A path as it is spelled in code, `use` trees laid flat.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spelled {
    pub(super) line: usize,
    pub(super) segments: Vec<String>,
    /// Whether a `!` follows: the name of a macro.
    pub(super) is_macro: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    /// `::`
    Colons,
    Mark(char),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Str,
    Other,
}

impl Source {
    pub(super) fn new(file: &str, text: &str) -> Source {
        let chars: Vec<char> = text.chars().collect();
        let parts = classify(&chars);
        let keep = |part: Part| -> String {
            let pick = |(char, of): (&char, &Part)| match *char {
                '\n' => '\n',
                char if *of == part => char,
                _ => ' ',
            };
            chars.iter().zip(&parts).map(pick).collect()
        };
        let (code, comments, strings) = (keep(Part::Code), keep(Part::Comment), keep(Part::Str));
        Source { file: file.to_owned(), text: text.to_owned(), code, comments, strings }
    }

    /// Whether the file as a whole is test code, by its place.
    pub(super) fn is_test_file(&self) -> bool {
        self.file.ends_with("/tests.rs") || self.file.split('/').any(|part| part == "tests")
    }

    /// The words and marks of the code with the line each stands on.
    pub(super) fn tokens(&self) -> Vec<(usize, Token)> {
        let mut tokens = Vec::new();
        for (at, line) in self.code.lines().enumerate() {
            let mut rest = line.chars().peekable();
            while let Some(char) = rest.next() {
                let token = if is_word(char) {
                    let mut word = String::from(char);
                    while let Some(next) = rest.next_if(|next| is_word(*next)) {
                        word.push(next);
                    }
                    Token::Word(word)
                } else if char == ':' && rest.next_if_eq(&':').is_some() {
                    Token::Colons
                } else if char.is_whitespace() {
                    continue;
                } else {
                    Token::Mark(char)
                };
                tokens.push((at + 1, token));
            }
        }
        tokens
    }

    /// Every path of at least two segments in the code.
    pub(super) fn paths(&self) -> Vec<Spelled> {
        let tokens = self.tokens();
        let mut paths = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at].1 {
                Token::Word(_) => at = path(&tokens, at, &[], &mut paths),
                _ => at += 1,
            }
        }
        paths.retain(|path| path.segments.len() > 1);
        paths
    }
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// Reads the path or `use` tree that starts at `at` under `prefix`; returns where it ends.
fn path(
    tokens: &[(usize, Token)],
    mut at: usize,
    prefix: &[String],
    out: &mut Vec<Spelled>,
) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens[at].0;
    loop {
        match tokens.get(at).map(|token| &token.1) {
            Some(Token::Word(word)) => segments.push(word.clone()),
            Some(Token::Mark('*')) => segments.push("*".into()),
            Some(Token::Mark('{')) => return group(tokens, at + 1, &segments, out),
            _ => return push(line, segments, false, at, out),
        }
        at += 1;
        match tokens.get(at).map(|token| &token.1) {
            Some(Token::Colons) => at += 1,
            next => {
                let is_macro = next == Some(&Token::Mark('!'));
                return push(line, segments, is_macro, at, out);
            }
        }
    }
}

fn push(
    line: usize,
    mut segments: Vec<String>,
    is_macro: bool,
    at: usize,
    out: &mut Vec<Spelled>,
) -> usize {
    if segments.last().is_some_and(|last| last == "self") && segments.len() > 1 {
        segments.pop();
    }
    out.push(Spelled { line, segments, is_macro });
    at
}

/// Reads the inside of a `{...}` of a `use` tree; returns where it ends.
fn group(
    tokens: &[(usize, Token)],
    mut at: usize,
    prefix: &[String],
    out: &mut Vec<Spelled>,
) -> usize {
    while let Some((_, token)) = tokens.get(at) {
        match token {
            Token::Mark('}') => return at + 1,
            Token::Word(word) if word == "as" => at += 2,
            Token::Word(_) | Token::Mark('*') => at = path(tokens, at, prefix, out),
            _ => at += 1,
        }
    }
    at
}

/// Says of each character which part of the file it belongs to.
fn classify(chars: &[char]) -> Vec<Part> {
    let mut parts = vec![Part::Code; chars.len()];
    let mut at = 0;
    while at < chars.len() {
        let next = chars.get(at + 1).copied();
        let (end, part) = match (chars[at], next) {
            ('/', Some('/')) => (line_end(chars, at), Part::Comment),
            ('/', Some('*')) => (block_end(chars, at), Part::Comment),
            ('"', _) => (quote_end(chars, at + 1, '"'), Part::Str),
            ('r', Some('"' | '#')) if starts_word(chars, at) => match raw_end(chars, at + 1) {
                Some(end) => (end, Part::Str),
                None => (at + 1, Part::Code),
            },
            ('\'', _) => match char_end(chars, at) {
                Some(end) => (end, Part::Other),
                None => (at + 1, Part::Code),
            },
            _ => (at + 1, Part::Code),
        };
        parts[at..end].fill(part);
        at = end;
    }
    parts
}

/// Whether an `r` at `at` begins a raw string: not in the middle of a word, `br` and `cr` allowed.
fn starts_word(chars: &[char], at: usize) -> bool {
    let before = |n: usize| at.checked_sub(n).and_then(|i| chars.get(i)).copied();
    match before(1) {
        Some('b' | 'c') => !before(2).is_some_and(is_word),
        Some(char) => !is_word(char),
        None => true,
    }
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|char| *char == '\n').map_or(chars.len(), |n| at + n)
}

fn block_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

/// The end of a literal whose inside begins at `at` and which ends at an unescaped `quote`.
fn quote_end(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            char if char == quote => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of a raw string whose hashes begin at `at`; `None` for a raw identifier.
fn raw_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at..].iter().take_while(|char| **char == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return None;
    }
    let mut end = at + hashes + 1;
    while end < chars.len() {
        let closes = chars[end] == '"'
            && chars[end + 1..].iter().take(hashes).filter(|char| **char == '#').count() == hashes;
        if closes {
            return Some(end + 1 + hashes);
        }
        end += 1;
    }
    Some(chars.len())
}

/// The end of a character literal at `at`; `None` for a lifetime.
fn char_end(chars: &[char], at: usize) -> Option<usize> {
    match (chars.get(at + 1)?, chars.get(at + 2)) {
        ('\\', _) => Some(quote_end(chars, at + 1, '\'')),
        (_, Some('\'')) => Some(at + 3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let paths = Source::new("x.rs", text).paths();
        paths.iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn parts_are_told_apart() {
        let text = concat!(
            "let a = \"str // not a comment \\\" still\"; // note \"quoted\"\n",
            "/* outer /* inner */ still */ let b = r#\"raw \" /* \"#; ",
            "let c = '\"'; fn f<'a>() {}\n",
            "let d = b\"bytes\"; let e = br\"x\"; let r#type = 'r'; let g = '\\'';\n",
        );
        let source = Source::new("x.rs", text);
        assert_eq!(source.code.lines().count(), 3);
        for word in ["str", "note", "outer", "still", "raw", "bytes"] {
            assert!(!source.code.contains(word), "{word} is not code: {}", source.code);
        }
        for word in ["let a", "let b", "let c", "fn f<'a>", "let d", "let e", "r#type", "let g"] {
            assert!(source.code.contains(word), "{word} is code: {}", source.code);
        }
        assert!(source.comments.contains("note \"quoted\"") && source.comments.contains("inner"));
        assert!(!source.comments.contains("not a comment"));
        assert!(source.strings.contains("not a comment") && source.strings.contains("raw"));
    }

    #[test]
    fn use_trees_are_laid_flat() {
        let text = "use std::{fs::{self, File as F}, net::*, sync::Arc};\nstd::env::var(x)";
        let expected =
            ["std::fs", "std::fs::File", "std::net::*", "std::sync::Arc", "std::env::var"];
        assert_eq!(paths(text), expected);
        let spelled = Source::new("x.rs", text).paths();
        assert_eq!(spelled.last().map(|path| path.line), Some(2));
    }

    #[test]
    fn paths_in_expressions_types_and_macros_are_seen() {
        let text = "fn f(a: ::std::time::Instant) { tokio::select! {} }\n#[tokio::test]\nfn g() {}";
        assert_eq!(paths(text), ["std::time::Instant", "tokio::select", "tokio::test"]);
        assert!(Source::new("x.rs", text).paths()[1].is_macro);
        assert_eq!(paths("let x = \"std::fs\"; // std::net"), [""; 0]);
    }

    #[test]
    fn a_file_cut_anywhere_is_still_taken_apart() {
        let text = "/* a */ let s = \"\\n\"; let r = r##\"x\"##; let c = '\\u{1}'; // end\n";
        for (at, _) in text.char_indices() {
            let source = Source::new("x.rs", &text[..at]);
            assert_eq!(source.code.chars().count(), text[..at].chars().count());
        }
    }
}

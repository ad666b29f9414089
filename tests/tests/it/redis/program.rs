//! A program: what one client sends on one connection.

/// What one client sends.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
}

/// One piece of it.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A command as an array of bulk strings.
    Command(Vec<Vec<u8>>),
    /// A command as a line.
    Inline(Vec<Vec<u8>>),
    /// A value that lives for a millisecond, and a pause until it is gone.
    Brief { key: Vec<u8>, value: Vec<u8> },
    /// Bytes that may be no command. They come last.
    Raw(Vec<u8>),
}

impl Step {
    /// The words of a command.
    pub(super) fn words(&self) -> &[Vec<u8>] {
        match self {
            Step::Command(words) | Step::Inline(words) => words,
            Step::Brief { .. } | Step::Raw(_) => &[],
        }
    }

    /// Whether its name is this, in any case.
    pub(super) fn is(&self, name: &str) -> bool {
        self.words().first().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()))
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Step::Command(words) => orloj_net::resp::encode_request(words, out),
            Step::Inline(_) => out.extend(format!("{}\r\n", self.line()).into_bytes()),
            Step::Brief { key, value } => {
                let words: [&[u8]; 5] = [b"SET", key, value, b"PX", b"1"];
                orloj_net::resp::encode_request(&words, out);
            }
            Step::Raw(bytes) => out.extend(bytes),
        }
    }

    /// As one types it.
    fn line(&self) -> String {
        match self {
            Step::Command(words) | Step::Inline(words) => {
                let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
                words.join(" ")
            }
            Step::Brief { key, value } => {
                format!("SET {} {} PX 1\n# 60 ms later", quote(key), quote(value))
            }
            Step::Raw(bytes) => format!("# then the bytes {}", bytes.escape_ascii()),
        }
    }
}

impl Program {
    /// As lines for redis-cli.
    pub(super) fn script(&self) -> String {
        let mut lines = vec!["FLUSHALL".to_owned()];
        for step in &self.steps {
            let way = if matches!(step, Step::Inline(_)) { "   # inline" } else { "" };
            lines.push(format!("{}{way}", step.line()));
        }
        lines.join("\n")
    }
}

/// A word as redis-cli and inline requests read it.
fn quote(word: &[u8]) -> String {
    if !word.is_empty() && word.iter().all(|b| b.is_ascii_graphic() && !b"\"'\\".contains(b)) {
        return String::from_utf8_lossy(word).into_owned();
    }
    let spell = |byte: &u8| match byte {
        b' '..=b'~' if !b"\"\\".contains(byte) => char::from(*byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    format!("\"{}\"", word.iter().map(spell).collect::<String>())
}

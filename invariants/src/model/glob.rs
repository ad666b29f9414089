//! Redis's globs over bytes: `*`, `?`, `[a-z]`, `[^x]`, and `\` before a byte to take it literally.

/// Whether `pattern` describes the whole of `text`.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((b'*', after)), _) => {
            (0..=text.len()).any(|skipped| matches(after, &text[skipped..]))
        }
        (Some(_), None) => false,
        (Some((b'?', after)), Some((_, text))) => matches(after, text),
        (Some((b'[', class)), Some((byte, text))) => {
            let (hit, after) = class_holds(class, *byte);
            hit && matches(after, text)
        }
        (Some((b'\\', escaped)), Some((byte, text))) if !escaped.is_empty() => {
            escaped[0] == *byte && matches(&escaped[1..], text)
        }
        (Some((literal, after)), Some((byte, text))) => literal == byte && matches(after, text),
    }
}

/// Whether `byte` is in the class that begins `class` (behind its `[`), and the pattern behind it.
/// A class that is never closed ends with the pattern.
fn class_holds(class: &[u8], byte: u8) -> (bool, &[u8]) {
    let (negated, mut rest) = match class {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut hit = false;
    loop {
        rest = match rest {
            [] => return (hit != negated, rest),
            [b']', after @ ..] => return (hit != negated, after),
            [b'\\', literal, after @ ..] => {
                hit |= *literal == byte;
                after
            }
            [low, b'-', high, after @ ..] => {
                hit |= (*low.min(high)..=*low.max(high)).contains(&byte);
                after
            }
            [literal, after @ ..] => {
                hit |= *literal == byte;
                after
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn globs_mean_what_redis_says_they_mean() {
        let yes: &[(&str, &str)] = &[
            ("", ""),
            ("*", ""),
            ("*", "anything"),
            ("h?llo", "hello"),
            ("h*llo", "heeeello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            (r"h\*llo", "h*llo"),
            (r"[\]]", "]"),
            ("[a", "a"),
            ("a*b*c", "a-b-b-c"),
            (r"a\", r"a\"),
        ];
        let no: &[(&str, &str)] = &[
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("h?llo", "hllo"),
            ("h[ae]llo", "hillo"),
            ("h[^e]llo", "hello"),
            ("h[a-b]llo", "hcllo"),
            (r"h\*llo", "hello"),
            ("[]", "a"),
            ("a*b", "a-c"),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} should take {text}");
        }
        for (pattern, text) in no {
            assert!(
                !matches(pattern.as_bytes(), text.as_bytes()),
                "{pattern} should refuse {text}"
            );
        }
    }
}

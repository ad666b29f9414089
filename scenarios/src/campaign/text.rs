//! Numbers and names as reports write them.

/// What stands before the first `mark`, or all of it.
pub(crate) fn before(text: &str, mark: char) -> &str {
    text.split_once(mark).map_or(text, |(before, _)| before)
}

/// `1,234,567`
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Text as it may stand in HTML, between tags and in attributes.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            c if c.is_control() && c != '\n' => safe += "&#xfffd;",
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_ends_its_element() {
        assert_eq!(escaped("<b a=\"x\">&'\u{1}"), "&lt;b a=&quot;x&quot;&gt;&amp;&#39;&#xfffd;");
    }
}

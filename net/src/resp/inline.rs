//! Inline requests: a line of words, as typed into telnet.

use super::ProtocolError;

/// Splits `buf[start..end]`, one line without its end, into words and appends their places in `buf`
/// to `args`.
///
/// Quoting is Redis's: words are separated by blanks; in double quotes `\n \r \t \b \a \xHH` and
/// backslash before any other byte are escapes; in single quotes only `\'` is. An unescaped word is
/// never longer than its spelling, so it is written over it and a word is always a range of `buf`.
pub(super) fn split(
    buf: &mut [u8],
    start: usize,
    end: usize,
    args: &mut Vec<(u32, u32)>,
) -> Result<(), ProtocolError> {
    let line = &buf[start..end];
    if line.contains(&0) {
        return Err(ProtocolError::InlineBinary);
    }
    if is_http(line) {
        return Err(ProtocolError::CrossProtocol);
    }
    let mut at = start;
    loop {
        while at < end && is_blank(buf[at]) {
            at += 1;
        }
        if at == end {
            return Ok(());
        }
        let word = at;
        let mut to = word;
        while at < end && !is_blank(buf[at]) {
            match buf[at] {
                quote @ (b'"' | b'\'') => at = quoted(buf, at + 1, end, quote, &mut to)?,
                byte => {
                    buf[to] = byte;
                    to += 1;
                    at += 1;
                }
            }
        }
        args.push((word as u32, to as u32));
    }
}

/// Unescapes from `at`, just behind an opening `quote`, writing at `to`. Returns the place behind
/// the closing quote, which must end its word.
fn quoted(
    buf: &mut [u8],
    mut at: usize,
    end: usize,
    quote: u8,
    to: &mut usize,
) -> Result<usize, ProtocolError> {
    loop {
        let (byte, used) = match &buf[at..end] {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [byte, rest @ ..] if *byte == quote => {
                return match rest.first() {
                    Some(next) if !is_blank(*next) => Err(ProtocolError::UnbalancedQuotes),
                    _ => Ok(at + 1),
                };
            }
            [b'\\', b'\'', ..] if quote == b'\'' => (b'\'', 2),
            [b'\\', b'x', high, low, ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex(*high) << 4 | hex(*low), 4)
            }
            [b'\\', escaped, ..] if quote == b'"' => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                };
                (byte, 2)
            }
            [byte, ..] => (*byte, 1),
        };
        buf[*to] = byte;
        *to += 1;
        at += used;
    }
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// C's `isspace`, which Redis uses.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// Whether the line opens an HTTP request or names its host, as a browser tricked into talking to
/// this port would. Redis drops such connections too.
fn is_http(line: &[u8]) -> bool {
    let opens =
        |word: &[u8]| line.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    opens(b"post ") || opens(b"host:")
}

//! Requests in words: as one types them into a client, deadlines relative to the client's clock.

use bytes::Bytes;
use orloj_invariants::Request;
use orloj_net::{
    Command, UnixMs,
    resp::{self, Args},
};

use crate::client::wire;

/// A request that was read, and whether it goes on with the scan of its connection.
pub(crate) struct Words {
    pub(crate) request: Request,
    pub(crate) resumes: bool,
}

/// The cursor of a scan that goes on from where the connection's last page ended.
const NEXT: &str = "next";
/// Words that are followed by an absolute time, and those that say the same in milliseconds.
const TIMES: &[(&str, &str)] =
    &[("EXAT", "PXAT"), ("PXAT", "PXAT"), ("EXPIREAT", "PEXPIREAT"), ("PEXPIREAT", "PEXPIREAT")];
/// Longer words that end in dashes are written by their length.
const LONG: usize = 60;

/// One line: the words of a request that a client sends when its clock shows `wall`.
pub(crate) fn spell(request: &Request, wall: UnixMs) -> String {
    let mut words = wire::spell_request(request);
    if let Request::Store(Command::Scan { after: Some(_), .. }) = request {
        words[1] = Bytes::from_static(NEXT.as_bytes());
    }
    let timed = TIMES.iter().find_map(|(name, millis)| {
        // The name of a command comes first, that of an option behind key and value.
        let from = if name.contains("EXPIRE") { 0 } else { 3 };
        let at = words.iter().skip(from).position(|word| *word == name.as_bytes())? + from;
        let is_command = name.contains("EXPIRE");
        (!is_command || at == 0).then_some((at, is_command, *name, *millis))
    });
    if let Some((at, is_command, name, millis)) = timed {
        let place = if is_command { 2 } else { at + 1 };
        let seconds = name != millis;
        words[at] = Bytes::from_static(millis.as_bytes());
        if let Some(number) = words.get(place).and_then(|w| std::str::from_utf8(w).ok()) {
            let given: i64 = number.parse().unwrap_or(0);
            let given = if seconds { given.saturating_mul(1_000) } else { given };
            let ahead = given - i64::try_from(wall.0).unwrap_or(i64::MAX);
            words[place] = Bytes::from(format!("now{ahead:+}"));
        }
    }
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// A word as it is written: bare, by its length, or in quotes.
fn quote(word: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\<>'".contains(byte);
    if !word.is_empty() && word.iter().all(is_plain) {
        if word.len() > LONG && word.ends_with(b"---") {
            let kept = word.iter().rposition(|byte| *byte != b'-').map_or(0, |at| at + 1);
            let kept = String::from_utf8_lossy(&word[..kept]).into_owned();
            return format!("<{}:{kept}>", word.len());
        }
        return String::from_utf8_lossy(word).into_owned();
    }
    let escape = |byte: &u8| match byte {
        b' '..=b'~' if !b"\"\\'".contains(byte) => char::from(*byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    format!("\"{}\"", word.iter().map(escape).collect::<String>())
}

/// Reads a line that [`spell`] has written, for a client whose clock shows `wall`.
///
/// # Errors
/// What in it is no request.
pub(crate) fn read(line: &str, wall: UnixMs) -> Result<Words, String> {
    let mut words = split(line)?;
    if words.is_empty() {
        return Err("a request has a name".to_owned());
    }
    if words[0] == b"ECHO" && words.len() == 2 {
        let request = Request::Echo(Bytes::from(words.swap_remove(1)));
        return Ok(Words { request, resumes: false });
    }
    for word in &mut words {
        let ahead = word.strip_prefix(b"now").and_then(|rest| std::str::from_utf8(rest).ok());
        if let Some(ahead) = ahead.and_then(|text| text.parse::<i64>().ok()) {
            *word = wall.0.saturating_add_signed(ahead).to_string().into_bytes();
        }
    }
    let resumes = words[0] == b"SCAN" && words.get(1).is_some_and(|word| word == NEXT.as_bytes());
    if resumes {
        words[1] = b"0".to_vec();
    }
    let block = Bytes::from(words.concat());
    let mut places = Vec::new();
    let mut from = 0;
    for word in &words {
        places.push((from, from + word.len() as u32));
        from += word.len() as u32;
    }
    match resp::read_request(Args::new(&block, &places), usize::MAX) {
        Ok(resp::Request::Data(command)) => Ok(command),
        Ok(resp::Request::Scan { pattern, count, .. }) => {
            Ok(Command::Scan { after: None, pattern, count })
        }
        Ok(resp::Request::Local(local)) => Err(format!("\"{}\" asks no store", local.name())),
        Err(refusal) => Err(format!("\"{line}\" is no request: {refusal:?}")),
    }
    .map(|command| Words { request: Request::Store(command), resumes })
}

fn split(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.as_bytes()[0] {
            b'"' => {
                let end = rest[1..].find('"').ok_or("a quote is not closed")? + 1;
                (unescape(&rest[1..end])?, &rest[end + 1..])
            }
            b'<' => {
                let end = rest.find('>').ok_or("a long word is not closed")?;
                let (length, text) = rest[1..end].split_once(':').ok_or("<length:text>")?;
                let length: usize = length.parse().map_err(|_| "<length:text>")?;
                let mut word = text.as_bytes().to_vec();
                word.resize(length.max(word.len()), b'-');
                (word, &rest[end + 1..])
            }
            _ => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (rest.as_bytes()[..end].to_vec(), &rest[end..])
            }
        };
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\x") {
        bytes.extend(&rest.as_bytes()[..at]);
        let hex = rest.get(at + 2..at + 4).ok_or("\\x needs two digits")?;
        bytes.push(u8::from_str_radix(hex, 16).map_err(|_| "\\x needs two digits")?);
        rest = &rest[at + 4..];
    }
    bytes.extend(rest.as_bytes());
    Ok(bytes)
}

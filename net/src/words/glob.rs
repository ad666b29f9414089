//! Glob patterns as SCAN MATCH and CONFIG GET take them.

/// Whether `pattern` matches the whole of `text`, byte by byte and by Redis's rules: `*` any run,
/// `?` any byte, `[a-c]` a class, `[^a]` its complement, `\x` the byte x. A class that is never
/// closed ends with the pattern.
///
/// Takes at most `pattern.len() * text.len()` steps: a hostile pattern of many stars is slow, never
/// exponential.
pub fn glob_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to resume when what follows the last star fails: one byte further into the text. Only
    // the last star need ever be widened, since it can take whatever an earlier one would.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, t));
            continue;
        }
        match one(&pattern[p..], text[t]) {
            Some(used) => {
                p += used;
                t += 1;
            }
            None => match &mut star {
                Some((after, from)) => {
                    *from += 1;
                    (p, t) = (*after, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// How many pattern bytes match `byte`, if the front of `pattern` does.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => class(rest, byte).map(|used| used + 1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// The length of the class after its `[`, closing bracket included, if it contains `byte`.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let complement = pattern.first() == Some(&b'^');
    let mut at = usize::from(complement);
    let mut found = false;
    loop {
        match &pattern[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
    (found != complement).then_some(at)
}

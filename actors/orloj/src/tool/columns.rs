//! Lists as people read them.

use serde_json::Value;

/// Lines with a head, each column as wide as what is widest in it; numbers stand at the right.
pub fn columns<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = rows.collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mut lines = String::new();
    let widths: [usize; N] = std::array::from_fn(|at| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.max().unwrap_or(0).max(head[at].len())
    });
    let numbers: [bool; N] =
        std::array::from_fn(|at| !rows.is_empty() && rows.iter().all(|row| is_number(&row[at])));
    for row in std::iter::once(head.map(str::to_owned)).chain(rows) {
        let mut line = String::new();
        for at in 0..N {
            let (cell, width) = (&row[at], widths[at]);
            match numbers[at] {
                true => line += &format!("{cell:>width$}  "),
                false => line += &format!("{cell:width$}  "),
            }
        }
        lines += line.trim_end();
        lines.push('\n');
    }
    lines
}

/// Unix milliseconds as a moment in UTC: `2026-11-21 20:31:07.052`.
pub fn moment(at: &Value) -> String {
    let Some(ms) = at.as_u64() else { return "-".to_owned() };
    let (seconds, ms) = (ms / 1_000, ms % 1_000);
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ms:03}")
}

/// The date so many days after 1970-01-01, as H. Hinnant's `civil_from_days`: years begin in March,
/// so that the day which comes and goes is the last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, day)
}

/// Milliseconds, shortly: `7 ms`, `1.25 s`, `3.0 min`.
pub fn span(ms: u64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.2} s", ms as f64 / 1e3),
        _ => format!("{:.1} min", ms as f64 / 6e4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_columns() {
        let rows = [["a", "1"], ["longer", "20"]].map(|row| row.map(str::to_owned));
        let text = columns(["NAME", "N"], rows.into_iter());
        assert_eq!(text, "NAME     N\na        1\nlonger  20\n");
        assert_eq!(columns(["NAME", "N"], std::iter::empty()), "NAME  N\n");
    }

    #[test]
    fn moments_of_utc() {
        for (ms, text) in [
            (0_u64, "1970-01-01 00:00:00.000"),
            (951_782_400_000, "2000-02-29 00:00:00.000"),
            (1_767_225_599_999, "2025-12-31 23:59:59.999"),
            (4_107_542_400_000, "2100-03-01 00:00:00.000"),
        ] {
            assert_eq!(moment(&ms.into()), text);
        }
        let most: Value = u64::MAX.into();
        assert!(moment(&most).starts_with("584556019-"), "no number panics");
        assert_eq!(moment(&Value::Null), "-");
        assert_eq!([span(7), span(1_250), span(180_000)], ["7 ms", "1.25 s", "3.0 min"]);
    }
}

//! What the daemon is told: defaults, then the configuration file, then the command line.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use orloj_db::{AppendFailure, CommandLimits, Durability, HistoryRetention};
use orloj_net::envelope::redaction::Classes;
use serde::{Deserialize, Deserializer, de};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, for machines.
    Json,
}

/// Everything the daemon is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The directory of its data.
    pub data: PathBuf,
    /// The address of the RESP listener.
    pub resp: String,
    /// The address of the native listener, or `off`.
    pub native: String,
    /// The address of the listener for clients that speak JSON; none without one.
    pub ws: Option<String>,
    /// When answers are given.
    pub durability: Durability,
    /// Connections served at once; further ones are refused.
    pub max_clients: u32,
    /// Commands in envelopes that one session may send in a second; 0 is no limit.
    pub session_rate: u64,
    /// Commands in envelopes that all may send in a second; 0 is no limit.
    pub global_rate: u64,
    /// Commands in envelopes that may be in flight.
    pub in_flight: usize,
    /// What becomes of them while the disk takes nothing.
    pub append_failure: AppendFailure,
    /// Memory for what was used lately, in MiB: half for rows, half for pages and values.
    pub cache_mib: u32,
    /// How much is kept of the history of commands.
    pub history: HistoryRetention,
    /// What of commands is withheld.
    pub redaction: Classes,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written: a level, or directives as `info,orloj=debug`.
    pub log: String,
}

impl Default for Settings {
    fn default() -> Settings {
        let commands = CommandLimits::default();
        Settings {
            data: PathBuf::from("orloj-data"),
            resp: "127.0.0.1:6379".to_owned(),
            native: "127.0.0.1:7380".to_owned(),
            ws: None,
            durability: Durability::default(),
            max_clients: 1_000,
            session_rate: commands.session_rate,
            global_rate: commands.global_rate,
            in_flight: commands.in_flight,
            append_failure: commands.append_failure,
            cache_mib: 128,
            history: HistoryRetention::default(),
            redaction: Classes::default(),
            log_format: LogFormat::default(),
            log: "info".to_owned(),
        }
    }
}

/// Settings of which any may be missing: what a file or a command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partial {
    /// See [`Settings::data`].
    pub data: Option<PathBuf>,
    /// See [`Settings::resp`].
    pub resp: Option<String>,
    /// See [`Settings::native`].
    pub native: Option<String>,
    /// See [`Settings::ws`].
    pub ws: Option<String>,
    /// See [`Settings::durability`].
    #[serde(default, deserialize_with = "durability")]
    pub durability: Option<Durability>,
    /// See [`Settings::max_clients`].
    pub max_clients: Option<u32>,
    /// See [`Settings::session_rate`].
    pub session_rate: Option<u64>,
    /// See [`Settings::global_rate`].
    pub global_rate: Option<u64>,
    /// See [`Settings::in_flight`].
    pub in_flight: Option<usize>,
    /// See [`Settings::append_failure`].
    #[serde(default, deserialize_with = "append_failure")]
    pub append_failure: Option<AppendFailure>,
    /// See [`Settings::cache_mib`].
    pub cache_mib: Option<u32>,
    /// See [`HistoryRetention::age`].
    pub history_age: Option<Age>,
    /// See [`HistoryRetention::bytes`], in MiB.
    pub history_mib: Option<u32>,
    /// See [`HistoryRetention::outcomes`].
    #[serde(default, deserialize_with = "outcomes")]
    pub history_outcomes: Option<u64>,
    /// See [`Settings::redaction`].
    #[serde(default, deserialize_with = "classes")]
    pub redaction: Option<Classes>,
    /// See [`Settings::log_format`].
    pub log_format: Option<LogFormat>,
    /// See [`Settings::log`].
    pub log: Option<String>,
}

fn durability<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Durability>, D::Error> {
    String::deserialize(from)?.parse().map(Some).map_err(de::Error::custom)
}

fn append_failure<'de, D: Deserializer<'de>>(from: D) -> Result<Option<AppendFailure>, D::Error> {
    String::deserialize(from)?.parse().map(Some).map_err(de::Error::custom)
}

fn classes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Classes>, D::Error> {
    let mut classes = Classes::default();
    for (field, class) in std::collections::BTreeMap::<String, String>::deserialize(from)? {
        let class = class.parse().map_err(de::Error::custom)?;
        classes.set(&field, class).map_err(de::Error::custom)?;
    }
    Ok(Some(classes))
}

fn outcomes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    match u64::deserialize(from)? {
        few if few < HistoryRetention::OUTCOMES_MIN => {
            Err(de::Error::custom("history_outcomes is 2000 at least"))
        }
        outcomes => Ok(Some(outcomes)),
    }
}

/// A time as `90s`, `15m`, `12h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub Duration);

impl FromStr for Age {
    type Err = String;
    fn from_str(text: &str) -> Result<Age, String> {
        let wrong = || format!("an age is a number and s, m, h or d, as 7d, not {text:?}");
        let unit = match text.chars().last() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            _ => return Err(wrong()),
        };
        let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        let seconds = number.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(wrong)?;
        Ok(Age(Duration::from_secs(seconds)))
    }
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Age, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// Every key a configuration file may have.
const KEYS: &[&str] = &[
    "data",
    "resp",
    "native",
    "ws",
    "durability",
    "max_clients",
    "session_rate",
    "global_rate",
    "in_flight",
    "append_failure",
    "cache_mib",
    "history_age",
    "history_mib",
    "history_outcomes",
    "redaction",
    "log_format",
    "log",
];

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read configuration {path}: {cause}; check the path and its permissions")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It is not what a configuration looks like.
    #[error("configuration {path}, line {line}: {what}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, and what would be right.
        what: String,
    },
}

impl Partial {
    /// Understands the text of the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the line, and the nearest key where one is misspelt.
    pub fn parse(path: &Path, text: &str) -> Result<Partial, ConfigError> {
        toml::from_str(text).map_err(|e| {
            let at = e.span().map_or(0, |span| span.start.min(text.len()));
            let line = text[..at].matches('\n').count() + 1;
            let mut what = e.message().lines().next().unwrap_or_default().to_owned();
            if let Some(unknown) = what.strip_prefix("unknown field `") {
                let unknown = unknown.split('`').next().unwrap_or_default();
                what = format!("unknown key `{unknown}`; {}", suggest(unknown));
            }
            ConfigError::Invalid { path: path.to_owned(), line, what }
        })
    }

    /// Itself where it says something, else `other`.
    pub fn or(self, other: Partial) -> Partial {
        Partial {
            data: self.data.or(other.data),
            resp: self.resp.or(other.resp),
            native: self.native.or(other.native),
            ws: self.ws.or(other.ws),
            durability: self.durability.or(other.durability),
            max_clients: self.max_clients.or(other.max_clients),
            session_rate: self.session_rate.or(other.session_rate),
            global_rate: self.global_rate.or(other.global_rate),
            in_flight: self.in_flight.or(other.in_flight),
            append_failure: self.append_failure.or(other.append_failure),
            cache_mib: self.cache_mib.or(other.cache_mib),
            history_age: self.history_age.or(other.history_age),
            history_mib: self.history_mib.or(other.history_mib),
            history_outcomes: self.history_outcomes.or(other.history_outcomes),
            redaction: self.redaction.or(other.redaction),
            log_format: self.log_format.or(other.log_format),
            log: self.log.or(other.log),
        }
    }

    /// Itself where it says something, else the defaults.
    pub fn complete(self) -> Settings {
        let default = Settings::default();
        Settings {
            data: self.data.unwrap_or(default.data),
            resp: self.resp.unwrap_or(default.resp),
            native: self.native.unwrap_or(default.native),
            ws: self.ws,
            durability: self.durability.unwrap_or(default.durability),
            max_clients: self.max_clients.unwrap_or(default.max_clients),
            session_rate: self.session_rate.unwrap_or(default.session_rate),
            global_rate: self.global_rate.unwrap_or(default.global_rate),
            in_flight: self.in_flight.unwrap_or(default.in_flight),
            append_failure: self.append_failure.unwrap_or(default.append_failure),
            cache_mib: self.cache_mib.unwrap_or(default.cache_mib),
            history: HistoryRetention {
                age: self.history_age.map_or(default.history.age, |age| age.0),
                bytes: self.history_mib.map_or(default.history.bytes, |mib| u64::from(mib) << 20),
                outcomes: self.history_outcomes.unwrap_or(default.history.outcomes),
            },
            redaction: self.redaction.unwrap_or(default.redaction),
            log_format: self.log_format.unwrap_or(default.log_format),
            log: self.log.unwrap_or(default.log),
        }
    }
}

fn suggest(unknown: &str) -> String {
    let nearest = KEYS.iter().map(|key| (distance(unknown, key), *key)).min();
    match nearest {
        Some((distance, key)) if distance <= 3 => format!("did you mean `{key}`?"),
        _ => format!("the keys are {}", KEYS.join(", ")),
    }
}

/// Levenshtein's distance, by rows.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use orloj_net::envelope::redaction::{DataClass, Field};

    use super::*;

    fn parse(text: &str) -> Result<Partial, String> {
        Partial::parse(Path::new("node.toml"), text).map_err(|e| e.to_string())
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_defaults() {
        let file = parse("resp = \"0.0.0.0:7000\"\ndurability = \"buffered\"\n").unwrap();
        let flags = Partial { durability: Some(Durability::InMemory), ..Partial::default() };
        let settings = flags.or(file).complete();
        assert_eq!(settings.resp, "0.0.0.0:7000");
        assert_eq!(settings.durability, Durability::InMemory);
        assert_eq!(settings.max_clients, Settings::default().max_clients);
    }

    #[test]
    fn errors_are_one_line_with_place_and_remedy() {
        let misspelt = parse("resp = \"x:1\"\ndurabilty = \"strict\"\n").unwrap_err();
        assert_eq!(
            misspelt,
            "configuration node.toml, line 2: unknown key `durabilty`; did you mean `durability`?"
        );
        let value = parse("durability = \"strong\"").unwrap_err();
        assert!(value.contains("line 1") && value.contains("durability is strict"), "{value}");
        for bad in ["resp = ", "resp = 7", "[nested]\nx=1", "\u{0}", "max_clients = -1"] {
            let e = parse(bad).unwrap_err();
            assert!(!e.contains('\n') && e.contains("line "), "{bad:?}: {e}");
        }
    }

    #[test]
    fn history_and_redaction_have_their_own_words() {
        let text = "history_age = \"12h\"\nhistory_mib = 64\nhistory_outcomes = 5000\n\
                    [redaction]\nvalue = \"never_persist\"\n\"set.key\" = \"redact_on_export\"";
        let settings = parse(text).unwrap().complete();
        let age = Duration::from_secs(12 * 3_600);
        let history = HistoryRetention { age, bytes: 64 << 20, outcomes: 5_000 };
        assert_eq!(settings.history, history);
        assert_eq!(settings.redaction.of("append", Field::Value), DataClass::NeverPersist);
        assert_eq!(settings.redaction.of("set", Field::Key), DataClass::RedactOnExport);
        let wrong = [
            ("history_outcomes = 10", "2000 at least"),
            ("history_age = \"7\"", "as 7d"),
            ("history_age = \"0d\"", "as 7d"),
            ("[redaction]\nvalues = \"retainable\"", "no field \"values\""),
            ("[redaction]\nvalue = \"never\"", "a class is"),
        ];
        for (text, why) in wrong {
            let e = parse(text).unwrap_err();
            assert!(e.contains(why), "{text}: {e}");
        }
    }

    #[test]
    fn every_key_of_the_list_is_one() {
        for key in KEYS {
            let unknown = parse(&format!("{key} = [1]")).unwrap_err();
            assert!(!unknown.contains("unknown key"), "{key}: {unknown}");
        }
    }
}

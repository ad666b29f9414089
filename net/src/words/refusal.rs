//! Why a command was refused, in words and codes that do not change.

use std::fmt;

use bytes::Bytes;

/// A definite no: the command was not carried out and the store is as it was. (A command whose fate
/// is unknown is answered by closing the connection, never by a refusal.)
///
/// `Display` is the whole error line of RESP without the leading `-`: an upper-case prefix that
/// programs match on, and a text in Redis's own words wherever Redis has some.
#[derive(Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The key holds another type than the command works on.
    WrongType,
    /// An argument or a stored value is not a 64-bit signed decimal integer.
    NotAnInteger,
    /// A sum would not fit 64 signed bits.
    Overflow,
    /// Options that contradict each other, or are not options.
    Syntax,
    /// Too few or too many arguments for this command (`config|get` for a subcommand).
    WrongArity {
        /// The command's name in lower case.
        command: &'static str,
    },
    /// No such command. Only the beginning of name and arguments is repeated.
    UnknownCommand {
        /// The name as sent, at most 128 bytes, control bytes replaced.
        name: Box<str>,
        /// The arguments as Redis quotes them: `'a' 'b' `, at most 128 bytes and a little.
        args: Box<str>,
    },
    /// The command exists and its subcommand does not.
    UnknownSubcommand {
        /// The command's name in lower case.
        command: &'static str,
        /// The subcommand as sent, at most 128 bytes, control bytes replaced.
        subcommand: Box<str>,
    },
    /// A time to live that is zero, negative or beyond the clock's range.
    InvalidExpire {
        /// The command's name in lower case.
        command: &'static str,
    },
    /// A key longer than the server takes.
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
        /// The longest key taken, in bytes.
        max: usize,
    },
    /// A value longer than the server takes.
    ValueTooLong,
    /// A scan cursor that is no number, or that no scan handed out recently.
    InvalidCursor,
    /// SELECT of a database that does not exist.
    DbIndex,
    /// HELLO with something that is not a number.
    ProtocolNotAnInteger,
    /// HELLO with a version other than 2 or 3.
    NoProtocol,
    /// A fixed refusal in its own words around one of the client's: an option nobody knows, a
    /// setting that cannot be set.
    About {
        /// The text after `ERR ` and before the client's word.
        before: &'static str,
        /// The word as sent, at most 128 bytes, control bytes replaced.
        word: Box<str>,
        /// The text after the client's word.
        after: &'static str,
    },
    /// AUTH with a password where none is configured.
    AuthNotConfigured,
    /// AUTH with the wrong user or password.
    WrongPassword,
    /// A command before AUTH where AUTH is required.
    AuthRequired,
    /// HELLO without AUTH where AUTH is required.
    HelloAuthRequired,
    /// A client name with spaces, newlines or other special characters.
    ClientName,
    /// A fixed refusal in its own words: the `text` after `ERR`.
    Other {
        /// The text after `ERR `.
        text: &'static str,
    },
    /// Recovery is still reading the journal.
    Loading,
    /// The memory limit is reached and the command needs more.
    OutOfMemory,
    /// Writes are refused because the journal cannot be written: full disk, or a failed sync.
    JournalFailed,
    /// What the command needs cannot be read: the disk failed there, or it is damaged.
    Unreadable,
    /// The server accepts no writes.
    ReadOnly,
    /// A queue on the way is full. Try again later.
    Overloaded,
    /// The server is draining before it stops.
    ShuttingDown,
}

/// The longest part of a client's own words that an error repeats, in bytes, as in Redis.
pub(crate) const ECHO_MAX: usize = 128;

impl Refusal {
    /// Every refusal whose words are always the same.
    pub const FIXED: [Refusal; 21] = [
        Refusal::WrongType,
        Refusal::NotAnInteger,
        Refusal::Overflow,
        Refusal::Syntax,
        Refusal::ValueTooLong,
        Refusal::InvalidCursor,
        Refusal::DbIndex,
        Refusal::ProtocolNotAnInteger,
        Refusal::NoProtocol,
        Refusal::AuthNotConfigured,
        Refusal::WrongPassword,
        Refusal::AuthRequired,
        Refusal::HelloAuthRequired,
        Refusal::ClientName,
        Refusal::Loading,
        Refusal::OutOfMemory,
        Refusal::JournalFailed,
        Refusal::Unreadable,
        Refusal::ReadOnly,
        Refusal::Overloaded,
        Refusal::ShuttingDown,
    ];

    /// The refusal that an error line, without its `-`, spells: one of [`FIXED`](Self::FIXED).
    pub fn from_line(line: &[u8]) -> Option<Refusal> {
        let line = std::str::from_utf8(line).ok()?;
        Self::FIXED.into_iter().find(|refusal| refusal.to_string() == line)
    }

    /// A stable number per kind of refusal: for metrics, for journals of histories, for wires other
    /// than RESP. Numbers are never reused.
    pub fn code(&self) -> u16 {
        match self {
            Refusal::WrongType => 1,
            Refusal::NotAnInteger => 2,
            Refusal::Overflow => 3,
            Refusal::Syntax => 4,
            Refusal::WrongArity { .. } => 5,
            Refusal::UnknownCommand { .. } => 6,
            Refusal::UnknownSubcommand { .. } => 7,
            Refusal::InvalidExpire { .. } => 8,
            Refusal::KeyTooLong { .. } => 9,
            Refusal::ValueTooLong => 10,
            Refusal::InvalidCursor => 11,
            Refusal::DbIndex => 12,
            Refusal::ProtocolNotAnInteger => 13,
            Refusal::NoProtocol => 14,
            Refusal::About { .. } => 15,
            Refusal::AuthNotConfigured => 16,
            Refusal::WrongPassword => 17,
            Refusal::AuthRequired => 18,
            Refusal::ClientName => 19,
            Refusal::Other { .. } => 20,
            Refusal::Loading => 21,
            Refusal::OutOfMemory => 22,
            Refusal::JournalFailed => 23,
            Refusal::ReadOnly => 24,
            Refusal::Overloaded => 25,
            Refusal::ShuttingDown => 26,
            Refusal::HelloAuthRequired => 27,
            Refusal::Unreadable => 28,
        }
    }

    /// The first word of the error line, which programs match on.
    pub fn prefix(&self) -> &'static str {
        match self {
            Refusal::WrongType => "WRONGTYPE",
            Refusal::NoProtocol => "NOPROTO",
            Refusal::WrongPassword => "WRONGPASS",
            Refusal::AuthRequired | Refusal::HelloAuthRequired => "NOAUTH",
            Refusal::Loading => "LOADING",
            Refusal::OutOfMemory => "OOM",
            Refusal::JournalFailed => "MISCONF",
            Refusal::Unreadable => "IOERR",
            Refusal::ReadOnly => "READONLY",
            Refusal::Overloaded => "BUSY",
            Refusal::NotAnInteger
            | Refusal::Overflow
            | Refusal::Syntax
            | Refusal::WrongArity { .. }
            | Refusal::UnknownCommand { .. }
            | Refusal::UnknownSubcommand { .. }
            | Refusal::InvalidExpire { .. }
            | Refusal::KeyTooLong { .. }
            | Refusal::ValueTooLong
            | Refusal::InvalidCursor
            | Refusal::DbIndex
            | Refusal::ProtocolNotAnInteger
            | Refusal::About { .. }
            | Refusal::AuthNotConfigured
            | Refusal::ClientName
            | Refusal::Other { .. }
            | Refusal::ShuttingDown => "ERR",
        }
    }

    /// The refusal of a command nobody knows, repeating the beginning of what was sent.
    pub fn unknown_command(name: &[u8], args: &[Bytes]) -> Refusal {
        let mut quoted = String::new();
        for arg in args {
            let Some(room @ 1..) = ECHO_MAX.checked_sub(quoted.len()) else { break };
            quoted.push('\'');
            quoted.push_str(&printable(arg, room));
            quoted.push_str("' ");
        }
        Refusal::UnknownCommand { name: printable(name, ECHO_MAX), args: quoted.into() }
    }

    /// The refusal of a subcommand that `command` does not have.
    pub fn unknown_subcommand(command: &'static str, subcommand: &[u8]) -> Refusal {
        Refusal::UnknownSubcommand { command, subcommand: printable(subcommand, ECHO_MAX) }
    }

    /// A refusal in fixed words around one of the client's own.
    pub fn about(before: &'static str, word: &[u8], after: &'static str) -> Refusal {
        Refusal::About { before, word: printable(word, ECHO_MAX), after }
    }
}

/// A client's bytes made safe to repeat on one error line: at most `max` bytes of them, line breaks
/// and other control bytes as spaces, what is not UTF-8 as the replacement character.
fn printable(bytes: &[u8], max: usize) -> Box<str> {
    let head = &bytes[..bytes.len().min(max)];
    String::from_utf8_lossy(head).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix())?;
        f.write_str(" ")?;
        let text = match self {
            Refusal::WrongType => "Operation against a key holding the wrong kind of value",
            Refusal::NotAnInteger => "value is not an integer or out of range",
            Refusal::Overflow => "increment or decrement would overflow",
            Refusal::Syntax => "syntax error",
            Refusal::WrongArity { command } => {
                return write!(f, "wrong number of arguments for '{command}' command");
            }
            Refusal::UnknownCommand { name, args } => {
                return write!(f, "unknown command '{name}', with args beginning with: {args}");
            }
            Refusal::UnknownSubcommand { command, subcommand } => {
                let command = command.to_ascii_uppercase();
                return write!(f, "unknown subcommand '{subcommand}'. Try {command} HELP.");
            }
            Refusal::InvalidExpire { command } => {
                return write!(f, "invalid expire time in '{command}' command");
            }
            Refusal::KeyTooLong { len, max } => {
                return write!(f, "key of {len} bytes exceeds the maximum of {max}");
            }
            Refusal::ValueTooLong => "string exceeds maximum allowed size (proto-max-bulk-len)",
            Refusal::InvalidCursor => "invalid cursor",
            Refusal::DbIndex => "DB index is out of range",
            Refusal::ProtocolNotAnInteger => "Protocol version is not an integer or out of range",
            Refusal::NoProtocol => "unsupported protocol version",
            Refusal::About { before, word, after } => {
                return write!(f, "{before}{word}{after}");
            }
            Refusal::AuthNotConfigured => {
                "AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?"
            }
            Refusal::WrongPassword => "invalid username-password pair or user is disabled.",
            Refusal::AuthRequired => "Authentication required.",
            Refusal::HelloAuthRequired => {
                "HELLO must be called with the client already authenticated, otherwise the HELLO \
                 <proto> AUTH <user> <pass> option can be used to authenticate the client and \
                 select the RESP protocol version at the same time"
            }
            Refusal::ClientName => {
                "Client names cannot contain spaces, newlines or special characters."
            }
            Refusal::Other { text } => text,
            Refusal::Loading => "Redis is loading the dataset in memory",
            Refusal::OutOfMemory => "command not allowed when used memory > 'maxmemory'.",
            Refusal::JournalFailed => {
                "Errors writing to the journal. Commands that modify the data set are disabled."
            }
            Refusal::Unreadable => "What this key holds cannot be read from the disk.",
            Refusal::ReadOnly => "You can't write against a read only replica.",
            Refusal::Overloaded => "the server is overloaded, try again later",
            Refusal::ShuttingDown => "the server is shutting down",
        };
        f.write_str(text)
    }
}

/// Repeats of a client's own words may hold keys and values, so a log line gets their length only.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::UnknownCommand { name, args } => write!(
                f,
                "unknown command <{}B>, with args beginning with <{}B>",
                name.len(),
                args.len()
            ),
            Refusal::UnknownSubcommand { command, subcommand } => {
                write!(f, "unknown subcommand <{}B> of {command}", subcommand.len())
            }
            Refusal::About { before, word, after } => {
                write!(f, "{before}<{}B>{after}", word.len())
            }
            other => write!(f, "{other}"),
        }
    }
}

impl std::error::Error for Refusal {}

//! Programs out of seeds: every command and option that both have, with the arguments at which
//! implementations part: numbers at their edges, empty and binary strings, wrong numbers of words.

use super::program::{Program, Step};

/// What an argument is.
#[derive(Clone, Copy)]
enum Word {
    Key,
    Value,
    /// An integer, or something that nearly is one.
    Number,
    /// Seconds from now.
    Seconds,
    Millis,
    /// A moment in seconds since 1970.
    At,
    AtMillis,
    /// This word.
    Is(&'static str),
    /// One of these.
    Of(&'static [&'static str]),
    /// Some of these options, in any order, each perhaps with an argument.
    Options(&'static [&'static [Word]]),
    /// One or more keys.
    Keys,
    Pairs,
    Glob,
    /// A name and arguments of some other command.
    Line,
}

use Word::{
    At, AtMillis, Glob, Is, Key, Keys, Line, Millis, Number, Of, Options, Pairs, Seconds, Value,
};

const CONDITIONS: &[&[Word]] = &[&[Is("NX")], &[Is("XX")], &[Is("GT")], &[Is("LT")], &[Value]];
const SET_OPTIONS: &[&[Word]] = &[
    &[Is("NX")],
    &[Is("XX")],
    &[Is("GET")],
    &[Is("KEEPTTL")],
    &[Is("EX"), Seconds],
    &[Is("PX"), Millis],
    &[Is("EXAT"), At],
    &[Is("PXAT"), AtMillis],
    &[Value],
];
const SCAN_OPTIONS: &[&[Word]] = &[
    &[Is("MATCH"), Glob],
    &[Is("COUNT"), Of(&["1000", "100000", "0", "-1", "x"])],
    &[Is("TYPE"), Of(&["string", "STRING"])],
    &[Value],
];

/// Commands whose answers depend on nothing but what was sent, and how often each is drawn.
const EXACT: &[(u64, &str, &[Word])] = &[
    (20, "GET", &[Key]),
    (20, "SET", &[Key, Value]),
    (30, "SET", &[Key, Value, Options(SET_OPTIONS)]),
    (8, "APPEND", &[Key, Value]),
    (6, "INCR", &[Key]),
    (6, "DECR", &[Key]),
    (8, "INCRBY", &[Key, Number]),
    (8, "DECRBY", &[Key, Number]),
    (6, "GETDEL", &[Key]),
    (6, "GETSET", &[Key, Value]),
    (6, "MGET", &[Keys]),
    (6, "MSET", &[Pairs]),
    (5, "PSETEX", &[Key, Millis, Value]),
    (5, "SETEX", &[Key, Seconds, Value]),
    (6, "STRLEN", &[Key]),
    (6, "DEL", &[Keys]),
    (3, "UNLINK", &[Keys]),
    (4, "EXISTS", &[Keys]),
    (3, "TOUCH", &[Keys]),
    (4, "TYPE", &[Key]),
    (8, "EXPIRE", &[Key, Seconds, Options(CONDITIONS)]),
    (8, "PEXPIRE", &[Key, Millis, Options(CONDITIONS)]),
    (8, "EXPIREAT", &[Key, At, Options(CONDITIONS)]),
    (8, "PEXPIREAT", &[Key, AtMillis, Options(CONDITIONS)]),
    (6, "PERSIST", &[Key]),
    (1, "FLUSHALL", &[Of(&["ASYNC", "SYNC", "NOW"])]),
    (1, "FLUSHDB", &[]),
    (2, "ECHO", &[Value]),
    (2, "PING", &[]),
    (2, "PING", &[Value]),
    (2, "SELECT", &[Of(&["0", "-1", "999", "x", "", "00", "99999999999999999999"])]),
    (1, "RESET", &[]),
    (1, "QUIT", &[]),
    (2, "HELLO", &[Of(&["1", "4", "x", "", "-1"])]),
    (1, "AUTH", &[Value]),
    (1, "AUTH", &[Of(&["default", "nobody"]), Value]),
    (2, "CLIENT", &[Is("SETNAME"), Value]),
    (2, "CLIENT", &[Is("GETNAME")]),
    (1, "CLIENT", &[Is("NO-EVICT"), Of(&["ON", "OFF", "x"])]),
    (1, "CLIENT", &[Value]),
    (1, "CONFIG", &[Value]),
    (3, "NOSUCH", &[Value, Value]),
];

/// Commands of whose answers a part is declared to differ.
const LOOSE: &[(u64, &str, &[Word])] = &[
    (8, "TTL", &[Key]),
    (8, "PTTL", &[Key]),
    (5, "EXPIRETIME", &[Key]),
    (5, "PEXPIRETIME", &[Key]),
    (4, "DBSIZE", &[]),
    (4, "SCAN", &[Is("0"), Is("COUNT"), Is("100000"), Options(SCAN_OPTIONS)]),
    (1, "SCAN", &[Of(&["x", "-1", "", "99999999999999999999"]), Options(SCAN_OPTIONS)]),
    (2, "HELLO", &[Of(&["2", "3"])]),
    (1, "HELLO", &[Of(&["2", "3"]), Is("SETNAME"), Value]),
    (1, "HELLO", &[Of(&["2", "3"]), Is("AUTH"), Of(&["default", "nobody"]), Value]),
    (1, "HELLO", &[Of(&["2", "3"]), Value]),
    (4, "COMMAND", &[Is("GETKEYS"), Line]),
    (1, "INFO", &[]),
    (1, "TIME", &[]),
    (1, "CLIENT", &[Of(&["ID", "INFO", "HELP"])]),
    (1, "COMMAND", &[Of(&["COUNT", "LIST", "HELP", "NONE", ""])]),
];

const KEYS: &[&[u8]] = &[b"a", b"b", b"c", b"d", b"", b"\x00\xff", b"a b", b"k\r\n"];
const VALUES: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"-1",
    b"10",
    b"9223372036854775806",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b" 1",
    b"1 ",
    b"+1",
    b"01",
    b"-0",
    b"1.0",
    b"1e3",
    b"0x1",
    b"abc",
    b"\x00",
    b"\xff\xfe",
    b"line\r\nline",
    b"'\"\\",
    b"a-value-that-is-longer-than-forty-four-bytes-and-so-no-embedded-string",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "100",
    "9223372036854775807",
    "-9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "99999999999999999999",
    "1.5",
    "x",
    "",
    "01",
    "+1",
    " 1",
    "-",
    "-0",
];
const NO_TIMES: &[&str] = &[
    "0",
    "-1",
    "-1000",
    "9223372036854775807",
    "9223372036854775808",
    "9223372036854776",
    "-9223372036854775808",
    "-9223372036854776",
    "x",
    "",
    "1.5",
    "01",
];
/// Seconds since 1970: past, near the year 2100, and far.
const MOMENTS: &[&str] =
    &["1", "946684800", "4102444800", "4102444801", "9223372036854774", "9223372036854775"];
const GLOBS: &[&str] = &["*", "?", "[a-c]", "[^a]", "a*", "\\a", "", "[", "*b*", "[b-a]", "\\"];
const TAILS: &[&[u8]] = &[
    b"\r\n\r\nPING\r\n",
    b"*0\r\nPING\r\n",
    b"*-1\r\nPING\r\n",
    b"*x\r\n",
    b"*1048577\r\n",
    b"*99999999999999999999\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$x\r\n",
    b"*1\r\n$99999999999\r\n",
    b"*1\r\n:1\r\n",
    b"*1\r\nPING\r\n",
    b"*2\r\n$3\r\nGET\r\n$1\r\n",
    b"*2\r\n$3\r\nGET\r\n",
    b"*",
    b"PING",
    b"GET \"a\r\n",
    b"GET 'a\r\n",
    b"GET \"a\"b\r\n",
    b"  PING  \r\n",
    b"PING\nPING\r\n",
    b"\"PING\"\r\n",
    b"ECHO \"\\n\\x41\\q\"\r\n",
    b"ECHO '\\'\\n'\r\n",
    b"POST / HTTP/1.1\r\n",
    b"Host: x\r\n",
    b"get a b c\r\n",
    b"*1\r\n$4\r\npInG\r\n",
    b"*11111111111111111111111111111111111111",
];

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
struct Luck(u64);

impl Luck {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

struct Draw {
    luck: Luck,
    /// Deadlines from now that a program draws are far apart, so that it does not matter when
    /// exactly each was set.
    deadlines: u64,
}

impl Program {
    /// The program of a seed.
    pub(super) fn draw(seed: u64) -> Program {
        let mut draw = Draw { luck: Luck(seed), deadlines: 0 };
        // Where answers are left out, they are compared without knowing whose they are.
        let is_deaf = draw.luck.one_in(12);
        let count = 1 + draw.luck.below(24);
        let mut steps: Vec<Step> = (0..count).map(|_| draw.step(is_deaf)).collect();
        if draw.luck.one_in(8) {
            // Redis lets an empty request use up a CLIENT REPLY SKIP.
            let from = if is_deaf { 3 } else { 0 };
            steps.push(Step::Raw(draw.luck.of(&TAILS[from..]).to_vec()));
        }
        Program { steps }
    }
}

impl Draw {
    fn step(&mut self, is_deaf: bool) -> Step {
        if self.luck.one_in(300) {
            return Step::Brief { key: self.key(), value: self.value() };
        }
        if is_deaf && self.luck.one_in(5) {
            let mode = self.luck.of(&["ON", "OFF", "SKIP", "x"]);
            return Step::Command(["CLIENT", "REPLY", mode].map(|w| w.as_bytes().to_vec()).into());
        }
        let list = match is_deaf || self.luck.below(4) > 0 {
            true => EXACT,
            false => LOOSE,
        };
        let mut words = self.command(list);
        match self.luck.below(40) {
            0 if !is_deaf => drop(words.pop()),
            1 => words.push(self.value()),
            2 => {
                let at = self.luck.below(words.len());
                words[at] = self.value();
            }
            3 => words[0] = words[0].to_ascii_lowercase(),
            _ => {}
        }
        if words.is_empty() {
            words.push(b"PING".to_vec());
        }
        match self.luck.one_in(10) {
            true => Step::Inline(words),
            false => Step::Command(words),
        }
    }

    fn command(&mut self, list: &[(u64, &'static str, &'static [Word])]) -> Vec<Vec<u8>> {
        let all: u64 = list.iter().map(|(weight, ..)| weight).sum();
        let mut at = self.luck.next() % all;
        let (_, name, shape) = list
            .iter()
            .find(|(weight, ..)| match at.checked_sub(*weight) {
                Some(left) => {
                    at = left;
                    false
                }
                None => true,
            })
            .expect("weights add up");
        let mut words = vec![name.as_bytes().to_vec()];
        shape.iter().for_each(|word| self.word(*word, &mut words));
        words
    }

    fn word(&mut self, word: Word, out: &mut Vec<Vec<u8>>) {
        let one = match word {
            Key => self.key(),
            Value => self.value(),
            Number => self.luck.of(NUMBERS).into(),
            Seconds => self.ahead(1),
            Millis => self.ahead(1_000),
            At => self.moment(""),
            AtMillis => self.moment("000"),
            Is(text) => match self.luck.one_in(6) {
                true => text.to_ascii_lowercase().into(),
                false => text.into(),
            },
            Of(list) => self.luck.of(list).into(),
            Options(list) => {
                for _ in 0..self.luck.below(3) {
                    let option = self.luck.of(list);
                    option.iter().for_each(|word| self.word(*word, out));
                }
                return;
            }
            Keys => {
                let count = 1 + self.luck.below(3);
                out.extend((0..count).map(|_| self.key()));
                return;
            }
            Pairs => {
                for _ in 0..=self.luck.below(3) {
                    out.extend([self.key(), self.value()]);
                }
                return;
            }
            Glob => self.luck.of(GLOBS).into(),
            Line => {
                out.extend(self.command(EXACT));
                return;
            }
        };
        out.push(one);
    }

    fn key(&mut self) -> Vec<u8> {
        // The plain ones meet each other more often.
        let most = if self.luck.one_in(5) { KEYS.len() } else { 3 };
        KEYS[self.luck.below(most)].to_vec()
    }

    fn value(&mut self) -> Vec<u8> {
        self.luck.of(VALUES).to_vec()
    }

    fn ahead(&mut self, scale: u64) -> Vec<u8> {
        if self.luck.one_in(4) {
            return self.luck.of(NO_TIMES).into();
        }
        self.deadlines += 1;
        // Up and down, so that each may be the later one.
        let far = match self.luck.one_in(2) {
            true => 100_000 + 100 * self.deadlines,
            false => 100_000 - 100 * self.deadlines,
        };
        (far * scale).to_string().into_bytes()
    }

    fn moment(&mut self, zeros: &str) -> Vec<u8> {
        match self.luck.one_in(4) {
            true => self.luck.of(NO_TIMES).into(),
            false => format!("{}{zeros}", self.luck.of(MOMENTS)).into_bytes(),
        }
    }
}

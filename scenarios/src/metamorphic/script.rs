//! What a script asks: nothing whose answer depends on when it is asked.

use bytes::Bytes;
use orloj_net::{Command, Condition, Deadline, ExpireCondition, Expiry, TimeForm, UnixMs};
use orloj_sim::choice::{Choices, Stream};

/// Deadlines are moments, long past or far ahead, so that no clock decides.
const MOMENTS: [u64; 4] = [1, 1_000_000_000_000, 4_102_444_800_000, 4_102_444_800_001];
/// Lengths of values on either side of where they leave the tree for the value log, and pages.
const LENGTHS: [u64; 9] = [0, 1, 20, 63, 64, 65, 512, 513, 3_000];

/// The script of a seed.
pub fn script(seed: u64) -> Vec<Command> {
    let mut choices = Choices::from_seed(seed);
    let mut draw = Draw { choices: &mut choices, made: 0 };
    let count = draw.between("commands", 40, 240);
    (0..count).map(|_| draw.command()).collect()
}

struct Draw<'a> {
    choices: &'a mut Choices,
    made: u64,
}

impl Draw<'_> {
    fn between(&mut self, site: &'static str, low: u64, high: u64) -> u64 {
        self.choices.between(Stream::Workload, site, low, high)
    }

    fn key(&mut self) -> Bytes {
        let number = self.between("key", 0, 15);
        Bytes::from(match number {
            0 => Vec::new(),
            1..=3 => format!("long{number}{}", "-".repeat(300)).into_bytes(),
            _ => format!("k{number}").into_bytes(),
        })
    }

    fn value(&mut self) -> Bytes {
        self.made += 1;
        let length = LENGTHS[self.between("length", 0, LENGTHS.len() as u64 - 1) as usize];
        match self.between("value", 0, 4) {
            0 => Bytes::from(self.between("number", 0, 99).to_string()),
            // Every byte there is, so that each form has to write it.
            1 => (0..length).map(|at| (at + self.made) as u8).collect(),
            _ => {
                let mut value = format!("v{}", self.made).into_bytes();
                value.resize((length as usize).max(value.len()), b'-');
                value.into()
            }
        }
    }

    fn deadline(&mut self) -> Deadline {
        Deadline::At(UnixMs(MOMENTS[self.between("moment", 0, 3) as usize]))
    }

    fn set(&mut self) -> Command {
        let (key, value) = (self.key(), self.value());
        let expiry = match self.between("expiry", 0, 5) {
            0 => Expiry::By(self.deadline()),
            1 => Expiry::Keep,
            _ => Expiry::None,
        };
        let condition = match self.between("condition", 0, 5) {
            0 => Some(Condition::Absent),
            1 => Some(Condition::Present),
            _ => None,
        };
        let get = self.between("get", 0, 3) == 0;
        Command::Set { key, value, expiry, condition, get }
    }

    fn command(&mut self) -> Command {
        match self.between("command", 0, 39) {
            0..14 => self.set(),
            14..18 => Command::Get { key: self.key() },
            18 | 19 => Command::Append { key: self.key(), value: self.value() },
            20 | 21 => {
                let by = self.between("by", 0, 200) as i64 - 100;
                Command::Incr { key: self.key(), by }
            }
            22 => Command::Incr { key: self.key(), by: i64::MAX },
            23 => Command::StrLen { key: self.key() },
            24 => Command::GetDel { key: self.key() },
            25 | 26 => Command::Del { keys: vec![self.key(), self.key()] },
            27 => Command::Exists { keys: vec![self.key(), self.key(), self.key()] },
            28 | 29 => Command::MGet { keys: vec![self.key(), self.key()] },
            30 | 31 => Command::MSet {
                pairs: vec![(self.key(), self.value()), (self.key(), self.value())],
            },
            32 => Command::Type { key: self.key() },
            33 => {
                let form = match self.between("form", 0, 1) {
                    0 => TimeForm::UnixMillis,
                    _ => TimeForm::UnixSeconds,
                };
                Command::Ttl { key: self.key(), form }
            }
            34 | 35 => {
                let conditions = [
                    None,
                    Some(ExpireCondition::Absent),
                    Some(ExpireCondition::Present),
                    Some(ExpireCondition::Later),
                    Some(ExpireCondition::Earlier),
                    Some(ExpireCondition::PresentEarlier),
                ];
                let condition = conditions[self.between("expire", 0, 5) as usize];
                Command::Expire { key: self.key(), deadline: self.deadline(), condition }
            }
            36 => Command::Persist { key: self.key() },
            37 => Command::DbSize,
            38 => {
                let count = self.between("count", 1, 20) as u32;
                Command::Scan { after: None, pattern: None, count }
            }
            _ if self.between("flush", 0, 5) == 0 => Command::FlushAll,
            _ => Command::Persist { key: self.key() },
        }
    }
}

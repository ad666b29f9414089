//! Goal: whatever clients of RESP ask and wherever the node dies, its answers are those of the
//! single-threaded model, and every law of the node holds.
//! Method: the input is a program of commands, batches, broken connections and crashes.

use super::{Program, STEPS_MAX, bytes::Luck, disk};

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    let mut luck = Luck(data);
    let mut program = Program::new(&mut luck, world);
    while !luck.is_empty() && program.steps() < STEPS_MAX {
        if luck.below(8) == 0 {
            program.strike(&mut luck);
            continue;
        }
        let (who, how) = (luck.byte(), luck.byte());
        let mut said: Vec<String> = Vec::new();
        match how % 8 {
            0 => said.push(format!("after {}us", 1 + u64::from(how) * 20)),
            1..=3 => said.push("with".to_owned()),
            4 => said.push("leave".to_owned()),
            5 => said.push(format!("walk away {}us", 1 + u64::from(how) * 10)),
            _ => {}
        }
        let value = format!("v{}", program.steps());
        let text = command(&mut luck, &value);
        program.step(who.into(), &said, &text);
    }
    program.judge();
}

fn command(luck: &mut Luck<'_>, value: &str) -> String {
    let key = |luck: &mut Luck<'_>| format!("h{}", luck.below(5));
    let one = key(luck);
    let value = match luck.below(6) {
        0 => format!("<900:{value}>"),
        1 => "7".to_owned(),
        _ => value.to_owned(),
    };
    let number = luck.below(256);
    match luck.below(32) {
        0..4 => format!("GET {one}"),
        4..8 => format!("SET {one} {value}"),
        8 => format!("SET {one} {value} NX"),
        9 => format!("SET {one} {value} XX GET"),
        10 => format!("SET {one} {value} PX {}", 1 + number),
        11 => format!("SET {one} {value} KEEPTTL"),
        12 => format!("SET {one} {value} PXAT now{:+}", number as i64 - 64),
        13 => format!("INCRBY {one} {number}"),
        14 => format!("INCRBY {one} -{}", 1 + number),
        15 => format!("APPEND {one} {value}"),
        16 => format!("STRLEN {one}"),
        17 => format!("GETDEL {one}"),
        18 => format!("DEL {one} {}", key(luck)),
        19 => format!("EXISTS {one} {one} {}", key(luck)),
        20 => format!("MGET {one} {}", key(luck)),
        21 => format!("MSET {one} {value} {} {value}", key(luck)),
        22 => format!("PEXPIRE {one} {number}"),
        23 => format!("PEXPIRE {one} {number} {}", ["NX", "XX", "GT", "LT"][number % 4]),
        24 => format!("PEXPIREAT {one} now{:+}", number as i64 - 64),
        25 => format!("PERSIST {one}"),
        26 => format!("TTL {one}"),
        27 => format!("PTTL {one}"),
        28 => format!("SCAN 0 COUNT {}", 1 + number % 8),
        29 => "SCAN next COUNT 2".to_owned(),
        30 => "DBSIZE".to_owned(),
        _ if number.is_multiple_of(4) => "FLUSHALL".to_owned(),
        _ => format!("TYPE {one}"),
    }
}

pub(super) fn world(luck: &mut Luck<'_>) -> String {
    let flags = luck.byte();
    let rows = [1, 2, 64][luck.below(3)];
    let checkpoint = [64, 128, 256][luck.below(3)];
    let every = [10, 40, 60_000][luck.below(3)];
    let inline = [64, 200, 512][luck.below(3)];
    let durability = match flags >> 1 & 3 {
        0 => "durability = \"buffered\"\nwindow = \"150ms\"\n",
        _ => "",
    };
    format!(
        "[world]\nbuggify = {}\nduration = \"0\"\nsettle = \"20s\"\n\n[world.node]\n\
         {durability}rows = \"{rows}KiB\"\ncache = \"256KiB\"\ncheckpoint = \"{checkpoint}KiB\"\n\
         checkpoint-every = \"{every}ms\"\ninline = \"{inline}B\"\noutput = \"1MiB\"\n\
         connections = \"10000\"\n\n{}",
        flags & 1 == 1,
        disk(luck)
    )
}

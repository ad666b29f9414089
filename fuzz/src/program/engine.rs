//! Goal: whatever its users do and wherever it dies, the engine shows what the ordered map of
//! versions shows that is its model, and keeps every law of the engine.
//! Method: the input is a program of transactions, reads, checkpoints and crashes.

use super::{Program, STEPS_MAX, bytes::Luck, disk};

const OPERATIONS: [&str; 16] = [
    "put",
    "delete",
    "compare-and-set",
    "transaction",
    "locked-transaction",
    "single-shot",
    "get",
    "scan",
    "look-back",
    "snapshot",
    "checkpoint",
    "compact",
    "load-or-backup",
    "clear",
    "drop",
    "make-keyspace",
];

/// Judges one input.
///
/// # Panics
/// If the goal is missed.
pub fn judge(data: &[u8]) {
    let mut luck = Luck(data);
    let mut program = Program::new(&mut luck, world);
    while !luck.is_empty() && program.steps() < STEPS_MAX {
        let what = luck.below(OPERATIONS.len() + 4);
        if what >= OPERATIONS.len() {
            program.strike(&mut luck);
            continue;
        }
        let (who, rest) = (luck.byte(), luck.byte());
        let number = u32::from(luck.byte()) << 8 | u32::from(luck.byte());
        let said: Vec<String> = match rest % 4 {
            0 => vec![format!("after {}us", 1 + u64::from(rest) * 8)],
            _ => Vec::new(),
        };
        program.step(who.into(), &said, &format!("{} {number}", OPERATIONS[what]));
    }
    program.judge();
}

fn world(luck: &mut Luck<'_>) -> String {
    let flags = luck.byte();
    let keys = [1, 2, 4, 16, 64, 300][luck.below(6)];
    let deadlines = [0, 0, 20, 80][luck.below(4)];
    let checkpoint = [64, 96, 128, 256][luck.below(4)];
    let every = [10, 20, 80, 60_000][luck.below(4)];
    let inline = [64, 100, 300, 512][luck.below(4)];
    let cache = 64 + luck.below(128);
    let durability = match flags >> 2 & 3 {
        0 => "durability = \"buffered\"\nwindow = \"300ms\"\n",
        _ => "",
    };
    format!(
        "[world]\nbuggify = {}\nduration = \"0\"\nsettle = \"20s\"\n\n[world.engine]\n\
         {durability}keys = \"{keys}\"\ndeadlines = \"{deadlines}%\"\nttl = \"1ms..2s\"\n\
         cache-pages = \"{cache}\"\ncheckpoint = \"{checkpoint}KiB\"\n\
         checkpoint-every = \"{every}ms\"\ninline = \"{inline}B\"\nupkeep = \"{}\"\n\n{}",
        flags & 1 == 1,
        flags >> 1 & 1,
        disk(luck)
    )
}

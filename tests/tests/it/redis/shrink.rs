//! Making a program smaller while its answers still differ.

use super::program::{Program, Step};

/// The smallest that can be reached by leaving out steps, then words.
pub(super) fn shrink(mut program: Program, mut differs: impl FnMut(&Program) -> bool) -> Program {
    loop {
        let before = size(&program);
        let mut run = program.steps.len().div_ceil(2);
        while run > 0 {
            let mut at = 0;
            while at < program.steps.len() {
                let mut smaller = program.clone();
                smaller.steps.drain(at..(at + run).min(program.steps.len()));
                match differs(&smaller) {
                    true => program = smaller,
                    false => at += run,
                }
            }
            run /= 2;
        }
        for step in 0..program.steps.len() {
            let mut word = program.steps[step].words().len();
            while word > 1 {
                word -= 1;
                let mut smaller = program.clone();
                if let Step::Command(words) | Step::Inline(words) = &mut smaller.steps[step] {
                    words.remove(word);
                }
                if differs(&smaller) {
                    program = smaller;
                }
            }
        }
        if size(&program) == before {
            return program;
        }
    }
}

fn size(program: &Program) -> usize {
    program.steps.iter().map(|step| 1 + step.words().len()).sum()
}

#[test]
fn what_is_left_is_what_it_takes() {
    let word = |text: &str| text.as_bytes().to_vec();
    let command = |texts: &[&str]| Step::Command(texts.iter().copied().map(word).collect());
    let steps = (0..20).map(|n| command(&["SET", &n.to_string(), "v"]));
    let program = Program { steps: steps.chain([command(&["GET", "7"])]).collect() };
    let small = shrink(program, |program| {
        let has = |name: &str, key: &str| {
            program.steps.iter().any(|step| step.is(name) && step.words().contains(&word(key)))
        };
        has("SET", "7") && has("GET", "7")
    });
    assert_eq!(small.script(), "FLUSHALL\nSET 7\nGET 7");
}

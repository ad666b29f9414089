//! The page that says how soon each planted defect is noticed, and how small it can be shown.

use super::mutants::Fate;

/// What stands above the table.
const HEAD: &str = "\
# The gauntlet

Each planted defect, what noticed it, after how many seeds and seconds of processor time, and how
small the failing seed could be made: operations, faults (strikes, rates above zero, wrong clocks),
machines, seconds of real time, and of the schedules it was then tried under, how many fail. Leaks
are noticed by comparing two runs and have nothing to shrink. Made by
`cargo xtask sim mutants --scoreboard docs/src/gauntlet.md`; the figures of another machine differ.

| defect | noticed by | scenario | seeds | cpu s | ops | faults | hosts | shrink s | schedules |
|---|---|---|--:|--:|--:|--:|--:|--:|--:|
";

/// The page.
pub(super) fn page(fates: &[Fate]) -> String {
    let mut page = HEAD.to_owned();
    for fate in fates {
        let by =
            fate.killed_by.as_deref().map_or("**survives**".to_owned(), |by| format!("`{by}`"));
        let cpu = fate.cpu.as_secs_f64();
        page +=
            &format!("| `{}` | {by} | {} | {} | {cpu:.2} ", fate.name, fate.scenario, fate.seeds);
        page += &match &fate.small {
            Some(Ok(small)) => {
                let (took, (failures, of)) = (small.took.as_secs_f64(), small.failures);
                let (ops, faults, hosts) = (small.ops, small.faults, small.hosts);
                format!("| {ops} | {faults} | {hosts} | {took:.1} | {failures} of {of} |\n")
            }
            Some(Err(why)) => format!("| | | | | {why} |\n"),
            None => "| | | | | |\n".to_owned(),
        };
    }
    let small: Vec<_> =
        fates.iter().filter_map(|fate| fate.small.as_ref()?.as_ref().ok()).collect();
    let of = |value: fn(&super::mutants::Small) -> f64| {
        median(small.iter().map(|small| value(small)).collect())
    };
    let cpu = median(fates.iter().map(|fate| fate.cpu.as_secs_f64()).collect());
    let noticed = fates.iter().filter(|fate| fate.killed_by.is_some()).count();
    page += &format!(
        "\n{noticed} of {} are noticed, in {cpu:.2} s of processor time at the median. {} were \
         made small: at the median {} operations, {} faults, {} hosts, in {:.1} s.\n",
        fates.len(),
        small.len(),
        of(|small| small.ops as f64),
        of(|small| small.faults as f64),
        of(|small| small.hosts as f64),
        of(|small| small.took.as_secs_f64()),
    );
    page
}

/// The middle of some numbers; 0 of none.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => 0.0,
        len if len % 2 == 1 => numbers[len / 2],
        len => f64::midpoint(numbers[len / 2 - 1], numbers[len / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).abs() < 1e-9);
    }
}

//! The report as one page that needs nothing else: no network, no script, no library.

use std::fmt::Write;

use super::{
    Campaign, Group, Seen,
    text::{escaped, number},
};

/// The places of a report, each kind with a title, in the order in which they matter.
const KINDS: &[(&str, &str, &str)] = &[
    (
        "shape",
        "Shapes of data",
        "What the workloads mean to make. One that was never made, by a workload that had its \
         number of \
         runs, fails the campaign: green seeds say nothing about it.",
    ),
    ("sometimes", "Sometimes", "Conditions in the code that are to hold at least once."),
    ("reachable", "Reachable", "Places in the code that are to be passed at least once."),
    ("buggify", "Rare paths", "Rare but legal paths that the code was made to take."),
];

/// The page.
pub fn page(campaign: &Campaign) -> String {
    let mut page = String::new();
    let verdict = match (campaign.failures.len(), campaign.starved().len()) {
        (0, 0) => "<span class=\"verdict\">every promise held</span>".to_owned(),
        (0, starved) => format!("<span class=\"verdict bad\">{starved} shapes starved</span>"),
        (ways, _) => format!("<span class=\"verdict bad\">failed in {ways} ways</span>"),
    };
    let title = format!("Campaign of {} runs", number(campaign.runs()));
    page += "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    page += &format!("<title>{title}</title>\n<style>\n{}</style>\n", include_str!("page.css"));
    page += &format!("</head>\n<body>\n<h1>{title}{verdict}</h1>\n");
    page += &head(campaign);
    page += &failures(campaign);
    page += &curve(campaign);
    page += &scenarios(campaign);
    page += &schedulers(campaign);
    page += &faults(campaign);
    for (kind, title, about) in KINDS {
        page += &places(campaign, kind, title, about);
    }
    page += "<footer>Made by <code>cargo xtask sim campaign --report DIR</code>; \
             the same as JSON is in <code>report.json</code>.</footer>\n</body>\n</html>\n";
    page
}

fn tile(value: &str, name: &str) -> String {
    format!("<div class=\"tile\"><b>{}</b><span>{}</span></div>\n", escaped(value), escaped(name))
}

fn head(campaign: &Campaign) -> String {
    let order = &campaign.order;
    let seeds = match order.until {
        Some(until) => format!("seeds {} to {}", number(order.from), number(until - 1)),
        None => format!("seeds from {}", number(order.from)),
    };
    let how = if order.steered { ", half of the runs steered" } else { "" };
    let mutant = order.mutant.as_ref().map(|m| format!(", with the planted defect {m}"));
    let about = format!(
        "{} scenarios, {seeds}{how}{}; commit {}, {} at a time.",
        campaign.parts.len(),
        mutant.unwrap_or_default(),
        campaign.commit,
        campaign.jobs
    );
    let simulated: u64 = campaign.parts.iter().map(|part| part.virtual_ms).sum();
    let cpu: u64 = campaign.parts.iter().map(|part| part.cpu_us).sum();
    let events: u64 = campaign.parts.iter().map(|part| part.events).sum();
    let met = |kind: &str| {
        let places = campaign.places.get(kind).into_iter().flatten();
        let (met, all) = places.fold((0, 0), |(m, n), (_, s)| (m + u64::from(s.runs > 0), n + 1));
        format!("{met} / {all}")
    };
    let injected = campaign.faults.values().filter(|seen| seen.runs > 0).count();
    let mut page = format!("<p>{}</p>\n<div class=\"tiles\">\n", escaped(&about));
    page += &tile(&number(campaign.runs()), "runs");
    page += &tile(&number(campaign.failed()), "failed runs");
    page += &tile(&campaign.failures.len().to_string(), "ways to fail");
    page += &tile(&fraction(campaign.runs() * 1_000, campaign.real_ms), "runs a second");
    page += &tile(&fraction(campaign.runs() * 1_000, campaign.cpu_ms), "runs a core-second");
    page += &tile(&format!("{}x", fraction(simulated * 1_000, cpu)), "simulated / core time");
    page += &tile(&length(simulated), "simulated");
    page += &tile(&length(campaign.real_ms), "real time");
    page += &tile(&number(events), "events");
    page += &tile(&met("shape"), "shapes made");
    page += &tile(&met("sometimes"), "sometimes met");
    page += &tile(&format!("{injected} / {}", campaign.faults.len()), "fault classes");
    page += &tile(&number(campaign.rerun), "run again elsewhere");
    page += "</div>\n<nav><a href=\"#failures\">Failures</a><a href=\"#found\">When it was met</a>";
    page += "<a href=\"#scenarios\">Scenarios</a><a href=\"#schedulers\">Schedulers</a>";
    page += "<a href=\"#faults\">Faults</a>";
    for (kind, title, _) in KINDS.iter().filter(|(kind, ..)| campaign.places.contains_key(*kind)) {
        page += &format!("<a href=\"#{kind}\">{title}</a>");
    }
    page + "</nav>\n"
}

fn failures(campaign: &Campaign) -> String {
    let mut page = "<h2 id=\"failures\">Failures by signature</h2>\n".to_owned();
    let starved = campaign.starved();
    if !starved.is_empty() {
        page += &format!(
            "<div class=\"failure\"><h3>Starved: {} shapes were never made</h3>{}</div>\n",
            starved.len(),
            escaped(&starved.join("; "))
        );
    }
    if campaign.failures.is_empty() {
        page += "<p>None.</p>\n";
    }
    campaign.failures.iter().for_each(|group| page += &failure(group));
    page
}

fn failure(group: &Group) -> String {
    let example = &group.example;
    let scenarios: Vec<String> =
        group.scenarios.iter().map(|(name, count)| format!("{name} {}", number(*count))).collect();
    let mut rows = String::new();
    let mut row = |name: &str, text: &str| {
        let _ = write!(rows, "<dt>{name}</dt><dd>{}</dd>", escaped(text));
    };
    row("promise", &group.promise);
    row("evidence", &example.evidence);
    if !example.also.is_empty() {
        row("also broken", &example.also.join(", "));
    }
    row("where", &scenarios.join(", "));
    row(
        "shortest",
        &format!(
            "seed {} of {} under {}: {} events, broken at {:.6} s of {:.3} s simulated, digest {}",
            example.job.seed,
            example.job.scenario,
            example.scheduler,
            number(example.events),
            example.when_us as f64 / 1e6,
            example.virtual_ms as f64 / 1e3,
            example.trace_hash
        ),
    );
    row(
        "first",
        &format!(
            "run {} of {}, at commit {}",
            number(group.first.after),
            group.first.job.scenario,
            group.first_commit
        ),
    );
    format!(
        "<div class=\"failure\" id=\"{id}\"><h3>{count} &times; {signature} \
         <span class=\"mono\">{id}</span></h3><dl>{rows}<dt>replay</dt>\
         <dd><code class=\"replay\">{replay}</code></dd></dl></div>\n",
        id = escaped(&group.id),
        count = number(group.count),
        signature = escaped(&group.signature),
        replay = escaped(&example.replay)
    )
}

/// How many places had been met after so many runs of a scenario, runs on a scale of powers.
fn curve(campaign: &Campaign) -> String {
    const WIDTH: f64 = 1_000.0;
    const HEIGHT: f64 = 190.0;
    const LEFT: f64 = 40.0;
    const FOOT: f64 = 24.0;
    let colours = ["#3b6fb6", "#2c9c6a", "#b7791f", "#8f5fbf"];
    let runs = campaign.parts.iter().map(|part| part.runs).max().unwrap_or(1).max(2) as f64;
    let x = |after: f64| LEFT + (after.max(1.0).ln() / runs.ln()).min(1.0) * (WIDTH - LEFT - 10.0);
    let y = |share: f64| 8.0 + (1.0 - share) * HEIGHT;
    let mut lines = String::new();
    let mut legend = String::new();
    for ((kind, title, _), colour) in KINDS.iter().zip(colours) {
        let Some(places) = campaign.places.get(*kind).filter(|places| !places.is_empty()) else {
            continue;
        };
        let mut firsts: Vec<u64> =
            places.values().filter_map(|seen| Some(seen.first.as_ref()?.after)).collect();
        firsts.sort_unstable();
        let mut path = format!("M{:.1} {:.1}", x(1.0), y(0.0));
        for (met, after) in firsts.iter().enumerate() {
            let share = (met + 1) as f64 / places.len() as f64;
            let _ = write!(path, "H{:.1}V{:.1}", x(*after as f64), y(share));
        }
        let _ = write!(path, "H{:.1}", x(runs));
        let _ = write!(
            lines,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        let _ = write!(legend, "<i style=\"background:{colour}\"></i>{title} ({})", places.len());
    }
    let mut axes = String::new();
    for percent in [0_u32, 50, 100] {
        let at = y(f64::from(percent) / 100.0);
        let _ = write!(
            axes,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"currentColor\" \
             stroke-opacity=\".15\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %\
              </text>",
            WIDTH - 10.0,
            LEFT - 6.0,
            at + 4.0
        );
    }
    let mut tick = 1_u64;
    while tick as f64 <= runs {
        let _ = write!(
            axes,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(tick as f64),
            HEIGHT + FOOT,
            number(tick)
        );
        tick *= 10;
    }
    format!(
        "<h2 id=\"found\">When it was met</h2>\n<p>Share of the places that had been met after so \
         many runs of one scenario. A line that still rises at its right end says that more seeds \
         would meet more.</p>\n<svg class=\"curve\" viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" \
         aria-label=\"places met by runs\">{axes}{lines}</svg>\n<p class=\"legend\">{legend}</p>\n",
        HEIGHT + FOOT + 8.0
    )
}

/// A bar as long as `share` of its place.
fn bar(part: u64, whole: u64, colour: &str) -> String {
    let share = if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 };
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\"><rect \
         width=\"100\" \
         height=\"10\" fill=\"var(--tint)\"/><rect width=\"{share:.2}\" height=\"10\" \
         fill=\"var({colour})\"/></svg>"
    )
}

fn scenarios(campaign: &Campaign) -> String {
    let mut page = "<h2 id=\"scenarios\">Scenarios</h2>\n<p>Every scenario gets the same share \
     of the \
                    processor, not of the seeds.</p>\n<div class=\"scroll\"><table><tr>\
                     <th>scenario</th>\
                    <th>workload</th><th class=\"n\">runs</th><th class=\"n\">failed</th>\
                    <th class=\"n\">core time</th><th></th><th class=\"n\">ms a run</th>\
                    <th class=\"n\">runs a core-second</th><th class=\"n\">simulated / core time\
                     </th>\
                    <th class=\"n\">events a run</th><th class=\"n\">requests</th>\
                    <th class=\"n\">answered</th></tr>\n"
        .to_owned();
    let most = campaign.parts.iter().map(|part| part.cpu_us).max().unwrap_or(0);
    for part in &campaign.parts {
        let failed = if part.failed > 0 { " bad" } else { "" };
        let answered = if part.requests == 0 {
            String::new()
        } else {
            format!("{} %", fraction(part.answered * 100, part.requests))
        };
        let _ = writeln!(
            page,
            "<tr><td class=\"name\">{}</td><td>{}</td><td class=\"n\">{}</td>\
             <td class=\"n{failed}\">{}</td><td class=\"n\">{:.1} s</td><td>{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}x</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{answered}</td></tr>",
            escaped(&part.name),
            part.workload.name(),
            number(part.runs),
            number(part.failed),
            part.cpu_us as f64 / 1e6,
            bar(part.cpu_us, most, "--bar"),
            fraction(part.cpu_us, part.runs * 1_000),
            fraction(part.runs * 1_000_000, part.cpu_us),
            fraction(part.virtual_ms * 1_000, part.cpu_us),
            number(part.events / part.runs.max(1)),
            number(part.requests)
        );
    }
    page + "</table></div>\n"
}

fn schedulers(campaign: &Campaign) -> String {
    let mut page = "<h2 id=\"schedulers\">Schedulers</h2>\n<div class=\"scroll\"><table><tr>\
                    <th>scheduler</th><th class=\"n\">runs</th><th></th><th class=\"n\">failed</th>\
                    <th class=\"n\">failed a million runs</th><th class=\"n\">events</th></tr>\n"
        .to_owned();
    for (name, share) in &campaign.schedulers {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escaped(name),
            number(share.runs),
            bar(share.runs, campaign.runs(), "--bar"),
            number(share.failed),
            number(share.failed * 1_000_000 / share.runs.max(1)),
            number(share.events)
        );
    }
    page + "</table></div>\n"
}

fn faults(campaign: &Campaign) -> String {
    let idle = |seen: &Seen| seen.enabled > 0 && seen.runs == 0;
    let mut rows: Vec<(&String, &Seen)> = campaign.faults.iter().collect();
    rows.sort_by_key(|(name, seen)| (!idle(seen), seen.enabled == 0, seen.runs, *name));
    let mut page = "<h2 id=\"faults\">Faults by class</h2>\n<p>Red: meant to strike, and never \
     did. Grey: no \
                    run was to have it.</p>\n<div class=\"scroll\"><table><tr><th>class</th>\
                    <th class=\"n\">injected</th><th class=\"n\">in runs</th><th></th>\
                    <th class=\"n\">meant in runs</th><th class=\"n\">first after</th><th>by</th>\
                     </tr>\n"
        .to_owned();
    for (name, seen) in rows {
        let class = match (idle(seen), seen.enabled) {
            (true, _) => "never",
            (false, 0) => "idle",
            _ => "",
        };
        let _ = writeln!(
            page,
            "<tr class=\"{class}\"><td class=\"name\">{}</td><td class=\"n\">{}</td><td \
             class=\"n\">{}</td>\
             <td>{}</td><td class=\"n\">{}</td>{}</tr>",
            escaped(name),
            number(seen.times),
            number(seen.runs),
            bar(seen.runs, seen.enabled, "--bar"),
            number(seen.enabled),
            first(seen)
        );
    }
    page + "</table></div>\n"
}

/// Two cells: how many runs the first took, and which it was.
fn first(seen: &Seen) -> String {
    match &seen.first {
        None => "<td class=\"n\">never</td><td></td>".to_owned(),
        Some(first) => format!(
            "<td class=\"n\">{}</td><td class=\"mono\">{} {}</td>",
            number(first.after),
            escaped(&first.job.scenario),
            first.job.seed
        ),
    }
}

fn places(campaign: &Campaign, kind: &str, title: &str, about: &str) -> String {
    let Some(places) = campaign.places.get(kind).filter(|places| !places.is_empty()) else {
        return String::new();
    };
    let mut rows: Vec<(&String, &Seen)> = places.iter().collect();
    // What starves comes first.
    rows.sort_by_key(|(name, seen)| (seen.runs, *name));
    let never = rows.iter().filter(|(_, seen)| seen.runs == 0).count();
    let never = match never {
        0 => "<span class=\"good\">All were met.</span>".to_owned(),
        n => format!("<span class=\"bad\">{n} of {} never met.</span>", rows.len()),
    };
    let mut page = format!(
        "<h2 id=\"{kind}\">{title}</h2>\n<p>{about} {never}</p>\n<div class=\"scroll\"><table><tr>\
         <th>place</th><th class=\"n\">times</th><th class=\"n\">in runs</th><th></th>\
         <th class=\"n\">first after</th><th>by</th></tr>\n"
    );
    for (name, seen) in rows {
        let class = if seen.runs == 0 { "never" } else { "" };
        let _ = writeln!(
            page,
            "<tr class=\"{class}\"><td class=\"name\">{}</td><td class=\"n\">{}</td><td \
             class=\"n\">{}</td>\
             <td>{}</td>{}</tr>",
            escaped(name),
            number(seen.times),
            number(seen.runs),
            bar(seen.runs, campaign.runs(), "--bar"),
            first(seen)
        );
    }
    page + "</table></div>\n"
}

/// A quotient with as many digits as say something.
fn fraction(n: u64, d: u64) -> String {
    if d == 0 {
        return "-".to_owned();
    }
    let quotient = n as f64 / d as f64;
    match quotient {
        q if q >= 100.0 => number(q.round() as u64),
        q if q >= 10.0 => format!("{q:.1}"),
        q => format!("{q:.2}"),
    }
}

/// A time in the unit in which it is short.
fn length(ms: u64) -> String {
    let seconds = ms as f64 / 1_000.0;
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}

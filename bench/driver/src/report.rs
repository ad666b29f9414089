//! Comparisons, as a table for people or one JSON object a line for programs.

use serde_json::json;

/// One measured row beside the same row of a peer.
pub(crate) struct Comparison {
    /// The row.
    pub(crate) bench: String,
    /// What we measured, in `unit`; `None` when we have nothing of the kind yet.
    pub(crate) ours: Option<f64>,
    /// What the peer measured, in `unit`.
    pub(crate) peer: f64,
    /// Who the peer is.
    pub(crate) peer_name: String,
    /// How many times better ours is: above one, we are ahead. `None` without ours.
    pub(crate) ratio: Option<f64>,
    /// Unit of both figures.
    pub(crate) unit: &'static str,
}

impl Comparison {
    /// Compares costs: less is better.
    pub(crate) fn cost(
        bench: &str,
        ours: impl Into<Option<f64>>,
        peer: f64,
        peer_name: &str,
        unit: &'static str,
    ) -> Comparison {
        let (bench, peer_name, ours) = (bench.to_owned(), peer_name.to_owned(), ours.into());
        Comparison { bench, ours, peer, peer_name, ratio: ours.map(|ours| peer / ours), unit }
    }

    /// Compares yields: more is better.
    pub(crate) fn rate(
        bench: &str,
        ours: impl Into<Option<f64>>,
        peer: f64,
        peer_name: &str,
        unit: &'static str,
    ) -> Comparison {
        let (bench, peer_name, ours) = (bench.to_owned(), peer_name.to_owned(), ours.into());
        Comparison { bench, ours, peer, peer_name, ratio: ours.map(|ours| ours / peer), unit }
    }
}

/// Prints comparisons on standard output as they come.
pub(crate) struct Printer {
    json: bool,
}

impl Printer {
    /// Starts a table, or the lines of `json`.
    pub(crate) fn new(json: bool) -> Printer {
        if !json {
            println!(
                "{:<34} {:>10} {:>10} {:<6} {:<6} {:>6}",
                "row", "ours", "peer", "unit", "peer", "ratio"
            );
        }
        Printer { json }
    }

    /// Prints one comparison.
    pub(crate) fn print(&self, comparison: &Comparison) {
        let Comparison { bench, ours, peer, peer_name, ratio, unit } = comparison;
        let (ours, ratio) = (ours.map(significant), ratio.map(significant));
        let peer = significant(*peer);
        if self.json {
            let line = json!({
                "bench": bench, "ours": ours, "peer": peer, "peer_name": peer_name, "ratio": ratio,
            });
            println!("{line}");
        } else {
            let text = |figure: Option<f64>| figure.map_or("-".to_owned(), |it| it.to_string());
            let (ours, ratio) = (text(ours), text(ratio));
            println!("{bench:<34} {ours:>10} {peer:>10} {unit:<6} {peer_name:<6} {ratio:>6}");
        }
    }
}

/// `value` to four significant digits; a benchmark knows no more.
pub(crate) fn significant(value: f64) -> f64 {
    format!("{value:.3e}").parse().expect("a formatted number parses")
}

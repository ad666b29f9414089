//! Comparisons, as a table for people or one JSON object a line for programs.

use serde_json::json;

/// One measured row beside the same row of a peer.
pub(crate) struct Comparison {
    /// The row.
    pub(crate) bench: String,
    /// What we measured, in `unit`.
    pub(crate) ours: f64,
    /// What the peer measured, in `unit`.
    pub(crate) peer: f64,
    /// Who the peer is.
    pub(crate) peer_name: String,
    /// How many times better ours is: above one, we are ahead.
    pub(crate) ratio: f64,
    /// Unit of both figures.
    pub(crate) unit: &'static str,
}

impl Comparison {
    /// Compares costs: less is better.
    pub(crate) fn cost(
        bench: &str,
        ours: f64,
        peer: f64,
        peer_name: &str,
        unit: &'static str,
    ) -> Comparison {
        let (bench, peer_name) = (bench.to_owned(), peer_name.to_owned());
        Comparison { bench, ours, peer, peer_name, ratio: peer / ours, unit }
    }

    /// Compares yields: more is better.
    pub(crate) fn rate(
        bench: &str,
        ours: f64,
        peer: f64,
        peer_name: &str,
        unit: &'static str,
    ) -> Comparison {
        let (bench, peer_name) = (bench.to_owned(), peer_name.to_owned());
        Comparison { bench, ours, peer, peer_name, ratio: ours / peer, unit }
    }
}

/// Prints every comparison on standard output.
pub(crate) fn print(comparisons: &[Comparison], json: bool) {
    if !json {
        println!(
            "{:<34} {:>12} {:>12} {:<9} {:<12} {:>7}",
            "row", "ours", "peer", "unit", "", "ratio"
        );
    }
    for Comparison { bench, ours, peer, peer_name, ratio, unit } in comparisons {
        if json {
            let line = json!({
                "bench": bench,
                "ours": significant(*ours),
                "peer": significant(*peer),
                "peer_name": peer_name,
                "ratio": significant(*ratio),
            });
            println!("{line}");
        } else {
            println!(
                "{bench:<34} {:>12} {:>12} {unit:<9} {peer_name:<12} {:>7}",
                significant(*ours),
                significant(*peer),
                significant(*ratio),
            );
        }
    }
}

/// `value` to four significant digits; a benchmark knows no more.
pub(crate) fn significant(value: f64) -> f64 {
    format!("{value:.3e}").parse().expect("a formatted number parses")
}

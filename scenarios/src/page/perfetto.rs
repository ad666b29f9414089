//! A run in the JSON form of Chrome's trace events, which Perfetto's viewer opens.
//!
//! Source: "Trace Event Format" (the Chromium project). Hosts are processes, tasks are threads,
//! operations and disk operations are asynchronous slices, messages are flows.

use std::collections::BTreeMap;

use orloj_sim::graph::{Event, Graph, Kind};
use serde_json::{Value, json};

/// The run as one JSON object.
pub fn render(graph: &Graph) -> String {
    let mut threads: BTreeMap<(u32, &str), usize> = BTreeMap::new();
    for event in &graph.events {
        let next = threads.len() + 1;
        threads.entry((event.host, name(event))).or_insert(next);
    }
    let process = |host: u32| if host == orloj_sim::graph::NO_HOST { 0 } else { host + 1 };
    let mut out: Vec<Value> = Vec::new();
    for (host, title) in graph.hosts.iter().enumerate() {
        let args = json!({ "name": title });
        out.push(json!({ "ph": "M", "name": "process_name", "pid": host + 1, "args": args }));
    }
    let args = json!({ "name": "world" });
    out.push(json!({ "ph": "M", "name": "process_name", "pid": 0, "args": args }));
    for ((host, title), thread) in &threads {
        let args = json!({ "name": title });
        let pid = process(*host);
        let row = json!({
            "ph": "M", "name": "thread_name", "pid": pid, "tid": thread, "args": args
        });
        out.push(row);
    }
    for (event, id) in graph.events.iter().zip(0u32..) {
        let place = |e: &Event| (process(e.host), threads[&(e.host, name(e))]);
        let (pid, tid) = place(event);
        let ts = event.at as f64 / 1e3;
        let other = event.of.map(|of| &graph.events[of as usize]);
        let kind = event.kind.name();
        match (event.kind, other) {
            (Kind::Turn, _) => out.push(json!({
                "ph": "X", "name": event.actor, "cat": kind, "pid": pid, "tid": tid,
                "ts": ts, "dur": 0.05, "args": { "why": event.text }
            })),
            (Kind::End | Kind::DiskDone | Kind::Synced, Some(begun)) => {
                let (pid, tid) = place(begun);
                let title = if event.kind == Kind::End { &begun.text } else { &event.text };
                let slice = |ph: &str, at: u64| {
                    json!({
                        "ph": ph, "name": title, "cat": kind, "id": id, "pid": pid, "tid": tid,
                        "ts": at as f64 / 1e3, "args": { "end": event.text }
                    })
                };
                out.extend([slice("b", begun.at), slice("e", event.at)]);
            }
            _ => out.push(json!({
                "ph": "i", "s": "t", "name": format!("{kind} {}", event.text), "cat": kind,
                "pid": pid, "tid": tid, "ts": ts
            })),
        }
        if let (Kind::Deliver, Some(sent)) = (event.kind, other) {
            let (from, thread) = place(sent);
            out.push(json!({
                "ph": "s", "name": "message", "cat": "net", "id": id, "pid": from, "tid": thread,
                "ts": sent.at as f64 / 1e3
            }));
            out.push(json!({
                "ph": "f", "bp": "e", "name": "message", "cat": "net", "id": id, "pid": pid,
                "tid": tid, "ts": ts
            }));
        }
    }
    json!({ "traceEvents": out, "displayTimeUnit": "ns" }).to_string()
}

fn name(event: &Event) -> &str {
    if event.actor.is_empty() { "network" } else { event.actor }
}

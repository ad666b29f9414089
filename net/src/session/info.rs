//! INFO: the server described in lines of `name:value`, in sections.

use std::fmt::Write;

use bytes::Bytes;

use super::{REDIS_VERSION, ServerFacts};

/// A section: its title, and what appends its lines.
type Section = (&'static str, fn(&ServerFacts, &mut String) -> std::fmt::Result);

const SECTIONS: [Section; 8] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("Cluster", cluster),
    ("Keyspace", keyspace),
];

/// The sections wanted, in a fixed order; all of them if none is named, or `all`, `everything` or
/// `default` is.
pub(super) fn render(facts: &ServerFacts, wanted: &[Bytes]) -> String {
    let named = |name: &str| wanted.iter().any(|want| want.eq_ignore_ascii_case(name.as_bytes()));
    let all = wanted.is_empty() || ["all", "everything", "default"].into_iter().any(named);
    let mut text = String::new();
    for (title, lines) in SECTIONS {
        if all || named(title) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            // Writing to a string cannot fail.
            let _ = write!(text, "# {title}\r\n").and_then(|()| lines(facts, &mut text));
        }
    }
    text
}

fn server(facts: &ServerFacts, text: &mut String) -> std::fmt::Result {
    let uptime = facts.uptime.as_secs();
    write!(text, "redis_version:{REDIS_VERSION}\r\n")?;
    write!(text, "orloj_version:{}\r\n", facts.version)?;
    write!(text, "redis_mode:standalone\r\n")?;
    write!(text, "arch_bits:64\r\n")?;
    write!(text, "process_id:{}\r\n", facts.process_id)?;
    write!(text, "run_id:{}\r\n", facts.run_id)?;
    write!(text, "tcp_port:{}\r\n", facts.port)?;
    write!(text, "server_time_usec:{}\r\n", facts.now_micros)?;
    write!(text, "uptime_in_seconds:{uptime}\r\n")?;
    write!(text, "uptime_in_days:{}\r\n", uptime / 86_400)
}

fn clients(facts: &ServerFacts, text: &mut String) -> std::fmt::Result {
    write!(text, "connected_clients:{}\r\n", facts.connections)?;
    write!(text, "blocked_clients:0\r\n")
}

fn memory(facts: &ServerFacts, text: &mut String) -> std::fmt::Result {
    write!(text, "used_memory:{}\r\n", facts.memory_used)?;
    write!(text, "maxmemory:0\r\n")?;
    write!(text, "maxmemory_policy:noeviction\r\n")
}

fn persistence(facts: &ServerFacts, text: &mut String) -> std::fmt::Result {
    write!(text, "loading:{}\r\n", u8::from(facts.loading))?;
    write!(text, "durability:{}\r\n", facts.durability)
}

fn stats(facts: &ServerFacts, text: &mut String) -> std::fmt::Result {
    write!(text, "total_connections_received:{}\r\n", facts.connections_total)?;
    write!(text, "total_commands_processed:{}\r\n", facts.commands_total)
}

fn replication(_: &ServerFacts, text: &mut String) -> std::fmt::Result {
    write!(text, "role:master\r\n")?;
    write!(text, "connected_slaves:0\r\n")
}

fn cluster(_: &ServerFacts, text: &mut String) -> std::fmt::Result {
    write!(text, "cluster_enabled:0\r\n")
}

fn keyspace(facts: &ServerFacts, text: &mut String) -> std::fmt::Result {
    let (keys, expiring) = (facts.keys, facts.keys_expiring);
    // Redis leaves out a database without keys.
    if keys == 0 {
        return Ok(());
    }
    write!(text, "db0:keys={keys},expires={expiring},avg_ttl=0\r\n")
}

//! Hosts, faults, workload and laws, wired from TOML; the sim binary.

//! The ports bound to a machine: tokio tasks, sockets, files, OS entropy.

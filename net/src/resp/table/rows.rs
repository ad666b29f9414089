//! The rows of the table.

use super::{Spec, row, sub};
use crate::resp::request::{data, local};

pub(super) const NO_KEYS: [i8; 3] = [0, 0, 0];
const ONE_KEY: [i8; 3] = [1, 1, 1];
const ALL_KEYS: [i8; 3] = [1, -1, 1];
const EVERY_OTHER: [i8; 3] = [1, -1, 2];

const READ: &[&str] = &["readonly", "fast"];
const READ_SLOW: &[&str] = &["readonly"];
const WRITE: &[&str] = &["write", "denyoom"];
const WRITE_FAST: &[&str] = &["write", "denyoom", "fast"];
const REMOVE: &[&str] = &["write"];
const REMOVE_FAST: &[&str] = &["write", "fast"];
pub(super) const CALM: &[&str] = &["loading", "stale"];
const CALM_FAST: &[&str] = &["loading", "stale", "fast"];
const DOOR: &[&str] = &["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"];

/// Every command, by group and then by name.
pub static COMMANDS: [Spec; 44] = [
    // Strings.
    row("append", 3, WRITE_FAST, ONE_KEY, data::append).doc(
        "string",
        "2.0.0",
        "key value",
        "Appends to a value and returns its new length.",
    ),
    row("decr", 2, WRITE_FAST, ONE_KEY, data::decr).doc(
        "string",
        "1.0.0",
        "key",
        "Subtracts one from an integer.",
    ),
    row("decrby", 3, WRITE_FAST, ONE_KEY, data::decrby).doc(
        "string",
        "1.0.0",
        "key decrement",
        "Subtracts from an integer.",
    ),
    row("get", 2, READ, ONE_KEY, data::get).doc("string", "1.0.0", "key", "Returns a value."),
    row("getdel", 2, REMOVE_FAST, ONE_KEY, data::getdel).doc(
        "string",
        "6.2.0",
        "key",
        "Returns a value and removes its key.",
    ),
    row("getset", 3, WRITE_FAST, ONE_KEY, data::getset).doc(
        "string",
        "1.0.0",
        "key value",
        "Stores a value and returns the one before.",
    ),
    row("incr", 2, WRITE_FAST, ONE_KEY, data::incr).doc(
        "string",
        "1.0.0",
        "key",
        "Adds one to an integer.",
    ),
    row("incrby", 3, WRITE_FAST, ONE_KEY, data::incrby).doc(
        "string",
        "1.0.0",
        "key increment",
        "Adds to an integer.",
    ),
    row("mget", -2, READ, ALL_KEYS, data::mget).doc(
        "string",
        "1.0.0",
        "key [key ...]",
        "Returns several values of one moment.",
    ),
    row("mset", -3, WRITE, EVERY_OTHER, data::mset).doc(
        "string",
        "1.0.1",
        "key value [key value ...]",
        "Stores several values at once.",
    ),
    row("psetex", 4, WRITE, ONE_KEY, data::psetex).doc(
        "string",
        "2.6.0",
        "key milliseconds value",
        "Stores a value for a time.",
    ),
    row("set", -3, WRITE, ONE_KEY, data::set).doc(
        "string",
        "1.0.0",
        "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
         PXAT unix-time-milliseconds | KEEPTTL]",
        "Stores a value, perhaps for a time, perhaps on a condition.",
    ),
    row("setex", 4, WRITE, ONE_KEY, data::setex).doc(
        "string",
        "2.0.0",
        "key seconds value",
        "Stores a value for a time.",
    ),
    row("strlen", 2, READ, ONE_KEY, data::strlen).doc(
        "string",
        "2.2.0",
        "key",
        "Returns the length of a value.",
    ),
    // Keys.
    row("del", -2, REMOVE, ALL_KEYS, data::del).doc(
        "generic",
        "1.0.0",
        "key [key ...]",
        "Removes keys and returns how many existed.",
    ),
    row("exists", -2, READ, ALL_KEYS, data::exists).doc(
        "generic",
        "1.0.0",
        "key [key ...]",
        "Counts existing keys.",
    ),
    row("expire", -3, REMOVE_FAST, ONE_KEY, data::expire).doc(
        "generic",
        "1.0.0",
        "key seconds [NX | XX | GT | LT]",
        "Sets a key's time to live.",
    ),
    row("expireat", -3, REMOVE_FAST, ONE_KEY, data::expireat).doc(
        "generic",
        "1.2.0",
        "key unix-time-seconds [NX | XX | GT | LT]",
        "Sets the time a key stops existing.",
    ),
    row("expiretime", 2, READ, ONE_KEY, data::expiretime).doc(
        "generic",
        "7.0.0",
        "key",
        "Returns the Unix time in seconds a key stops existing.",
    ),
    row("persist", 2, REMOVE_FAST, ONE_KEY, data::persist).doc(
        "generic",
        "2.2.0",
        "key",
        "Removes a key's time to live.",
    ),
    row("pexpire", -3, REMOVE_FAST, ONE_KEY, data::pexpire).doc(
        "generic",
        "2.6.0",
        "key milliseconds [NX | XX | GT | LT]",
        "Sets a key's time to live.",
    ),
    row("pexpireat", -3, REMOVE_FAST, ONE_KEY, data::pexpireat).doc(
        "generic",
        "2.6.0",
        "key unix-time-milliseconds [NX | XX | GT | LT]",
        "Sets the time a key stops existing.",
    ),
    row("pexpiretime", 2, READ, ONE_KEY, data::pexpiretime).doc(
        "generic",
        "7.0.0",
        "key",
        "Returns the Unix time in milliseconds a key stops existing.",
    ),
    row("pttl", 2, READ, ONE_KEY, data::pttl).doc(
        "generic",
        "2.6.0",
        "key",
        "Returns a key's time to live in milliseconds.",
    ),
    row("scan", -2, READ_SLOW, NO_KEYS, data::scan).doc(
        "generic",
        "2.8.0",
        "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        "Returns one page of keys and the cursor of the next.",
    ),
    row("touch", -2, READ, ALL_KEYS, data::exists).doc(
        "generic",
        "3.2.1",
        "key [key ...]",
        "Counts existing keys.",
    ),
    row("ttl", 2, READ, ONE_KEY, data::ttl).doc(
        "generic",
        "1.0.0",
        "key",
        "Returns a key's time to live in seconds.",
    ),
    row("type", 2, READ, ONE_KEY, data::kind).doc(
        "generic",
        "1.0.0",
        "key",
        "Returns the type of a value.",
    ),
    row("unlink", -2, REMOVE_FAST, ALL_KEYS, data::del).doc(
        "generic",
        "4.0.0",
        "key [key ...]",
        "Removes keys and returns how many existed.",
    ),
    // Server.
    row("command", -1, CALM, NO_KEYS, local::command_all)
        .doc("server", "2.8.13", "", "Describes every command.")
        .with(COMMAND),
    row("config", -2, CALM, NO_KEYS, local::container)
        .doc("server", "2.0.0", "", "A container for configuration commands.")
        .with(CONFIG),
    row("dbsize", 1, READ, NO_KEYS, data::dbsize).doc(
        "server",
        "1.0.0",
        "",
        "Returns how many keys exist.",
    ),
    row("flushall", -1, REMOVE, NO_KEYS, data::flush).doc(
        "server",
        "1.0.0",
        "[ASYNC | SYNC]",
        "Removes every key.",
    ),
    row("flushdb", -1, REMOVE, NO_KEYS, data::flush).doc(
        "server",
        "1.0.0",
        "[ASYNC | SYNC]",
        "Removes every key.",
    ),
    row("info", -1, CALM, NO_KEYS, local::info).doc(
        "server",
        "1.0.0",
        "[section [section ...]]",
        "Describes the server.",
    ),
    row("time", 1, CALM_FAST, NO_KEYS, local::time).doc(
        "server",
        "2.6.0",
        "",
        "Returns the server's clock in seconds and microseconds.",
    ),
    // Connection.
    row("auth", -2, DOOR, NO_KEYS, local::auth).doc(
        "connection",
        "1.0.0",
        "[username] password",
        "Authenticates the connection.",
    ),
    row("client", -2, CALM, NO_KEYS, local::container)
        .doc("connection", "2.4.0", "", "A container for connection commands.")
        .with(CLIENT),
    row("echo", 2, CALM_FAST, NO_KEYS, local::echo).doc(
        "connection",
        "1.0.0",
        "message",
        "Returns the message.",
    ),
    row("hello", -1, DOOR, NO_KEYS, local::hello).doc(
        "connection",
        "6.0.0",
        "[protover [AUTH username password] [SETNAME clientname]]",
        "Switches the protocol and describes the server.",
    ),
    row("ping", -1, CALM_FAST, NO_KEYS, local::ping).doc(
        "connection",
        "1.0.0",
        "[message]",
        "Returns PONG, or the message.",
    ),
    row("quit", -1, DOOR, NO_KEYS, local::quit).doc(
        "connection",
        "1.0.0",
        "",
        "Closes the connection.",
    ),
    row("reset", 1, DOOR, NO_KEYS, local::reset).doc(
        "connection",
        "6.2.0",
        "",
        "Makes the connection as new.",
    ),
    row("select", 2, CALM_FAST, NO_KEYS, local::select).doc(
        "connection",
        "1.0.0",
        "index",
        "Chooses the database; there is one, 0.",
    ),
];

const CLIENT: &[Spec] = &[
    sub("getname", "client|getname", 2, local::client_getname).doc(
        "connection",
        "2.6.9",
        "",
        "Returns the connection's name.",
    ),
    sub("help", "client|help", 2, local::client_help).doc(
        "connection",
        "5.0.0",
        "",
        "Lists the subcommands.",
    ),
    sub("id", "client|id", 2, local::client_id).doc(
        "connection",
        "5.0.0",
        "",
        "Returns the connection's number.",
    ),
    sub("info", "client|info", 2, local::client_info).doc(
        "connection",
        "6.2.0",
        "",
        "Describes the connection.",
    ),
    sub("no-evict", "client|no-evict", 3, local::client_hint).doc(
        "connection",
        "7.0.0",
        "ON | OFF",
        "Accepted and without effect.",
    ),
    sub("no-touch", "client|no-touch", 3, local::client_hint).doc(
        "connection",
        "7.2.0",
        "ON | OFF",
        "Accepted and without effect.",
    ),
    sub("reply", "client|reply", 3, local::client_reply).doc(
        "connection",
        "3.2.0",
        "ON | OFF | SKIP",
        "Sets whether commands are answered.",
    ),
    sub("setinfo", "client|setinfo", 4, local::client_setinfo).doc(
        "connection",
        "7.2.0",
        "LIB-NAME libname | LIB-VER libver",
        "Tells the server which library is connected.",
    ),
    sub("setname", "client|setname", 3, local::client_setname).doc(
        "connection",
        "2.6.9",
        "connection-name",
        "Names the connection.",
    ),
];

const COMMAND: &[Spec] = &[
    sub("count", "command|count", 2, local::command_count).doc(
        "server",
        "2.8.13",
        "",
        "Returns how many commands there are.",
    ),
    sub("docs", "command|docs", -2, local::command_docs).doc(
        "server",
        "7.0.0",
        "[command-name ...]",
        "Documents commands.",
    ),
    sub("getkeys", "command|getkeys", -3, local::command_getkeys).doc(
        "server",
        "2.8.13",
        "command [arg ...]",
        "Returns the keys in a command line.",
    ),
    sub("help", "command|help", 2, local::command_help).doc(
        "server",
        "5.0.0",
        "",
        "Lists the subcommands.",
    ),
    sub("info", "command|info", -2, local::command_info).doc(
        "server",
        "2.8.13",
        "[command-name ...]",
        "Describes commands.",
    ),
    sub("list", "command|list", -2, local::command_list).doc(
        "server",
        "7.0.0",
        "[FILTERBY PATTERN pattern]",
        "Lists command names.",
    ),
];

const CONFIG: &[Spec] = &[
    sub("get", "config|get", -3, local::config_get).doc(
        "server",
        "2.0.0",
        "parameter [parameter ...]",
        "Returns settings.",
    ),
    sub("help", "config|help", 2, local::config_help).doc(
        "server",
        "5.0.0",
        "",
        "Lists the subcommands.",
    ),
    sub("resetstat", "config|resetstat", 2, local::config_resetstat).doc(
        "server",
        "2.0.0",
        "",
        "Forgets what was counted.",
    ),
    sub("set", "config|set", -4, local::config_set).doc(
        "server",
        "2.0.0",
        "parameter value [parameter value ...]",
        "Changes settings.",
    ),
];

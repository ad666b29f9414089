"""redis-py against a running orlojd, in RESP2 and in RESP3: `redis_py.py PORT`.

Prints one line for each protocol; the first answer that is not the expected one ends it.
"""

import socket
import sys
import time

import redis
import redis.backoff
import redis.retry

PORT = int(sys.argv[1])


def equal(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")


def refused(what, words, act):
    try:
        got = act()
    except redis.exceptions.RedisError as error:
        if words not in str(error):
            raise AssertionError(f"{what}: {error}, without {words!r}") from error
    else:
        raise AssertionError(f"{what}: got {got!r}, wanted an error with {words!r}")


def text(answer):
    """What redis-py leaves as bytes in one protocol and decodes in the other."""
    if isinstance(answer, list):
        return [text(part) for part in answer]
    return answer.decode() if isinstance(answer, bytes) else answer


def client(protocol, **options):
    # Without an order not to, redis-py tries a refused password again and again.
    once = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    return redis.Redis(port=PORT, protocol=protocol, socket_timeout=20, retry=once, **options)


def the_door(protocol):
    """What a client does before it works, and when it leaves."""
    with client(protocol, client_name="named") as r:
        equal("PING", r.ping(), True)
        equal("ECHO", r.echo(b"\x00\r\n\xff"), b"\x00\r\n\xff")
        equal("CLIENT GETNAME", text(r.client_getname()), "named")
        equal("CLIENT SETNAME", r.client_setname("other"), True)
        equal("CLIENT GETNAME", text(r.client_getname()), "other")
        equal("CLIENT ID", r.client_id() > 0, True)
        equal("CLIENT SETINFO", r.client_setinfo("LIB-NAME", "redis-py"), True)
        equal("CLIENT SETINFO", r.client_setinfo("LIB-VER", "8"), True)
        info = r.client_info()
        equal("CLIENT INFO name", (info["name"], info["lib-name"]), ("other", "redis-py"))
        equal("CLIENT INFO resp", str(info["resp"]), str(protocol))
        refused("CLIENT SETNAME", "cannot contain spaces", lambda: r.client_setname("a b"))
        refused("CLIENT SETINFO", "Unrecognized option", lambda: r.client_setinfo("LIB-X", "8"))
    with client(protocol, single_connection_client=True) as r:
        hello = r.execute_command("HELLO", protocol)
        fields = hello if isinstance(hello, dict) else dict(zip(hello[::2], hello[1::2]))
        equal("HELLO", (fields[b"server"], fields[b"proto"]), (b"redis", protocol))
        refused("HELLO 4", "unsupported protocol version", lambda: r.execute_command("HELLO", 4))
        refused("AUTH", "without any password configured", lambda: r.auth("secret"))
        refused("AUTH", "invalid username-password", lambda: r.auth("secret", "nobody"))
        equal("SELECT 0", r.select(0), True)
        refused("SELECT 1", "DB index is out of range", lambda: r.select(1))
        equal("RESET", text(r.reset()), "RESET")
        equal("QUIT", r.execute_command("QUIT"), True)
    with client(protocol, password="secret") as r:
        if protocol == 2:
            refused("AUTH at the door", "without any password configured", r.ping)
        else:
            # HELLO takes any password of the default user where none is set, as Redis does.
            equal("HELLO AUTH", r.ping(), True)


def the_server(r):
    info = r.info()
    equal("INFO loading", info["loading"], 0)
    equal("INFO redis_version", info["redis_version"].split(".")[0], "7")
    equal("INFO section", "tcp_port" in r.info("server"), True)
    equal("INFO section", "tcp_port" in r.info("keyspace"), False)
    commands = r.command()
    equal("COMMAND", commands["get"]["arity"], 2)
    equal("COMMAND", "readonly" in commands["get"]["flags"], True)
    equal("COMMAND COUNT", r.command_count(), len(commands))
    equal("COMMAND GETKEYS", text(r.command_getkeys("MSET", "a", 1, "b", 2)), ["a", "b"])
    docs = r.execute_command("COMMAND DOCS", "set")
    equal("COMMAND DOCS", len(docs) in (1, 2), True)
    equal("CONFIG GET", r.config_get("maxclients"), {"maxclients": "1000"})
    equal("CONFIG GET", set(r.config_get("save", "append*")) >= {"save", "appendonly"}, True)
    equal("CONFIG SET", r.config_set("maxclients", 9999), True)
    equal("CONFIG GET", r.config_get("maxclients"), {"maxclients": "9999"})
    equal("CONFIG SET", r.config_set("maxclients", 1000), True)
    refused("CONFIG SET", "immutable", lambda: r.config_set("appendonly", "perhaps"))
    refused("CONFIG SET", "nosuch", lambda: r.config_set("nosuch", 1))


def values(r):
    equal("FLUSHALL", r.flushall(), True)
    equal("DBSIZE", r.dbsize(), 0)
    equal("GET nothing", r.get("k"), None)
    equal("SET", r.set("k", b"\x00\xff\r\n"), True)
    equal("GET", r.get("k"), b"\x00\xff\r\n")
    equal("SET NX", r.set("k", "v", nx=True), None)
    equal("SET XX", r.set("absent", "v", xx=True), None)
    equal("SET XX", r.set("k", "v", xx=True), True)
    equal("SET GET", r.set("k", "w", get=True), b"v")
    equal("SET NX GET", r.set("k", "x", nx=True, get=True), b"w")
    equal("SET NX GET", r.set("new", "x", nx=True, get=True), None)
    equal("MSET", r.mset({"a": 1, "b": 2, "c": ""}), True)
    equal("MGET", r.mget("a", "b", "c", "absent"), [b"1", b"2", b"", None])
    equal("EXISTS", r.exists("a", "a", "absent"), 2)
    equal("INCR", r.incr("a"), 2)
    equal("INCR of nothing", r.incr("counter"), 1)
    refused("INCR", "not an integer", lambda: r.incr("k"))
    equal("SET", r.set("most", 2**63 - 1), True)
    refused("INCR", "overflow", lambda: r.incr("most"))
    equal("DEL", r.delete("a", "b", "absent"), 2)
    equal("DBSIZE", r.dbsize(), 5)
    big = bytes(range(256)) * 4096 * 2
    equal("SET 2 MiB", r.set("big", big), True)
    equal("GET 2 MiB", r.get("big") == big, True)
    equal("an empty key", (r.set("", "e"), r.get("")), (True, b"e"))


def expiry(r):
    equal("SET EX", r.set("t", "v", ex=100), True)
    equal("TTL", r.ttl("t") in (99, 100), True)
    equal("SET KEEPTTL", r.set("t", "w", keepttl=True), True)
    equal("PTTL", 98_000 < r.pttl("t") <= 100_000, True)
    equal("SET", r.set("t", "x"), True)
    equal("TTL of no end", r.ttl("t"), -1)
    equal("TTL of nothing", r.ttl("absent"), -2)
    equal("SET PX", r.set("t", "v", px=60), True)
    deadline = time.monotonic() + 10
    while r.get("t") is not None:
        equal("it expires", time.monotonic() < deadline, True)
        time.sleep(0.02)
    equal("EXISTS", r.exists("t"), 0)
    refused("SET EX 0", "invalid expire time", lambda: r.set("t", "v", ex=0))


def pages(r):
    equal("FLUSHALL", r.flushall(), True)
    wanted = {f"key:{n}".encode() for n in range(1000)}
    equal("MSET", r.mset({key: "v" for key in wanted}), True)
    found = list(r.scan_iter(count=37))
    equal("SCAN", (len(found), set(found)), (1000, wanted))
    matching = sorted(r.scan_iter(match="key:99?"))
    equal("SCAN MATCH", matching, [f"key:99{n}".encode() for n in range(10)])
    equal("SCAN", r.scan(0, count=5000)[0], 0)
    refused("SCAN", "invalid cursor", lambda: r.execute_command("SCAN", "nonsense"))


def pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        for n in range(5000):
            pipe.set(f"p:{n}", n)
            pipe.get(f"p:{n}")
        answers = pipe.execute()
    equal("pipeline", answers, [a for n in range(5000) for a in (True, str(n).encode())])
    with r.pipeline(transaction=False) as pipe:
        pipe.set("k", "v").incr("k").execute_command("NOSUCH", "a").get("k").execute_command("GET")
        answers = pipe.execute(raise_on_error=False)
    equal("pipeline with errors", (answers[0], answers[3]), (True, b"v"))
    for at, words in ((1, "not an integer"), (2, "unknown command"), (4, "wrong number of arg")):
        equal("an error in place", words in str(answers[at]), True)


def errors(r):
    refused("unknown", "unknown command", lambda: r.execute_command("NOSUCH", "a", "b"))
    refused("arity", "wrong number of arguments", lambda: r.execute_command("GET"))
    refused("syntax", "syntax error", lambda: r.execute_command("SET", "k", "v", "SOON"))
    refused("syntax", "syntax error", lambda: r.execute_command("SET", "k", "v", "NX", "XX"))
    refused("a long key", "exceeds the maximum", lambda: r.set("k" * 70_000, "v"))
    equal("after errors", r.ping(), True)
    # What is not Redis's protocol is told so, and the connection closed.
    with socket.create_connection(("127.0.0.1", PORT), timeout=20) as raw:
        raw.sendall(b"*1\r\n$4\r\nPING\r\n*1\r\n:4\r\n")
        said = b""
        while piece := raw.recv(4096):
            said += piece
    equal("nonsense", said, b"+PONG\r\n-ERR Protocol error: expected '$', got ':'\r\n")


for protocol in (2, 3):
    the_door(protocol)
    with client(protocol) as r:
        for part in (the_server, values, expiry, pages, pipelines, errors):
            part(r)
    print(f"redis-py {redis.__version__}: RESP{protocol} works")

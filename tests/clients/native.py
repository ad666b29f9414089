"""A client of the native protocol from nothing but the book's page and the schema.

Usage: native.py PORT SCHEMA. Google's compiler makes the tables' code; the rest is below.
"""

import importlib
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile

import flatbuffers

port, schema = int(sys.argv[1]), sys.argv[2]
code = tempfile.TemporaryDirectory()
flatc = pathlib.Path(sys.executable).with_name("flatc")
subprocess.run([flatc, "--python", "-o", code.name, schema], check=True)
sys.path.insert(0, code.name)


def table(name):
    return importlib.import_module(f"orloj.native.{name}")


HELLO, WELCOME, REQUEST, ANSWER, QUESTION, FINDING = range(1, 7)
SUBSCRIBE, SUBSCRIBED, EVENT, CREDITS, UNSUBSCRIBE, ENDED, PING, PONG, GOODBYE = range(7, 16)


def build(builder, name, **fields):
    """One table; texts and bytes are made first, as the format wants."""
    module = table(name)
    made = {}
    for field, value in fields.items():
        if isinstance(value, str):
            value = builder.CreateString(value)
        elif isinstance(value, bytes):
            value = builder.CreateByteVector(value)
        made[field] = value
    module.Start(builder)
    for field, value in made.items():
        getattr(module, f"Add{field}")(builder, value)
    return module.End(builder)


def member(builder, union, name, **fields):
    """A union's two fields."""
    return getattr(getattr(table(union), union), name), build(builder, name, **fields)


class Client:
    def __init__(self):
        self.stream = socket.create_connection(("127.0.0.1", port))
        self.input = self.stream.makefile("rb")

    def send(self, kind, tag, builder, root):
        builder.Finish(root)
        buffer = bytes(builder.Output())
        head = struct.pack("<IBBHQ", 12 + len(buffer), kind, 1, 0, tag)
        self.stream.sendall(head + buffer)

    def say(self, kind, tag, name, **fields):
        builder = flatbuffers.Builder()
        self.send(kind, tag, builder, build(builder, name, **fields))

    def read(self, kind, tag, name):
        length, *head = struct.unpack("<IBBHQ", self.input.read(16))
        buffer = self.input.read(length - 12)
        assert head == [kind, 1, 0, tag], head
        module = getattr(table(name), name)
        return module.GetRootAs(buffer, 0)

    def request(self, tag, name, envelope=None, **fields):
        builder = flatbuffers.Builder()
        kind, call = member(builder, "Call", name, **fields)
        root = build(builder, "Request", CallType=kind, Call=call, **(envelope or {}))
        self.send(REQUEST, tag, builder, root)

    def outcome(self, tag):
        """`(end, value or code, session version, replayed)`."""
        answer = self.read(ANSWER, tag, "Answer")
        assert answer.Credits() == 1
        outcome = answer.Outcome()
        if outcome is None:
            return "refused", answer.Failure().Code(), None, False
        if outcome.End() == 0:
            said = value(outcome)
        else:
            said = outcome.Failure().Code()
        return outcome.End(), said, outcome.SessionVersion(), outcome.Replayed()

    def do(self, name, envelope=None, **fields):
        self.request(1, name, envelope, **fields)
        return self.outcome(1)


def value(holder):
    names = {number: name for name, number in vars(table("Value").Value).items()}
    name = names[holder.ValueType()]
    found = getattr(table(name), name)()
    found.Init(holder.Value().Bytes, holder.Value().Pos)
    if name == "Int":
        return found.Value()
    if name == "Bulk":
        return bytes(found.Bytes(at) for at in range(found.BytesLength()))
    if name == "Word":
        return found.Word()
    if name == "List":
        return [value(found.Items(at)) for at in range(found.ItemsLength())]
    return name


client = Client()
client.say(HELLO, 9, "Hello", Client="native.py")
welcome = client.read(WELCOME, 9, "Welcome")
assert (welcome.Version(), welcome.Credits()) == (1, 256)

assert client.do("Set", Key=b"k", Value=b"v") == (0, "Done", None, False)
assert client.do("Get", Key=b"k") == (0, b"v", None, False)
assert client.do("Get", Key=b"none") == (0, "Nil", None, False)
assert client.do("Type", Key=b"k") == (0, b"string", None, False)
assert client.do("Incr", Key=b"k")[:2] == (1, 1)
assert client.do("Get") == ("refused", 1, None, False)

builder = flatbuffers.Builder()
keys = [build(builder, "Bytes", Bytes=key) for key in (b"k", b"none")]
builder.StartVector(4, len(keys), 4)
for key in reversed(keys):
    builder.PrependUOffsetTRelative(key)
kind, call = member(builder, "Call", "MGet", Keys=builder.EndVector())
client.send(REQUEST, 2, builder, build(builder, "Request", CallType=kind, Call=call))
assert client.outcome(2) == (0, [b"v", "Nil"], None, False)

client.say(SUBSCRIBE, 77, "Subscribe", Session="s", Credits=2)
client.read(SUBSCRIBED, 77, "Subscribed")
# Another connection, so that its answers do not come between the events.
other = Client()
other.say(HELLO, 1, "Hello")
other.read(WELCOME, 1, "Welcome")
assert other.do("CreateSession", {"Session": "s"}) == (0, 0, 0, False)
named = {"Session": "s", "Id": "py-1"}
assert other.do("Incr", named, Key=b"n", By=5) == (0, 5, 1, False)
assert other.do("Incr", named, Key=b"n", By=5) == (0, 5, 1, True)
assert other.do("Incr", named, Key=b"n", By=6) == ("refused", 3, None, False)
stages = []
for sequence in range(1, 7):
    if sequence == 3:
        client.say(CREDITS, 77, "EventCredits", Credits=4)
    event = client.read(EVENT, 77, "Event")
    assert event.LaneSequence() == sequence
    stages.append(event.Stage())
assert stages == [0, 1, 2, 0, 1, 2]
assert event.Causes().Id() == b"py-1" and value(event.Outcome()) == 5
client.say(UNSUBSCRIBE, 77, "Unsubscribe")
assert client.read(ENDED, 77, "SubscriptionEnded").Failure() is None

builder = flatbuffers.Builder()
kind, asked = member(builder, "Asked", "OutcomeQuestion", Id="py-1")
client.send(QUESTION, 5, builder, build(builder, "Question", AskedType=kind, Asked=asked))
found = client.read(FINDING, 5, "Finding").Found()
finding = table("OutcomeFinding").OutcomeFinding()
finding.Init(found.Bytes, found.Pos)
assert value(finding.Outcome()) == 5

client.say(PING, 6, "Ping")
client.read(PONG, 6, "Pong")
client.say(GOODBYE, 0, "Goodbye")
assert client.read(GOODBYE, 0, "Goodbye").Failure() is None
assert client.input.read() == b""
other.stream.sendall(b"GET / HTTP/1.1\r\n\r\n")
assert other.read(GOODBYE, 0, "Goodbye").Failure().Code() == 1
assert other.input.read() == b""
print("the native protocol works")

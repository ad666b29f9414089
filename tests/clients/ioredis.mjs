// ioredis against a running orlojd, in RESP2 and in RESP3: `node ioredis.mjs PORT`.
//
// Prints one line for each protocol; the first answer that is not the expected one ends it.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

// The libraries lie where the build's output lies, not beside this file.
const require = createRequire(process.env.CLIENT_LIBRARIES + "/");
const { Redis } = require("ioredis");
const { version } = require("ioredis/package.json");
const port = Number(process.argv[2]);

async function connect(protocol, options = {}) {
  const r = new Redis({ port, protocol, lazyConnect: true, retryStrategy: null, ...options });
  r.on("error", () => {}); // Whatever goes wrong also rejects the command that waits.
  await r.connect();
  return r;
}

/** The answer as an object, be it a map of RESP3 or a flat array of RESP2. */
function map(answer) {
  if (answer instanceof Map) return Object.fromEntries(answer);
  if (!Array.isArray(answer)) return answer;
  const pairs = answer.flatMap((x, n) => (n % 2 ? [] : [[x, answer[n + 1]]]));
  return Object.fromEntries(pairs);
}

async function door(protocol) {
  const r = await connect(protocol, { connectionName: "named" });
  assert.equal(await r.ping(), "PONG");
  assert.equal(await r.ping("words"), "words");
  assert.deepEqual(await r.echoBuffer(Buffer.from([0, 13, 10, 255])), Buffer.from([0, 13, 10, 255]));
  assert.equal(await r.client("GETNAME"), "named");
  assert.equal(await r.client("SETNAME", "other"), "OK");
  assert.equal(await r.client("GETNAME"), "other");
  assert.ok((await r.client("ID")) > 0);
  assert.equal(await r.client("SETINFO", "LIB-VER", "6"), "OK");
  assert.match(String(await r.client("INFO")), new RegExp(`name=other .*resp=${protocol}\\b`));
  const hello = map(await r.call("HELLO", protocol));
  assert.deepEqual([hello.server, hello.proto], ["redis", protocol]);
  await assert.rejects(r.call("HELLO", 4), /unsupported protocol version/);
  await assert.rejects(r.auth("secret"), /without any password configured/);
  await assert.rejects(r.auth("nobody", "secret"), /WRONGPASS/);
  assert.equal(await r.select(0), "OK");
  await assert.rejects(r.select(1), /DB index is out of range/);
  assert.equal(await r.call("RESET"), "RESET");
  assert.equal(await r.call("HELLO", protocol).then(() => r.client("GETNAME")), null);
  assert.equal(await r.quit(), "OK");
}

async function server(r) {
  const info = String(await r.info());
  assert.match(info, /^loading:0\r$/m);
  assert.match(info, /^redis_version:7\./m);
  const commands = await r.command();
  assert.equal(commands.length, await r.command("COUNT"));
  const get = commands.find(([name]) => name === "get");
  assert.equal(get[1], 2);
  assert.ok([...get[2]].includes("readonly"));
  assert.deepEqual(map(await r.config("GET", "maxclients")), { maxclients: "1000" });
  assert.equal(await r.config("SET", "maxclients", 9999), "OK");
  assert.deepEqual(map(await r.config("GET", "maxclients")), { maxclients: "9999" });
  assert.equal(await r.config("SET", "maxclients", 1000), "OK");
  await assert.rejects(r.config("SET", "nosuch", 1), /nosuch/);
}

async function values(r) {
  assert.equal(await r.flushall(), "OK");
  assert.equal(await r.dbsize(), 0);
  assert.equal(await r.get("k"), null);
  const bytes = Buffer.from([0, 255, 13, 10]);
  assert.equal(await r.set("k", bytes), "OK");
  assert.deepEqual(await r.getBuffer("k"), bytes);
  assert.equal(await r.set("k", "v", "NX"), null);
  assert.equal(await r.set("absent", "v", "XX"), null);
  assert.equal(await r.set("k", "v", "XX"), "OK");
  assert.equal(await r.set("k", "w", "GET"), "v");
  assert.equal(await r.mset({ a: 1, b: 2, c: "" }), "OK");
  assert.deepEqual(await r.mget("a", "b", "c", "absent"), ["1", "2", "", null]);
  assert.equal(await r.exists("a", "a", "absent"), 2);
  assert.equal(await r.incr("a"), 2);
  await assert.rejects(r.incr("k"), /not an integer/);
  assert.equal(await r.del("a", "b", "absent"), 2);
  assert.equal(await r.dbsize(), 2);
  const big = Buffer.alloc(2 << 20, "orloj");
  assert.equal(await r.set("big", big), "OK");
  assert.ok(big.equals(await r.getBuffer("big")));
}

async function expiry(r) {
  assert.equal(await r.set("t", "v", "EX", 100), "OK");
  assert.ok((await r.ttl("t")) >= 99);
  assert.equal(await r.set("t", "w", "KEEPTTL"), "OK");
  assert.ok((await r.pttl("t")) > 98_000);
  assert.equal(await r.set("t", "v", "PX", 60), "OK");
  const deadline = Date.now() + 10_000;
  while ((await r.get("t")) !== null) {
    assert.ok(Date.now() < deadline, "it expires");
    await sleep(20);
  }
  await assert.rejects(r.set("t", "v", "EX", 0), /invalid expire time/);
}

async function pages(r) {
  await r.flushall();
  const wanted = Array.from({ length: 1000 }, (_, n) => `key:${n}`).sort();
  await r.mset(...wanted.flatMap((key) => [key, "v"]));
  const found = [];
  for await (const keys of r.scanStream({ count: 37 })) found.push(...keys);
  assert.deepEqual(found.sort(), wanted);
  await assert.rejects(r.call("SCAN", "nonsense"), /invalid cursor/);
}

async function pipelines(r) {
  const pipeline = r.pipeline();
  for (let n = 0; n < 5000; n++) pipeline.set(`p:${n}`, n).get(`p:${n}`);
  const answers = await pipeline.exec();
  assert.equal(answers.length, 10_000);
  answers.forEach(([error, answer], at) => {
    assert.equal(error, null);
    assert.equal(answer, at % 2 ? String((at - 1) / 2) : "OK");
  });
  const mixed = await r.pipeline().set("k", "v").incr("k").call("NOSUCH", "a").get("k").exec();
  assert.match(mixed[1][0].message, /not an integer/);
  assert.match(mixed[2][0].message, /unknown command/);
  assert.deepEqual([mixed[0][1], mixed[3][1]], ["OK", "v"]);
  // Commands that are not waited for share one write, and their answers keep the order.
  const many = await Promise.all(Array.from({ length: 2000 }, () => r.incr("counter")));
  assert.deepEqual(many, Array.from({ length: 2000 }, (_, n) => n + 1));
}

async function errors(r) {
  await assert.rejects(r.call("NOSUCH", "a", "b"), /unknown command/);
  await assert.rejects(r.call("GET"), /wrong number of arguments/);
  await assert.rejects(r.call("SET", "k", "v", "SOON"), /syntax error/);
  await assert.rejects(r.set("k".repeat(70_000), "v"), /exceeds the maximum/);
  assert.equal(await r.ping(), "PONG");
}

for (const protocol of [2, 3]) {
  await door(protocol);
  const r = await connect(protocol);
  for (const part of [server, values, expiry, pages, pipelines, errors]) await part(r);
  await r.quit();
  console.log(`ioredis ${version}: RESP${protocol} works`);
}

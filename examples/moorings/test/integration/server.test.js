// The built application from outside: the very file that is packed, in a process of its own, with the Redis that REDIS_URL
// says, which has to be empty, or with a file.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

/** @type {import('node:child_process').ChildProcess} */
let server;
/** @type {Record<string, string | undefined>} */
let env = {};
let at = '';

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (probe.address());
  probe.close();
  return port;
}

before(async () => {
  const port = await freePort();
  at = `http://127.0.0.1:${port}`;
  const folder = await mkdtemp(join(tmpdir(), 'moorings-'));
  env = { ...process.env, PORT: String(port), LOGBOOK: join(folder, 'stays.jsonl') };
  await start();
});

async function start() {
  server = spawn(process.execPath, ['dist/server.js'], { env, stdio: 'inherit' });
  for (;;) {
    const answer = await fetch(`${at}/healthz`).catch(() => null);
    if (answer?.ok) return;
    assert.equal(server.exitCode, null, 'the server ended');
  }
}

async function stop() {
  server.kill('SIGTERM');
  const [code] = await once(server, 'exit');
  assert.equal(code, 0, 'it ends in order when asked to');
}

after(stop);

test('a boat that was reserved for is on the page', async () => {
  const night = new Date().toISOString().slice(0, 10);
  const next = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
  const wish = { boat: 'Albatros', length: 20, draught: 3, from: night, to: next };
  const headers = { 'content-type': 'application/json' };
  const made = await fetch(`${at}/api/stays`, { method: 'POST', headers, body: JSON.stringify(wish) });
  assert.equal(made.status, 201);
  assert.match(await (await fetch(at)).text(), /C1.*Albatros/);
});

test('ten boats that ask at once do not share a berth', async () => {
  const wish = { length: 11, draught: 2, from: '2030-05-01', to: '2030-05-02' };
  const headers = { 'content-type': 'application/json' };
  const asked = Array.from({ length: 10 }, (_, number) =>
    fetch(`${at}/api/stays`, { method: 'POST', headers, body: JSON.stringify({ ...wish, boat: `boat ${number}` }) }),
  );
  const given = (await Promise.all(asked)).filter((answer) => answer.status === 201);
  const berths = await Promise.all(given.map(async (answer) => (/** @type {{ berth: string }} */ (await answer.json())).berth));
  assert.deepEqual(berths.sort(), ['B1', 'B2', 'C1']);
});

test('what is reserved outlives the process', async () => {
  await stop();
  await start();
  assert.match(await (await fetch(at)).text(), /C1.*Albatros/);
});

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BERTHS } from '../../src/harbour.js';
import { openFile } from '../../src/logbook.js';
import { parseDay } from '../../src/night.js';
import { web } from '../../src/web.js';

const today = () => parseDay('2026-07-03');
const stay = { boat: '<b>Möwe</b>', length: '7', draught: '1.2', from: '2026-07-03', to: '2026-07-04' };

/** @param {(app: Awaited<ReturnType<typeof web>>, folder: string) => Promise<void>} look */
async function withWeb(look) {
  const folder = await mkdtemp(join(tmpdir(), 'moorings-'));
  const logbook = await openFile(join(folder, 'stays.jsonl'));
  const app = await web({ berths: BERTHS, logbook, today, release: 'sha256:1' });
  try {
    await look(app, folder);
  } finally {
    await app.close();
    await rm(folder, { recursive: true });
  }
}

test('the form reserves, and what people write stays text', () =>
  withWeb(async (app) => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const answer = await app.inject({ method: 'POST', url: '/', headers, payload: new URLSearchParams(stay).toString() });
    assert.equal(answer.statusCode, 200);
    assert.match(answer.body, /&#60;b&#62;Möwe&#60;\/b&#62; lies at A1/);
    assert.ok(!answer.body.includes('<b>'));
  }));

test('programs are told what is wrong, with a status to match', () =>
  withWeb(async (app) => {
    const refused = await app.inject({ method: 'POST', url: '/api/stays', payload: { ...stay, to: 'soon' } });
    assert.equal(refused.statusCode, 422);
    assert.match(refused.json().error, /"soon" is no date/);
    const broken = await app.inject({ method: 'POST', url: '/api/stays', headers: { 'content-type': 'application/json' }, payload: '{' });
    assert.equal(broken.statusCode, 400);
  }));

test('what was agreed on is still known after a restart, and the release is named', () =>
  withWeb(async (app, folder) => {
    await app.inject({ method: 'POST', url: '/api/stays', payload: stay });
    const logbook = await openFile(join(folder, 'stays.jsonl'));
    const again = await web({ berths: BERTHS, logbook, today });
    const answer = await again.inject('/api/nights/2026-07-03');
    assert.equal(answer.json()[0].boat, stay.boat);
    assert.equal((await app.inject('/healthz')).headers['x-staith-release'], 'sha256:1');
  }));

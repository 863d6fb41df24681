import assert from 'node:assert/strict';
import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { inMemory, openFile } from '../../src/logbook.js';

const stay = { berth: 'A1', boat: 'Kiebitz', from: 1, to: 2 };

test('a stay is added only to what was seen', async () => {
  const logbook = inMemory();
  assert.equal(await logbook.add(stay, 0), true);
  assert.equal(await logbook.add(stay, 0), false);
  assert.deepEqual(await logbook.all(), [stay]);
});

test('a line that was cut is forgotten, and those before it are not', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'moorings-'));
  try {
    const path = join(folder, 'stays.jsonl');
    await (await openFile(path)).add(stay, 0);
    await appendFile(path, '{"berth":"A2","bo');
    const reopened = await openFile(path);
    assert.deepEqual(await reopened.all(), [stay]);
    await reopened.add({ ...stay, berth: 'B1' }, 1);
    assert.equal((await (await openFile(path)).all()).length, 2);
  } finally {
    await rm(folder, { recursive: true });
  }
});

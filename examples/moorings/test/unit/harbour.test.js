import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BERTHS, Harbour } from '../../src/harbour.js';
import { Refused, parseDay } from '../../src/night.js';

const wish = { boat: 'Seeschwalbe', length: 9.5, draught: 1.6, from: '2026-07-03', to: '2026-07-05' };

test('a boat gets the smallest berth that takes it', () => {
  assert.equal(new Harbour(BERTHS).reserve(wish).berth, 'A2');
  assert.equal(new Harbour(BERTHS).reserve({ ...wish, draught: 2 }).berth, 'B1');
});

test('a second boat gets another berth, and the last is turned away', () => {
  const harbour = new Harbour(BERTHS);
  const given = [1, 2, 3, 4].map((number) => harbour.reserve({ ...wish, boat: `boat ${number}` }).berth);
  assert.deepEqual(given, ['A2', 'B1', 'B2', 'C1']);
  assert.throws(() => harbour.reserve({ ...wish, boat: 'too late' }), /no fitting berth is free/);
  assert.equal(harbour.reserve({ ...wish, from: '2026-07-05', to: '2026-07-06' }).berth, 'A2');
});

test('what makes no sense is refused and changes nothing', () => {
  const harbour = new Harbour(BERTHS);
  const bad = [{ boat: ' ' }, { length: -1 }, { length: 'long' }, { draught: 9 }, { to: '2026-07-03' }, { to: '2026-09-01' }];
  for (const change of bad) {
    assert.throws(() => harbour.reserve(/** @type {any} */ ({ ...wish, ...change })), Refused, JSON.stringify(change));
  }
  assert.deepEqual(harbour.stays, []);
});

test('a night shows who is there', () => {
  const harbour = new Harbour(BERTHS);
  harbour.reserve(wish);
  const boats = (/** @type {string} */ night) => harbour.on(parseDay(night)).map((berth) => berth.boat);
  assert.deepEqual(boats('2026-07-04'), [null, 'Seeschwalbe', null, null, null]);
  assert.deepEqual(boats('2026-07-05'), [null, null, null, null, null]);
});

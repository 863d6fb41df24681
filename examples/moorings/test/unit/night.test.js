import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refused, formatDay, overlap, parseDay } from '../../src/night.js';

test('a date is read and written as it was', () => {
  for (const date of ['1970-01-01', '2024-02-29', '2026-12-31']) assert.equal(formatDay(parseDay(date)), date);
});

test('what is no date is refused with what was meant', () => {
  for (const bad of ['2026-06-31', '2025-02-29', '3 July', '', undefined, '2026-7-3']) {
    assert.throws(() => parseDay(bad), Refused, String(bad));
  }
});

test('the day of leaving is free for the next boat', () => {
  assert.equal(overlap({ from: 1, to: 3 }, { from: 3, to: 5 }), false);
  assert.equal(overlap({ from: 1, to: 4 }, { from: 3, to: 5 }), true);
  assert.equal(overlap({ from: 1, to: 9 }, { from: 3, to: 5 }), true);
});

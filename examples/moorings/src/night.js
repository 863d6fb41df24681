// Nights, as harbours count them: a boat that comes on the 3rd and leaves on the 5th stays the nights of the 3rd and the 4th.

/** A day as people and programs write it. */
const DAY = /^(\d{4})-(\d{2})-(\d{2})$/;
const MILLISECONDS_A_DAY = 24 * 60 * 60 * 1000;

/** Somebody wrote something that can't be done; the message is for them. */
export class Refused extends Error {}

/**
 * The days since 1970 of a date such as `2026-07-03`.
 * @param {unknown} text
 * @returns {number}
 */
export function parseDay(text) {
  const parts = DAY.exec(String(text));
  if (!parts) throw new Refused(`"${text}" is no date; write it as 2026-07-03`);
  const [year, month, day] = parts.slice(1).map(Number);
  const time = Date.UTC(year, month - 1, day);
  // The 31st of June would silently become the 1st of July.
  if (new Date(time).getUTCDate() !== day) throw new Refused(`there is no ${text} in the calendar`);
  return time / MILLISECONDS_A_DAY;
}

/**
 * @param {number} day days since 1970
 * @returns {string}
 */
export function formatDay(day) {
  return new Date(day * MILLISECONDS_A_DAY).toISOString().slice(0, 10);
}

/**
 * Whether two stays share a night. The day on which one boat leaves is free for the next.
 * @param {{ from: number, to: number }} one
 * @param {{ from: number, to: number }} other
 */
export function overlap(one, other) {
  return one.from < other.to && other.from < one.to;
}

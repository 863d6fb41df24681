// Berths, boats, and which boat may lie where. No files, no network, no clock.

import { Refused, formatDay, overlap, parseDay } from './night.js';

/** @typedef {{ name: string, length: number, draught: number }} Berth lengths in metres */
/** @typedef {{ berth: string, boat: string, from: number, to: number }} Stay days since 1970 */
/** @typedef {{ boat: string, length: number, draught: number, from: string, to: string }} Wish */

const LONGEST_STAY = 28;
const LONGEST_NAME = 60;

/** @type {Berth[]} */
export const BERTHS = [
  { name: 'A1', length: 8, draught: 1.5 },
  { name: 'A2', length: 10, draught: 1.8 },
  { name: 'B1', length: 12, draught: 2.1 },
  { name: 'B2', length: 15, draught: 2.6 },
  { name: 'C1', length: 24, draught: 3.4 },
];

export class Harbour {
  /**
   * @param {Berth[]} berths
   * @param {Stay[]} stays those already agreed on
   */
  constructor(berths, stays = []) {
    this.berths = berths;
    this.stays = stays;
  }

  /**
   * Gives a boat the smallest berth that it fits in and that is free on all nights.
   * @param {Partial<Wish>} wish as it came from outside
   * @returns {Stay}
   */
  reserve(wish) {
    const { boat, length, draught, stay } = understood(wish);
    const fitting = this.berths.filter((berth) => berth.length >= length && berth.draught >= draught);
    if (fitting.length === 0) throw new Refused(`no berth takes a boat of ${length} m with a draught of ${draught} m`);
    const berth = fitting.sort((a, b) => a.length - b.length).find((berth) => this.isFree(berth.name, stay));
    if (!berth) {
      throw new Refused(`no fitting berth is free from ${formatDay(stay.from)} to ${formatDay(stay.to)}`);
    }
    const agreed = { berth: berth.name, boat, ...stay };
    this.stays.push(agreed);
    return agreed;
  }

  /**
   * @param {string} berth
   * @param {{ from: number, to: number }} stay
   */
  isFree(berth, stay) {
    return !this.stays.some((other) => other.berth === berth && overlap(other, stay));
  }

  /**
   * Every berth with the boat that lies there in a night.
   * @param {number} night
   */
  on(night) {
    const there = { from: night, to: night + 1 };
    return this.berths.map((berth) => {
      const stay = this.stays.find((stay) => stay.berth === berth.name && overlap(stay, there));
      return { ...berth, boat: stay?.boat ?? null };
    });
  }
}

/** @param {Partial<Wish>} wish */
function understood(wish) {
  const boat = String(wish.boat ?? '').trim();
  if (!boat || boat.length > LONGEST_NAME) throw new Refused(`a boat has a name of 1 to ${LONGEST_NAME} characters`);
  const stay = { from: parseDay(wish.from), to: parseDay(wish.to) };
  const nights = stay.to - stay.from;
  if (nights < 1 || nights > LONGEST_STAY) throw new Refused(`a boat stays 1 to ${LONGEST_STAY} nights`);
  return { boat, length: metres('length', wish.length), draught: metres('draught', wish.draught), stay };
}

/**
 * @param {string} what
 * @param {unknown} value
 */
function metres(what, value) {
  const number = Number(value);
  if (!(number > 0 && number < 500)) throw new Refused(`the ${what} is a number of metres`);
  return number;
}

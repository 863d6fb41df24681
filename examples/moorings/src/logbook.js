// Where stays are kept: in Redis where REDIS_URL says one, in the file that LOGBOOK names, or in memory. All only ever add,
// and only to what the caller has seen: while one release takes over from another, two processes share a logbook.

import { appendFile, readFile, truncate } from 'node:fs/promises';
import { createClient } from 'redis';

/** @typedef {import('./harbour.js').Stay} Stay */
/**
 * @typedef {object} Logbook
 * @property {() => Promise<Stay[]>} all
 * @property {(stay: Stay, seen: number) => Promise<boolean>} add false: there are other than `seen` stays now; look again
 * @property {() => Promise<unknown>} close
 */

const KEY = 'moorings:stays';
const ADD_IF_UNCHANGED = `
if redis.call('LLEN', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[2])
return 1`;

/**
 * @param {Record<string, string | undefined>} env
 * @returns {Promise<Logbook>}
 */
export async function openLogbook(env) {
  if (env.REDIS_URL) return openRedis(env.REDIS_URL);
  return env.LOGBOOK ? openFile(env.LOGBOOK) : inMemory();
}

/**
 * @param {Stay[]} stays
 * @param {(stay: Stay) => Promise<unknown>} keep
 * @returns {Logbook}
 */
export function inMemory(stays = [], keep = async () => {}) {
  return {
    all: async () => [...stays],
    async add(stay, seen) {
      if (stays.length !== seen) return false;
      stays.push(stay);
      await keep(stay);
      return true;
    },
    close: async () => {},
  };
}

/**
 * A file of one line a stay, for one process.
 * @param {string} path
 * @returns {Promise<Logbook>}
 */
export async function openFile(path) {
  const text = await readFile(path, 'utf8').catch((/** @type {NodeJS.ErrnoException} */ error) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  // A line that was cut by a power failure is the last; what was agreed on before it stands, and what comes follows that.
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  if (whole !== text) await truncate(path, Buffer.byteLength(whole));
  const stays = whole.split('\n').slice(0, -1).map((line) => JSON.parse(line));
  return inMemory(stays, (stay) => appendFile(path, `${JSON.stringify(stay)}\n`));
}

/**
 * @param {string} url
 * @returns {Promise<Logbook>}
 */
async function openRedis(url) {
  const client = createClient({ url });
  client.on('error', (error) => console.error(`redis: ${error.message}`));
  await client.connect();
  return {
    all: async () => (await client.lRange(KEY, 0, -1)).map((line) => JSON.parse(line)),
    async add(stay, seen) {
      const added = await client.eval(ADD_IF_UNCHANGED, { keys: [KEY], arguments: [String(seen), JSON.stringify(stay)] });
      return added === 1;
    },
    close: () => client.close(),
  };
}

// All that is answered.

import fastify from 'fastify';
import { Harbour } from './harbour.js';
import { Refused, formatDay, parseDay } from './night.js';
import { page } from './page.js';

/**
 * @param {{ berths: import('./harbour.js').Berth[], logbook: import('./logbook.js').Logbook, today: () => number, release?: string }} what
 */
export async function web({ berths, logbook, today, release }) {
  const app = fastify({ bodyLimit: 16 * 1024 });
  const look = async () => new Harbour(berths, await logbook.all());

  /** @param {unknown} wish */
  const reserve = async (wish) => {
    for (;;) {
      const harbour = await look();
      const seen = harbour.stays.length;
      const stay = harbour.reserve(/** @type {Partial<import('./harbour.js').Wish>} */ (wish ?? {}));
      if (await logbook.add(stay, seen)) return stay;
    }
  };

  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(String(body))));
  });

  // Whoever deploys asks which release answers.
  app.addHook('onSend', async (_, reply) => {
    if (release) reply.header('x-staith-release', release);
  });

  app.setErrorHandler((error, _, reply) => {
    const status = error instanceof Refused ? 422 : (/** @type {{ statusCode?: number }} */ (error).statusCode ?? 500);
    const said = status < 500 && error instanceof Error ? error.message : 'something broke; it is in the log';
    if (status >= 500) console.error(error);
    reply.code(status).send({ error: said });
  });

  app.get('/healthz', async () => ({ ok: true }));

  app.get('/', async (_, reply) => reply.type('text/html').send(page(await look(), today())));

  app.post('/', async (request, reply) => {
    let message;
    try {
      const stay = await reserve(request.body);
      message = `${stay.boat} lies at ${stay.berth} until ${formatDay(stay.to)}.`;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      reply.code(422);
      message = `Sorry: ${error.message}.`;
    }
    return reply.type('text/html').send(page(await look(), today(), message));
  });

  app.get('/api/nights/:night', async (request) => {
    const { night } = /** @type {{ night: string }} */ (request.params);
    return (await look()).on(parseDay(night));
  });

  app.post('/api/stays', async (request, reply) => {
    const stay = await reserve(request.body);
    return reply.code(201).send({ ...stay, from: formatDay(stay.from), to: formatDay(stay.to) });
  });

  return app;
}

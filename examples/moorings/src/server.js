// Starts the application on 127.0.0.1:$PORT, and ends it when asked to.

import { BERTHS } from './harbour.js';
import { openLogbook } from './logbook.js';
import { web } from './web.js';

const logbook = await openLogbook(process.env);
const today = () => Math.floor(Date.now() / 86_400_000);
const app = await web({ berths: BERTHS, logbook, today, release: process.env.STAITH_RELEASE });

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, async () => {
    // Answers what was asked before, and takes nothing new.
    await app.close();
    await logbook.close();
  });
}

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 8080) });

// Serves a folder of files on 127.0.0.1:$PORT: the folder is given, or is the one that this file lies in.

import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const root = process.argv[2] ?? import.meta.dirname;
const TYPES = { '.html': 'text/html; charset=utf-8', '.css': 'text/css', '.xml': 'application/atom+xml; charset=utf-8' };

/** The file that a request means; none where it means no file of the site. */
function meant(url) {
  const { pathname } = new URL(url, 'http://site');
  let path;
  try {
    path = normalize(decodeURIComponent(pathname));
  } catch {
    return null;
  }
  const file = path.endsWith('/') ? join(path, 'index.html') : path;
  // Only what a site consists of: neither this program nor anything that lies beside the site by accident.
  return extname(file) in TYPES ? join(root, file) : null;
}

const server = createServer(async (request, response) => {
  if (process.env.STAITH_RELEASE) response.setHeader('x-staith-release', process.env.STAITH_RELEASE);
  const file = meant(request.url ?? '/');
  const found = file && (await stat(file).catch(() => null));
  if (!found?.isFile()) {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('There is no such page.\n');
    return;
  }
  const forEver = /\.[0-9a-f]{12}\.css$/.test(file);
  response.writeHead(200, {
    'content-type': TYPES[extname(file)],
    'content-length': found.size,
    'cache-control': forEver ? 'public, max-age=31536000, immutable' : 'no-cache',
    'x-content-type-options': 'nosniff',
  });
  if (request.method === 'HEAD') response.end();
  else createReadStream(file).pipe(response);
});

process.once('SIGTERM', () => server.close());
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1');

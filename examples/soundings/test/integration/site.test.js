// The built site from outside: valid HTML, links that lead somewhere, and what its server answers.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { HtmlValidate } from 'html-validate';

let server;
let at;

before(async () => {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  at = `http://127.0.0.1:${port}`;
  server = spawn(process.execPath, ['dist/serve.mjs'], { env: { ...process.env, PORT: String(port) }, stdio: 'inherit' });
  while (!(await fetch(at).catch(() => null))?.ok) assert.equal(server.exitCode, null, 'the server ended');
});

after(async () => {
  server.kill('SIGTERM');
  assert.equal((await once(server, 'exit'))[0], 0);
});

async function pages() {
  return (await readdir('dist')).filter((file) => file.endsWith('.html'));
}

test('every page is valid HTML', async () => {
  const validator = new HtmlValidate({ extends: ['html-validate:recommended'], rules: { 'long-title': 'off' } });
  for (const page of await pages()) {
    const report = await validator.validateString(await readFile(`dist/${page}`, 'utf8'), page);
    assert.deepEqual(report.results.flatMap((result) => result.messages.map((m) => `${page}:${m.line}: ${m.message}`)), []);
  }
});

test('every link within the site leads somewhere', async () => {
  const seen = await pages();
  assert.ok(seen.length >= 4);
  for (const page of seen) {
    for (const [, href] of (await readFile(`dist/${page}`, 'utf8')).matchAll(/href="([^"]+)"/g)) {
      const answer = await fetch(new URL(href, `${at}/${page}`));
      assert.equal(answer.status, 200, `${page} links to ${href}`);
      await answer.arrayBuffer();
    }
  }
});

test('what is not of the site is not served', async () => {
  for (const path of ['/serve.mjs', '/../package.json', '/%2e%2e/package.json', '/%zz', '/nothing.html', '//etc/passwd']) {
    assert.equal((await fetch(at + path)).status, 404, path);
  }
});

test('the style may be kept for ever, a page may not', async () => {
  const style = (await readdir('dist')).find((file) => file.endsWith('.css'));
  assert.match((await fetch(`${at}/${style}`)).headers.get('cache-control'), /immutable/);
  assert.equal((await fetch(at)).headers.get('cache-control'), 'no-cache');
});

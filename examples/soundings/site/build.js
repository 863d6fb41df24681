// Reads the notes of one folder and writes the site into another.

import { cp, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BadNote, feed, hashedName, indexPage, notePage, readNote } from './page.js';

const [content, target] = process.argv.slice(2);
const here = import.meta.dirname;

try {
  const files = (await readdir(content)).filter((file) => file.endsWith('.md')).sort();
  const notes = await Promise.all(files.map(async (file) => readNote(file, await readFile(join(content, file), 'utf8'))));
  const css = await readFile(join(here, 'style.css'));
  const style = hashedName('style.css', css);
  await mkdir(target, { recursive: true });
  await Promise.all([
    writeFile(join(target, style), css),
    writeFile(join(target, 'index.html'), indexPage(notes, style)),
    writeFile(join(target, 'feed.xml'), feed(notes)),
    ...notes.map((note) => writeFile(join(target, note.name), notePage(note, style))),
    // What serves the site travels with it.
    cp(join(here, 'serve.js'), join(target, 'serve.mjs')),
  ]);
  process.stdout.write(`${notes.length} notes\n`);
} catch (error) {
  if (!(error instanceof BadNote)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}

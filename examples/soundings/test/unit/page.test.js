import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BadNote, feed, hashedName, indexPage, newestFirst, notePage, readNote } from '../../site/page.js';

const text = '---\ntitle: Rocks & <shoals>\ndate: 2026-01-02\nsummary: Where they are\n---\n\nSee [the tide](tide.md#neap) and [charts](https://charts.example/a.md).\n';

test('a note keeps its front matter, and its links lead to pages', () => {
  const note = readNote('rocks.md', text);
  assert.equal(note.name, 'rocks.html');
  assert.match(note.html, /href="tide\.html#neap"/);
  assert.match(note.html, /href="https:\/\/charts\.example\/a\.md"/);
});

test('what people write stays text in titles', () => {
  const page = notePage(readNote('rocks.md', text), 'style.css');
  assert.ok(page.includes('<h1>Rocks &#38; &#60;shoals&#62;</h1>'));
  assert.ok(!page.includes('<shoals>'));
});

test('a bad note is refused with its file and what is wrong', () => {
  const bad = {
    'no front matter': 'only text',
    'lacks "summary"': '---\ntitle: a\ndate: 2026-01-02\n---\n',
    'is no date': '---\ntitle: a\ndate: yesterday\nsummary: b\n---\n',
    'a.md:3: "date"': '---\ntitle: a\ndate\nsummary: b\n---\n',
  };
  for (const [why, text] of Object.entries(bad)) {
    assert.throws(() => readNote('a.md', text), (error) => error instanceof BadNote && error.message.includes(why), why);
  }
});

test('the newest note is first on the front page and in the feed', () => {
  const note = (name, date) => ({ name, date, title: name, summary: '' });
  const notes = [note('b', '2026-01-01'), note('a', '2026-01-01'), note('c', '2026-02-01')];
  assert.deepEqual(newestFirst(notes).map((note) => note.name), ['c', 'a', 'b']);
  assert.ok(indexPage(notes, 's').indexOf('>c<') < indexPage(notes, 's').indexOf('>a<'));
  assert.match(feed(notes), /<updated>2026-02-01T00:00:00Z<\/updated>\n<entry><title>c</);
});

test('the name of a style changes with its content only', () => {
  assert.equal(hashedName('style.css', 'a'), hashedName('style.css', 'a'));
  assert.notEqual(hashedName('style.css', 'a'), hashedName('style.css', 'b'));
});

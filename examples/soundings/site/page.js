// From notes to pages. Pure: text in, text out.

import { createHash } from 'node:crypto';
import { Marked } from 'marked';

/** Something in a note can't be published; the message says in which and what. */
export class BadNote extends Error {}

export const SITE = { title: 'Soundings', lead: 'Notes of a harbour pilot', address: 'https://soundings.example' };

/** A note: its front matter, and its text as HTML. `file` is its name below the content folder. */
export function readNote(file, text) {
  const parts = /^---\n([\s\S]*?)\n---\n([\s\S]*)$/.exec(text);
  if (!parts) throw new BadNote(`${file}: it begins with no front matter (--- ... ---)`);
  const matter = Object.fromEntries(
    parts[1].split('\n').map((line, number) => {
      const field = /^(\w+):\s*(.+)$/.exec(line);
      if (!field) throw new BadNote(`${file}:${number + 2}: "${line}" is no "key: value"`);
      return [field[1], field[2]];
    }),
  );
  for (const key of ['title', 'date', 'summary']) {
    if (!matter[key]) throw new BadNote(`${file}: the front matter lacks "${key}"`);
  }
  if (!/^\d{4}-\d{2}-\d{2}$/.test(matter.date)) throw new BadNote(`${file}: "${matter.date}" is no date such as 2026-05-02`);
  return { file, name: file.replace(/\.md$/, '.html'), ...matter, html: toHtml(parts[2]) };
}

/** Markdown as HTML; links to other notes lead to their pages. */
function toHtml(markdown) {
  const walkTokens = (token) => {
    if (token.type === 'link') token.href = token.href.replace(/^([\w-]+)\.md(#|$)/, '$1.html$2');
  };
  return new Marked({ walkTokens }).parse(markdown);
}

export function escape(text) {
  return String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** A file name that changes with the content, so that it may be cached for ever. */
export function hashedName(name, content) {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 12);
  return name.replace(/(\.\w+)$/, `.${hash}$1`);
}

function layout(title, style, body) {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<link rel="stylesheet" href="${style}">
<link rel="alternate" type="application/atom+xml" title="${SITE.title}" href="feed.xml">
</head>
<body>
<header><p><a href="index.html">${SITE.title}</a></p></header>
<main>
${body}
</main>
</body>
</html>
`;
}

export function notePage(note, style) {
  const heading = `<h1>${escape(note.title)}</h1>\n<p><time datetime="${note.date}">${note.date}</time></p>`;
  return layout(`${note.title} · ${SITE.title}`, style, `${heading}\n${note.html}`);
}

/** The newest note first. */
export function newestFirst(notes) {
  return [...notes].sort((a, b) => b.date.localeCompare(a.date) || a.name.localeCompare(b.name));
}

export function indexPage(notes, style) {
  const items = newestFirst(notes).map(
    (note) => `<li><a href="${note.name}">${escape(note.title)}</a><br>${escape(note.summary)}</li>`,
  );
  return layout(SITE.title, style, `<h1>${SITE.lead}</h1>\n<ul>\n${items.join('\n')}\n</ul>`);
}

export function feed(notes) {
  const ordered = newestFirst(notes);
  const entries = ordered.map(
    (note) => `<entry><title>${escape(note.title)}</title><id>${SITE.address}/${note.name}</id>` +
      `<link href="${SITE.address}/${note.name}"/><updated>${note.date}T00:00:00Z</updated>` +
      `<summary>${escape(note.summary)}</summary></entry>`,
  );
  return `<?xml version="1.0" encoding="utf-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
<title>${SITE.title}</title><id>${SITE.address}/</id><author><name>The pilot</name></author>
<updated>${ordered[0]?.date ?? '1970-01-01'}T00:00:00Z</updated>
${entries.join('\n')}
</feed>
`;
}

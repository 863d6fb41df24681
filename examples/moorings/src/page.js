// The page that people see: tonight's harbour and a form.

import { formatDay } from './night.js';

const HEADING = 'Who lies where tonight?';

/** @param {unknown} text */
export function escape(text) {
  return String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/**
 * @param {import('./harbour.js').Harbour} harbour
 * @param {number} night
 * @param {string} [message] what came of the last wish
 */
export function page(harbour, night, message = '') {
  const rows = harbour
    .on(night)
    .map(
      (berth) =>
        `<tr><th scope="row">${escape(berth.name)}</th><td>${berth.length} m</td><td>${berth.draught} m</td>` +
        `<td>${berth.boat ? escape(berth.boat) : '<em>free</em>'}</td></tr>`,
    )
    .join('\n');
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Moorings</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem; color: #123 }
  table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .3rem; border-bottom: 1px solid #ccd }
  form { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; margin-top: 2rem } button { grid-column: 2 }
  .message { background: #eef4fa; padding: .5rem }
</style>
<h1>${HEADING}</h1>
${message && `<p class="message">${escape(message)}</p>`}
<table>
<caption>The night of ${formatDay(night)}</caption>
<tr><th>berth</th><th>length</th><th>draught</th><th>boat</th></tr>
${rows}
</table>
<form method="post" action="/">
  <label>Boat <input name="boat" required></label>
  <label>Length in metres <input name="length" type="number" step="0.1" required></label>
  <label>Draught in metres <input name="draught" type="number" step="0.1" required></label>
  <label>Arrives <input name="from" type="date" value="${formatDay(night)}" required></label>
  <label>Leaves <input name="to" type="date" value="${formatDay(night + 1)}" required></label>
  <button>Reserve</button>
</form>
</html>
`;
}

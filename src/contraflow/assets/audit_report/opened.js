/* What the row of a fact opens: its answers, and its failing questions by mode. Built when it is first opened. */

const quoted = (text) => el('bdi', {}, text);
const chip = (verdict) => verdict && el('span', { class: `chip v-${verdict.toLowerCase()}` }, verdict.toLowerCase());

function openable(row, fact, width) {
  const cell = row.cells[0];
  const button = el('button', { type: 'button', class: 'opener', 'aria-expanded': 'false' }, ...cell.childNodes);
  cell.replaceChildren(button);
  row.addEventListener('click', () => {
    if (String(getSelection())) return; // somebody marks a text
    if (row.opened) row.opened.remove();
    else row.after(el('tr', { class: 'opened' }, el('td', { colspan: width }, details(fact()))));
    row.opened = row.opened ? null : row.nextSibling;
    button.setAttribute('aria-expanded', String(Boolean(row.opened)));
  });
}

function details(fact) {
  const original = fact.original_answer ? [quoted(fact.original_answer), fact.original_from === 'control' && ' (the control\u2019s own answer; the file has none)'] : 'unknown';
  const own = fact.asked ? [chip(fact.asked), ' ', quoted(fact.asked_answer), known(fact.forced) && ` (forced: ${percent(fact.forced, 0)})`] : 'no prompt in the file';
  const entries = [
    ['Edited to say', quoted(fact.edit_fact)],
    ['Original answer', original],
    ['Edited answer', quoted(fact.edited_answer)],
    ['To its own prompt', own],
    ...(fact.why_not ? [['Not counted', fact.why_not]] : []),
    ...(known(fact.self_contradiction) ? [['Contradicts itself', `in ${percent(fact.self_contradiction, 0)} of pairs of questions`]] : []),
  ];
  const about = el('dl', { class: 'about' }, entries.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
  if (!fact.modes.length) return [about, el('p', { class: 'empty' }, fact.why_not ? 'It was not asked.' : 'No failing question was found.')];
  return [about, fact.modes.map(modeBlock)];
}

function modeBlock(mode, i) {
  const hidden = mode.n - mode.questions.length;
  return el('div', { class: 'mode' },
    el('h4', {}, `Mode ${i + 1}`, el('small', {}, `${mode.n} failing question${mode.n === 1 ? '' : 's'}${hidden > 0 ? `, ${hidden} of them in questions.jsonl only` : ''}`)),
    el('ul', { class: 'asked' }, i === 0 && el('li', { class: 'head', 'aria-hidden': 'true' }, el('span', {}, 'question'), el('span', {}, 'the control says'), el('span', {}, 'the edited model says')),
      mode.questions.map((row) => el('li', {}, el('span', { class: 'question-text' }, quoted(row.question)),
        el('span', { class: 'before' }, row.pre_answer === null ? 'see questions.jsonl' : quoted(row.pre_answer)),
        el('span', {}, chip(row.post), row.post_answer === null ? null : quoted(row.post_answer))))));
}

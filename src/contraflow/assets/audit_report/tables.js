/* Tables of facts: sorting, filtering, a page at a time. The rows are in the page; the script orders and hides them. */

const PAGE = 25;

function enliven(panel, index) {
  const table = panel.querySelector('table.edits');
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const controls = panel.querySelector('.controls');
  const more = panel.querySelector('.more');
  const [search, select] = [controls.querySelector('input'), controls.querySelector('select')];
  const count = controls.querySelector('.count');
  const state = { key: '', direction: 1, shown: PAGE };
  const texts = new Map(rows.map((row) => [row, searchable(row, DATA.models[index].facts[row.dataset.row])]));
  const heads = [...table.tHead.rows[0].cells];

  function update() {
    const needle = search.value.trim().toLocaleLowerCase();
    const found = rows.filter((row) => IS[select.value](row.dataset) && texts.get(row).includes(needle));
    if (state.key) found.sort(byKey(state.key, state.direction));
    body.replaceChildren(...found.slice(0, state.shown).flatMap((row) => (row.opened ? [row, row.opened] : [row])));
    for (const head of heads) head.setAttribute('aria-sort', head.dataset.key !== state.key ? 'none' : state.direction > 0 ? 'ascending' : 'descending');
    count.textContent = `${found.length} of ${rows.length} facts`;
    more.hidden = found.length <= state.shown;
    more.textContent = `Show ${Math.min(2 * PAGE, found.length - state.shown)} more`;
  }
  function restart() {
    state.shown = PAGE;
    update();
  }
  function sortBy(head) {
    const first = head.hasAttribute('data-text') ? 1 : -1;
    state.direction = state.key === head.dataset.key ? -state.direction : first;
    state.key = head.dataset.key;
    restart();
  }
  for (const head of heads) head.replaceChildren(el('button', { type: 'button', title: head.title, onclick: () => sortBy(head) }, head.textContent, el('i', { class: 'arrow', 'aria-hidden': 'true' })));
  for (const row of rows) openable(row, () => DATA.models[index].facts[row.dataset.row], heads.length);
  search.addEventListener('input', restart);
  select.addEventListener('change', restart);
  more.addEventListener('click', () => { state.shown += 2 * PAGE; update(); });
  controls.hidden = false;
  update();
}

const IS = {
  '': () => true,
  failing: (data) => data.failing > 0,
  old: (data) => data.old > 0,
  clean: (data) => 'counted' in data && data.failing === '0',
  uncounted: (data) => !('counted' in data),
};

const searchable = (row, fact) => [row.textContent, fact.edit_fact, ...fact.modes.flatMap((mode) => mode.questions.map((row) => row.question))].join(' ').toLocaleLowerCase();

/* Texts in the order of the alphabet, numbers by value, empty ones last in both directions. */
function byKey(key, direction) {
  return (a, b) => {
    const [first, second] = [a.dataset[key], b.dataset[key]];
    if (first === '' || second === '') return (first === '') - (second === '');
    const order = key === 'subject' ? first.localeCompare(second, 'en', { sensitivity: 'base', numeric: true }) : first - second;
    return direction * order;
  };
}

/* The table of sampled questions, with filters and sortable columns. */

const COLUMNS = [
  { key: 'stage', label: 'Sampler', text: true },
  { key: 'subject', label: 'Subject', text: true },
  { key: 'question', label: 'Question', text: true },
  { key: 'answer', label: 'Answer', text: true },
  { key: 'valid', label: 'Valid', hint: 'Passes every check, and the judge says contradiction' },
  { key: 'strict', label: 'Strict', hint: 'Names the original answer only; no language model asked' },
  { key: 'log_reward', label: 'log R', number: true, hint: 'Log-reward' },
  { key: 'log_contradiction', label: 'log C', number: true, hint: 'Log-probability of contradiction' },
  { key: 'log_entailment', label: 'log E', number: true, hint: 'Log-probability that the answer says the original fact' },
  { key: 'log_p_question', label: 'log P_Q', number: true, hint: 'Base log-likelihood of the question' },
  { key: 'log_p_answer', label: 'log P_A', number: true, hint: 'Log-likelihood of the answer' },
  { key: 'log_pf', label: 'log P_F', number: true, hint: 'Log-probability under the sampler' },
];
const PAGE = 50;

function compareBy(key, direction) {
  const missing = (value) => value === null || value === undefined || value === '';
  return (a, b) => {
    if (missing(a[key]) || missing(b[key])) return missing(a[key]) - missing(b[key]);
    const order = typeof a[key] === 'string' ? a[key].localeCompare(b[key], 'en', { sensitivity: 'base', numeric: true }) : a[key] - b[key];
    return direction * order;
  };
}

function whyNoQuestions() {
  const why = DATA.config['evaluation.enabled'] === false ? 'This run was trained without an evaluation (evaluation=none), whose questions would stand here.' : 'No question of an evaluation was recorded.';
  return `${why} Those that were sampled while training are in its probes.jsonl.`;
}

function questionsSection() {
  if (!DATA.questions.length) return section('questions', 'Questions', null, el('p', { class: 'empty' }, whyNoQuestions()));
  const stages = ['after', 'before'].filter((stage) => DATA.questions.some((row) => row.stage === stage));
  const state = { key: '', direction: 1, text: '', stage: stages[0], only: '', shown: PAGE };
  const body = el('tbody');
  const count = el('span', { class: 'count', 'aria-live': 'polite' });
  const more = el('button', { type: 'button', class: 'more', onclick: () => { state.shown += 2 * PAGE; update(); } });
  const table = el('table', { class: 'sortable questions' });
  const heads = COLUMNS.map((column) => headCell(column, () => sortBy(column)));

  function sortBy(column) {
    const first = column.text ? 1 : -1;
    state.direction = state.key === column.key ? -state.direction : first;
    state.key = column.key;
    state.shown = PAGE;
    update();
  }
  function update() {
    const needle = state.text.trim().toLocaleLowerCase();
    const rows = DATA.questions.filter((row) => (!state.stage || row.stage === state.stage) && (!state.only || (state.only === 'invalid' ? !row.valid : row[state.only])) && (!needle || searchText(row).includes(needle)));
    if (state.key) rows.sort(compareBy(state.key, state.direction)); // before the first sort: in the order of sampling, fact by fact
    table.classList.toggle('one-stage', state.stage !== '');
    body.replaceChildren(...rows.slice(0, state.shown).map(questionRow));
    heads.forEach((head, i) => head.setAttribute('aria-sort', COLUMNS[i].key !== state.key ? 'none' : state.direction > 0 ? 'ascending' : 'descending'));
    count.textContent = `${rows.length} of ${DATA.questions.length} questions`;
    more.hidden = rows.length <= state.shown;
    more.textContent = `Show ${Math.min(2 * PAGE, rows.length - state.shown)} more`;
  }
  const set = (name) => (event) => { state[name] = event.target.value; state.shown = PAGE; update(); };
  const controls = el('div', { class: 'controls' },
    el('input', { id: 'filter', type: 'search', placeholder: 'Filter by any word', 'aria-label': 'Filter questions', oninput: set('text') }),
    el('select', { id: 'stage', 'aria-label': 'Sampler', onchange: set('stage') }, stages.map((stage) => el('option', { value: stage }, DATA.stage_names[stage])), stages.length > 1 && el('option', { value: '' }, 'Both samplers')),
    el('select', { id: 'only', 'aria-label': 'Verdict', onchange: set('only') }, [['', 'All questions'], ['valid', 'Valid only'], ['strict', 'Strict only'], ['invalid', 'Not valid only']].map(([value, label]) => el('option', { value }, label))),
    count);
  update();
  return section('questions', 'Questions to read', 'What the sampler asked, and what the oracle said. Click a heading to sort.', controls,
    el('div', { class: 'card flush scroll', tabindex: 0, role: 'region', 'aria-label': 'Sampled questions' }, fill(table, {}, [el('thead', {}, el('tr', {}, heads)), body])), more);
}

const searchText = (row) => (row.searchable ??= [row.question, row.answer, row.subject, row.edit_fact, row.relation, row.original_answer, row.edited_answer].join(' ').toLocaleLowerCase());

function headCell(column, sort) {
  return el('th', { scope: 'col', class: column.number ? 'number' : column.key, 'aria-sort': 'none', 'data-key': column.key }, el('button', { type: 'button', title: column.hint, onclick: sort }, rich(column.label), el('i', { class: 'arrow', 'aria-hidden': 'true' })));
}

function questionRow(row) {
  const why = row.failed.map((name) => el('span', { class: 'why' }, DATA.part_names[name]));
  const yes = (value) => (value ? el('span', { class: 'yes' }, '\u2713') : el('span', { class: 'no', 'aria-label': 'no' }, '\u2013'));
  const cells = {
    stage: () => el('span', { class: `chip ${row.stage}` }, DATA.stage_names[row.stage].toLowerCase()),
    question: () => [el('span', { class: 'question-text' }, row.question), el('small', {}, el('em', {}, 'edited fact: '), row.edit_fact), why],
    valid: () => yes(row.valid),
    strict: () => yes(row.strict),
  };
  return el('tr', { class: row.valid ? 'is-valid' : null }, COLUMNS.map((column) => el('td', { class: column.number ? 'number' : column.key, 'data-label': column.label },
    cells[column.key] ? cells[column.key]() : column.number ? logText(row[column.key]) : row[column.key])));
}

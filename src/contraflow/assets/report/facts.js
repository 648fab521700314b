/* The table of diagnostics per fact; sorting a column finds the facts that are not sampled in proportion. */

const FACT_COLUMNS = [
  { key: 'subject', label: 'Fact', text: true },
  { key: 'strict', label: 'Strict', share: true, hint: 'Names the original answer only; no language model asked' },
  { key: 'distinct', label: 'Distinct', share: true, hint: 'Different questions of those drawn' },
  { key: 'var_log_ratio', label: 'Var', hint: 'Variance of log R - log P_F over the questions; 0 at the optimum' },
  { key: 'elbo', label: 'ELBO', hint: 'Mean of log R - log P_F: at most log Z' },
  { key: 'log_z_mc', label: 'log Z', hint: 'Monte-Carlo estimate of log Z from these questions' },
  { key: 'eubo', label: 'EUBO', hint: 'The same mean with questions weighted by R / P_F: at least log Z' },
  { key: 'ess', label: 'ESS', share: true, hint: 'Effective sample size: share of the questions that count when weighted by R / P_F' },
  { key: 'slope', label: 'Slope', hint: 'Of log P_F on log R; 1 at the optimum' },
  { key: 'rank_correlation', label: 'Rank r', hint: 'Rank correlation of log P_F and log R' },
  { key: 'fcs', label: 'FCS', hint: 'Total variation of P_F and R on random subsets of the questions; 0 when in proportion' },
  { key: 'prefix_entropy', label: 'Openings', hint: 'Entropy in nats of the first three words; 0 when all questions begin alike' },
  { key: 'length_reward_correlation', label: 'Length r', hint: 'Correlation of question length and log R' },
];
const FACTS_PAGE = 20;

function factsSection() {
  if (!DATA.facts.length) return null;
  const state = { key: '', direction: 1, shown: FACTS_PAGE };
  const body = el('tbody');
  const more = el('button', { type: 'button', class: 'more', onclick: () => { state.shown += 2 * FACTS_PAGE; update(); } });
  const heads = FACT_COLUMNS.map((column) => headCell({ ...column, number: !column.text }, () => {
    state.direction = state.key === column.key ? -state.direction : 1;
    state.key = column.key;
    update();
  }));
  const cell = (row, column) => (column.share ? percent(row[column.key], 0) : fixed(row[column.key], 2));
  function update() {
    const rows = [...DATA.facts];
    if (state.key) rows.sort(compareBy(state.key, state.direction));
    body.replaceChildren(...rows.slice(0, state.shown).map((row) => el('tr', {}, FACT_COLUMNS.map((column) => el('td', { class: column.text ? 'subject' : 'number', 'data-label': column.label },
      column.text ? [row.subject, el('small', {}, row.edit_fact)] : cell(row, column))))));
    heads.forEach((head, i) => head.setAttribute('aria-sort', FACT_COLUMNS[i].key !== state.key ? 'none' : state.direction > 0 ? 'ascending' : 'descending'));
    more.hidden = rows.length <= state.shown;
    more.textContent = `Show ${Math.min(2 * FACTS_PAGE, rows.length - state.shown)} more`;
  }
  update();
  return section('facts', 'Fact by fact', 'The diagnostics of each fact, from the questions drawn for it at the end. Click a heading to sort; rest on it to read what it means.',
    el('div', { class: 'card flush scroll', tabindex: 0, role: 'region', 'aria-label': 'Facts' }, el('table', { class: 'sortable facts' }, el('thead', {}, el('tr', {}, heads)), body)), more);
}

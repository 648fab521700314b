/* The page: assembles all sections in order. */

function masthead() {
  const { run, cost } = DATA;
  const facts = [run.created && String(run.created).replace('T', ' ').slice(0, 16), known(cost.n_steps) && `${cost.n_steps} steps`, known(cost.wall_seconds) && `${duration(cost.wall_seconds)} in all`, known(cost.step_seconds_median) && `${duration(cost.step_seconds_median)} a step`];
  return el('header', { class: 'masthead' }, el('p', { class: 'brand' }, mark(), 'contraflow'), el('h1', {}, DATA.name),
    el('p', { class: 'meta' }, facts.filter(Boolean).map((fact) => el('span', {}, fact))), el('p', { class: 'summary' }, ...summary()));
}

function mark() {
  return svg('svg', { viewBox: '0 0 24 24', width: 22, height: 22, 'aria-hidden': 'true', class: 'logo' }, svg('path', { d: 'M3 8h14m0 0-4-4m4 4-4 4' }), svg('path', { d: 'M21 16H7m0 0 4 4m-4-4 4-4', class: 'counter' }));
}

function summary() {
  const [before, after] = [valueOf('before', 'strict_success'), valueOf('after', 'strict_success')];
  const does = ' of its questions draw the true answer out of the oracle and name neither answer themselves';
  if (known(before) && known(after)) return ['On the facts it was evaluated on, ', el('b', {}, percent(after, 0)), `${does}; untrained, it was `, el('b', {}, percent(before, 0)), '.'];
  if (known(after)) return ['On the facts it was evaluated on, ', el('b', {}, percent(after, 0)), `${does}.`];
  if (known(before)) return ['Before training, ', el('b', {}, percent(before, 0)), `${does}. The trained sampler was not evaluated.`];
  return ['This run was not evaluated; what it recorded while training is below.'];
}

function missingNotice() {
  if (!DATA.missing.length) return null;
  return el('aside', { class: 'notice', role: 'note' }, el('h3', {}, 'Not in this report'), el('ul', {}, DATA.missing.map((line) => el('li', {}, line))),
    el('p', {}, 'A run that was stopped early leaves such gaps. The same command started again goes on, and writes the report anew.'));
}

const shown = (value) => (value === null || value === undefined ? '\u2013' : typeof value === 'object' ? JSON.stringify(value) : String(value));
const pairs = (entries) => el('dl', { class: 'pairs' }, entries.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, shown(value))]));

function setupSection() {
  const { cost, run, config, versions } = DATA;
  const tiles = [['Median step', duration(cost.step_seconds_median)], ['Steps', shown(cost.n_steps)], ['Whole run', duration(cost.wall_seconds)], ['Peak memory', bytes(cost.peak_memory_bytes)]];
  const rest = Object.entries(run).filter(([key]) => !['name', 'created', 'command', ...Object.keys(cost)].includes(key));
  const block = (title, entries, open) => entries.length && el('details', { class: 'card', open }, el('summary', {}, title, el('small', {}, `${entries.length}`)), pairs(entries));
  return section('setup', 'Cost and configuration', null, el('div', { class: 'tiles' }, tiles.map(([label, value]) => el('div', { class: 'card' }, el('span', {}, label), el('b', {}, value)))),
    run.command && el('pre', { class: 'card command' }, el('code', {}, String(run.command))),
    block('Versions', Object.entries(versions), true) || null, block('Configuration', Object.entries(config), false) || null, block('Also recorded', rest, false) || null);
}

function glossarySection() {
  const better = { higher: 'higher is better', lower: 'lower is better', one: 'best at 1', zero: 'best at 0', neutral: 'context' };
  return section('glossary', 'What the metrics mean', null, el('dl', { class: 'glossary' }, DATA.definitions.map((definition) =>
    el('div', {}, el('dt', {}, rich(definition.label)), el('dd', {}, rich(definition.meaning), ' ', el('small', {}, `${definition.unit} \u00b7 ${better[definition.better]}`))))));
}

function build() {
  const sections = [headlineSection(), comparisonSection(), curvesSection(), balanceSection(), questionsSection(), relationsSection(), factsSection(), setupSection(), glossarySection()].filter(Boolean);
  document.getElementById('page').append(masthead(), ...[missingNotice()].filter(Boolean), ...sections, el('footer', {}, 'Written by contraflow. This file loads nothing from anywhere.'));
  const names = { comparison: DATA.stages.before ? 'Before and after' : 'After training', curves: 'Curves', balance: 'Balance', questions: 'Questions', relations: 'Relations', facts: 'Facts', setup: 'Setup', glossary: 'Glossary' };
  document.getElementById('nav').append(el('a', { href: '#page', class: 'home' }, mark(), DATA.name), ...sections.filter((part) => names[part.id]).map((part) => el('a', { href: `#${part.id}` }, names[part.id])));
}

build();

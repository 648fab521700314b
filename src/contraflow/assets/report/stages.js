/* Comparison of the evaluated samplers: headline cards, bars with intervals, all metrics, relations. */

const STAGE_IDS = Object.keys(DATA.stage_names).filter((id) => DATA.stages[id]);
const metricOf = (stage, name) => DATA.stages[stage]?.metrics[name];
const valueOf = (stage, name) => metricOf(stage, name)?.value;
const definitionOf = (name) => DATA.definitions.find((definition) => definition.name === name);
const HEADLINES = ['strict_success', 'valid_contradiction', 'well_formed', 'distinct_questions'];
const STRIP = ['log_reward', 'distinct_valid', 'vendi', 'self_bleu', 'var_log_ratio', 'slope'];

function headlineSection() {
  if (!STAGE_IDS.length) return null;
  return el('section', { id: 'headline', 'aria-label': 'Headline' },
    el('div', { class: 'cards' }, HEADLINES.map(headlineCard)),
    el('div', { class: 'strip' }, STRIP.map(stripCell)),
    legend(...STAGE_IDS.map((id) => [id, DATA.stage_names[id]])),
    el('p', { class: 'note' }, sampleNote()));
}

/* Training facts are other facts, and fewer. */
function ofOtherFacts(facts) {
  const other = STAGE_IDS.filter((id) => DATA.stages[id].n_facts !== facts);
  return other.map((id) => `; ${DATA.stage_names[id].toLowerCase()}: ${DATA.stages[id].n_questions} about ${DATA.stages[id].n_facts}`).join('');
}

function sampleNote() {
  const { n_facts: facts, n_questions: questions } = DATA.stages.after || DATA.stages[STAGE_IDS[0]];
  if (facts === 1) return `${questions} questions about one fact. There are no intervals: they come from resampling facts.`;
  return `${questions} questions about ${facts} facts${ofOtherFacts(facts)}. Bands are 95\u2009% intervals; facts were resampled, because questions about one fact are not independent.`;
}

function headlineCard(name) {
  const definition = definitionOf(name);
  const main = known(valueOf('after', name)) ? 'after' : STAGE_IDS.find((id) => known(valueOf(id, name)));
  const host = el('div', { class: 'plot' });
  chartIn(host, (width) => dumbbell(name, width, [0, 1]));
  return el('article', { class: 'card headline', title: definition.meaning },
    el('h3', {}, rich(definition.label)),
    el('p', { class: 'big' }, percent(valueOf(main, name), 0)),
    el('p', { class: 'change' }, main === 'after' ? changeText(name) : main ? `${DATA.stage_names[main].toLowerCase()} only` : ''),
    host);
}

function changeText(name) {
  const [before, after] = [valueOf('before', name), valueOf('after', name)];
  if (!known(before)) return '\u00a0';
  const times = before > 0.005 && after / before >= 1.3 ? `, ×${fixed(after / before, 1)}` : '';
  return `from ${percent(before, 0)} untrained${times}`;
}

function stripCell(name) {
  const { label, unit, meaning } = definitionOf(name);
  const [before, after] = [valueOf('before', name), valueOf('after', name)];
  return el('div', { title: meaning }, el('span', {}, rich(label)), el('b', {}, [before, after].filter(known).map((value) => inUnit(value, unit)).join(' \u2192 ') || '\u2013'));
}

function dumbbell(name, width, range) {
  const x = linear(range, [6, width - 6]);
  const middle = 15;
  const root = svg('svg', { viewBox: `0 0 ${width} 30`, role: 'img', 'aria-label': stageText(name) },
    svg('line', { x1: x(range[0]), x2: x(range[1]), y1: middle, y2: middle, class: 'track' }));
  const shown = STAGE_IDS.filter((id) => known(valueOf(id, name)));
  for (const id of shown) {
    const { low, high } = metricOf(id, name);
    if (known(low)) root.append(svg('line', { x1: x(low), x2: x(high), y1: middle, y2: middle, class: `band ${id}` }));
  }
  for (const id of shown) root.append(svg('circle', { cx: x(valueOf(id, name)), cy: middle, r: id === 'after' ? 6.5 : 5, class: `mark ${id}` }));
  root.addEventListener('pointermove', (event) => showTip(event, el('strong', {}, definitionOf(name).label), stageRows(name)));
  root.addEventListener('pointerleave', hideTip);
  return root;
}

const bandText = (row, unit) => (known(row.low) ? interval(row.low, row.high, unit) : row.note || 'no interval');
const withInterval = (row, unit) => (row && known(row.value) ? `${inUnit(row.value, unit)} (${bandText(row, unit)})` : (row && row.note) || '\u2013');
const stageRows = (name) => STAGE_IDS.map((id) => tipRow(id, DATA.stage_names[id], withInterval(metricOf(id, name), definitionOf(name).unit)));
const stageText = (name) => `${definitionOf(name).label}: ` + STAGE_IDS.map((id) => `${DATA.stage_names[id]} ${withInterval(metricOf(id, name), definitionOf(name).unit)}`).join('; ');

function comparisonSection() {
  if (!STAGE_IDS.length) return section('comparison', 'Before and after', null, el('p', { class: 'empty' }, 'No sampler was evaluated.'));
  const shares = DATA.definitions.filter((definition) => definition.unit === 'share' && !/_\d$/.test(definition.name) && STAGE_IDS.some((id) => known(valueOf(id, definition.name))));
  const host = el('div', { class: 'plot' });
  chartIn(host, (width) => bars(shares, width));
  return section('comparison', DATA.stages.before ? 'Before and after' : 'After training', 'Rates with their 95\u2009% intervals, then every metric in numbers.',
    el('div', { class: 'card' }, legend(...STAGE_IDS.map((id) => [id, DATA.stage_names[id]])), host),
    metricTable(), targetTable());
}

/* An exact sampler of the target (estimated) beside the real ones, on the same facts. */
function targetTable() {
  const target = DATA.target;
  if (!target) return null;
  const ids = STAGE_IDS.filter((id) => Object.values(target.metrics).some((metric) => id in (metric.samplers || {})));
  const about = `Estimated from ${target.n_samples} weighted questions of the untrained sampler, on the ${target.n_facts} of ${target.n_tried} facts whose weights suffice; ${target.n} questions a fact.`;
  const rows = Object.entries(target.metrics).map(([name, metric]) => {
    const { label, unit, meaning } = definitionOf(name);
    return el('tr', {}, el('th', { scope: 'row', title: meaning }, rich(label)), el('td', { class: 'unit' }, rich(unit)), metricCell(metric, unit, 'exact'),
      ids.map((id) => metricCell({ value: metric.samplers[id] }, unit, id)));
  });
  const heads = ['an exact sampler', ...ids.map((id) => DATA.stage_names[id])];
  const head = el('tr', {}, el('th', { scope: 'col' }, 'On the same facts'), el('th', { scope: 'col' }, 'Unit'), heads.map((text) => el('th', { scope: 'col', class: 'number' }, text)));
  return el('div', { id: 'target' }, el('p', { class: 'note' }, about, target.note ? ` ${target.note[0].toUpperCase()}${target.note.slice(1)}.` : ''),
    el('div', { class: 'scroll card flush', tabindex: 0, role: 'region', 'aria-label': 'An exact sampler of the target' }, el('table', { class: 'metrics' }, el('thead', {}, head), el('tbody', {}, rows))));
}

function bars(definitions, width) {
  const narrow = width < 560;
  const left = narrow ? 4 : 172;
  const thick = 9;
  const heading = narrow ? 20 : 0;
  const rowHeight = heading + STAGE_IDS.length * (thick + 3) + 14;
  const height = definitions.length * rowHeight + 22;
  const x = linear([0, 1], [left, width - 58]);
  const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': 'Rates before and after' });
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    root.append(svg('line', { x1: x(value), x2: x(value), y1: 0, y2: height - 20, class: 'grid' }),
      svg('text', { x: x(value), y: height - 5, class: 'tick', 'text-anchor': 'middle' }, percent(value, 0)));
  }
  definitions.forEach((definition, i) => {
    const top = i * rowHeight + 6;
    const middle = top + heading + (STAGE_IDS.length * (thick + 3)) / 2;
    const row = svg('g', { class: 'bar-row', role: 'img', 'aria-label': stageText(definition.name) },
      svg('rect', { x: 0, y: top - 4, width, height: rowHeight, class: 'hit' }),
      svg('text', narrow ? { x: left, y: top + 11, class: 'bar-label' } : { x: left - 12, y: middle + 3, class: 'bar-label', 'text-anchor': 'end' }, definition.label));
    STAGE_IDS.forEach((id, k) => row.append(...bar(metricOf(id, definition.name), id, x, top + heading + k * (thick + 3), thick)));
    row.addEventListener('pointermove', (event) => showTip(event, el('strong', {}, definition.label), el('p', {}, definition.meaning), stageRows(definition.name)));
    row.addEventListener('pointerleave', hideTip);
    root.append(row);
  });
  return root;
}

function bar(row, id, x, y, thick) {
  if (!row || !known(row.value)) return [];
  const middle = y + thick / 2;
  const marks = [svg('rect', { x: x(0), y, width: Math.max(x(row.value) - x(0), 1), height: thick, rx: 2, class: `bar ${id}` })];
  const end = known(row.high) ? Math.max(row.high, row.value) : row.value;
  if (known(row.low)) {
    marks.push(svg('path', { d: `M${x(row.low)},${middle}H${x(row.high)}M${x(row.low)},${middle - 3}v6M${x(row.high)},${middle - 3}v6`, class: 'whisker' }));
  }
  return [...marks, svg('text', { x: x(end) + 7, y: middle + 3.5, class: `bar-value ${id}` }, percent(row.value, 1))];
}

function metricTable() {
  const rows = [];
  let group = '';
  for (const definition of DATA.definitions) {
    if (definition.group !== group) {
      group = definition.group;
      rows.push(el('tr', { class: 'group' }, el('th', { colspan: 2 + STAGE_IDS.length, scope: 'rowgroup' }, group)));
    }
    rows.push(el('tr', {}, el('th', { scope: 'row', title: definition.meaning }, rich(definition.label)), el('td', { class: 'unit' }, rich(definition.unit)),
      STAGE_IDS.map((id) => metricCell(metricOf(id, definition.name), definition.unit, id))));
  }
  const head = el('tr', {}, el('th', { scope: 'col' }, 'Metric'), el('th', { scope: 'col' }, 'Unit'), STAGE_IDS.map((id) => el('th', { scope: 'col', class: 'number' }, el('i', { class: `swatch ${id}` }), DATA.stage_names[id])));
  return el('div', { class: 'scroll card flush', tabindex: 0, role: 'region', 'aria-label': 'All metrics' }, el('table', { class: 'metrics' }, el('thead', {}, head), el('tbody', {}, rows)));
}

function metricCell(row, unit, id) {
  if (!row || !known(row.value)) return el('td', { class: 'number' }, row && row.note ? el('small', {}, row.note) : '\u2013');
  const band = known(row.low) || row.note ? el('small', {}, bandText(row, unit)) : null;
  return el('td', { class: `number ${id}` }, band, ' ', el('b', {}, inUnit(row.value, unit)));
}

function relationsSection() {
  if (!DATA.relations.length) return null;
  const ids = ['before', 'after'].filter((id) => DATA.relations.some((relation) => relation.stages[id]));
  const order = (relation) => -((relation.stages.after || relation.stages.before).strict ?? -1);
  const sorted = [...DATA.relations].sort((a, b) => order(a) - order(b));
  const rows = sorted.map((relation) => {
    const stage = relation.stages.after || relation.stages.before;
    return el('div', { class: 'relation' }, el('span', { class: 'name' }, relation.relation.replaceAll('_', ' ')), el('span', { class: 'count' }, `${stage.n_facts} fact${stage.n_facts === 1 ? '' : 's'}`),
      relationPlot(relation, ids), el('span', { class: 'rates' }, ids.map((id) => (relation.stages[id] ? percent(relation.stages[id].strict, 0) : '\u2013')).join(' \u2192 ')));
  });
  return section('relations', 'By relation', 'Strict success for each kind of fact, best first. Few facts make for large chance differences.',
    el('div', { class: 'card' }, legend(...ids.map((id) => [id, DATA.stage_names[id]])), el('div', { class: 'relations' }, rows)));
}

function relationPlot(relation, ids) {
  const host = el('div', { class: 'plot' });
  return chartIn(host, (width) => {
    const x = linear([0, 1], [6, width - 6]);
    const values = ids.map((id) => relation.stages[id]?.strict).filter(known);
    const root = svg('svg', { viewBox: `0 0 ${width} 18`, 'aria-hidden': 'true' }, svg('line', { x1: x(0), x2: x(1), y1: 9, y2: 9, class: 'track' }));
    if (values.length > 1) root.append(svg('line', { x1: x(values[0]), x2: x(values[1]), y1: 9, y2: 9, class: values[1] >= values[0] ? 'gain' : 'loss' }));
    ids.forEach((id) => known(relation.stages[id]?.strict) && root.append(svg('circle', { cx: x(relation.stages[id].strict), cy: 9, r: id === 'after' ? 5 : 4, class: `mark ${id}` })));
    root.addEventListener('pointermove', (event) => showTip(event, el('strong', {}, relation.relation), ids.filter((id) => relation.stages[id]).map((id) =>
      tipRow(id, DATA.stage_names[id], `strict ${percent(relation.stages[id].strict, 0)}, valid ${percent(relation.stages[id].valid, 0)} of ${relation.stages[id].n_questions}`))));
    root.addEventListener('pointerleave', hideTip);
    return root;
  });
}

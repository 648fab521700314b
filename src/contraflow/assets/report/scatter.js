/* log P_F against log R, both centered per fact: at the optimum every question lies on the diagonal. */

function centeredQuestions(stage) {
  const rows = DATA.questions.filter((row) => row.stage === stage && known(row.log_reward) && known(row.log_pf));
  const facts = new Map();
  for (const row of rows) {
    const sums = facts.get(row.fact_id) || { n: 0, reward: 0, pf: 0 };
    facts.set(row.fact_id, { n: sums.n + 1, reward: sums.reward + row.log_reward, pf: sums.pf + row.log_pf });
  }
  return rows.map((row) => {
    const { n, reward, pf } = facts.get(row.fact_id);
    return { row, x: row.log_reward - reward / n, y: row.log_pf - pf / n };
  });
}

function balanceSection() {
  const panels = ['before', 'after'].map((stage) => ({ stage, points: centeredQuestions(stage) })).filter((panel) => panel.points.length);
  if (!panels.length) return null;
  const spread = (key) => {
    const values = panels.flatMap((panel) => panel.points.map((point) => point[key])).sort((a, b) => a - b);
    return [quantile(values, 0.004), quantile(values, 0.996)];
  };
  const domain = { x: padded(spread('x')), y: padded(spread('y')) };
  return section('balance', 'Is sampling in proportion to the reward?',
    'Each dot is a question; both logs are centered on the mean of its fact. At the optimum log P_F = log R \u2212 log Z(f), so that all dots lie on the dashed diagonal (slope 1). The solid line is the least-squares fit.',
    el('div', { class: 'card' }, legend(['valid', 'valid contradiction'], ['invalid', 'not valid'], ['diagonal', 'slope 1'], ['fit', 'fit']),
      el('div', { class: 'panels' }, panels.map((panel) => scatterPanel(panel, domain)))));
}

function scatterPanel({ stage, points }, domain) {
  const host = el('div', { class: 'plot' });
  chartIn(host, (width) => drawScatter(points, domain, width, stage));
  const slope = metricOf(stage, 'slope');
  const r = valueOf(stage, 'pearson');
  const numbers = slope && known(slope.value) ? `slope ${short(slope.value)} [${short(slope.low)}, ${short(slope.high)}], r ${short(r)}` : '';
  return el('figure', {}, el('figcaption', {}, el('h4', {}, DATA.stage_names[stage], numbers && el('small', {}, numbers))), host);
}

function drawScatter(points, domain, width, stage) {
  const height = Math.round(Math.min(width * 0.8, 400));
  const box = { left: 44, right: width - 8, top: 8, bottom: height - 40 };
  const x = linear(domain.x, [box.left, box.right]);
  const y = linear(domain.y, [box.bottom, box.top]);
  const clip = newId('clip');
  const inside = (scale, value, [low, high]) => Math.min(Math.max(scale(value), Math.min(low, high)), Math.max(low, high));
  const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `log P_F against log R, ${DATA.stage_names[stage]}: ${points.length} questions` },
    svg('clipPath', { id: clip }, svg('rect', { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top })),
    ticks(domain.y, 5).map((value) => gridLine(box, y(value), tickLabel(value))),
    ticks(domain.x, width / 80).map((value) => svg('g', {}, svg('line', { x1: x(value), x2: x(value), y1: box.top, y2: box.bottom, class: 'grid' }),
      svg('text', { x: x(value), y: box.bottom + 16, class: 'tick', 'text-anchor': 'middle' }, tickLabel(value)))),
    svg('text', { x: (box.left + box.right) / 2, y: height - 5, class: 'axis', 'text-anchor': 'middle' }, 'log R \u2212 its mean over the fact'),
    svg('text', { x: -(box.top + box.bottom) / 2, y: 11, class: 'axis', 'text-anchor': 'middle', transform: 'rotate(-90)' }, richSvg('log P_F \u2212 its mean over the fact')));
  const placed = points.map((point) => ({ ...point, cx: inside(x, point.x, [box.left, box.right]), cy: inside(y, point.y, [box.top, box.bottom]) }));
  placed.sort((a, b) => a.row.valid - b.row.valid);
  root.append(svg('g', {}, placed.map((point) => svg('circle', { cx: point.cx.toFixed(1), cy: point.cy.toFixed(1), r: 2.8, class: point.row.valid ? 'point valid' : 'point invalid' }))));
  const fit = points.reduce((sums, point) => [sums[0] + point.x * point.y, sums[1] + point.x ** 2], [0, 0]);
  const line = (slope, name) => svg('line', { x1: x(domain.x[0]), x2: x(domain.x[1]), y1: y(slope * domain.x[0]), y2: y(slope * domain.x[1]), class: name, 'clip-path': `url(#${clip})` });
  root.append(line(1, 'diagonal'), fit[1] > 0 && line(fit[0] / fit[1], `fit ${stage}`));
  pickPoints(root, placed, width);
  return root;
}

function pickPoints(root, placed, width) {
  const ring = svg('circle', { r: 6, class: 'ring', visibility: 'hidden' });
  root.append(ring);
  root.addEventListener('pointermove', (event) => {
    const frame = root.getBoundingClientRect();
    const [px, py] = [event.clientX - frame.left, event.clientY - frame.top].map((part) => (part / frame.width) * width);
    const distance = (point) => Math.hypot(point.cx - px, point.cy - py);
    const found = placed[nearestIndex(placed, distance)];
    ring.setAttribute('visibility', distance(found) < 24 ? 'visible' : 'hidden');
    if (distance(found) >= 24) return hideTip();
    ring.setAttribute('cx', found.cx);
    ring.setAttribute('cy', found.cy);
    return showTip(event, el('strong', {}, found.row.question), el('p', {}, found.row.answer), tipRow(found.row.valid ? 'valid' : 'invalid', 'log R', short(found.row.log_reward)), tipRow('none', 'log P_F', short(found.row.log_pf)));
  });
  root.addEventListener('pointerleave', () => { ring.setAttribute('visibility', 'hidden'); hideTip(); });
}

/* Learning curves: the value of each step faint, a local linear fit bold, validation as dots. */

/* Fits a straight line to the neighbors of each step; a moving mean would be biased at both ends. */
function smoothed(points) {
  const reach = Math.floor(points.length / 20);
  if (points.length < 12 || reach < 2) return points;
  const values = points.map((point) => point[1]);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return points.map(([at], i) => {
    const first = Math.min(Math.max(0, i - reach), points.length - 2 * reach - 1); // the ends get as many neighbors
    const near = points.slice(first, first + 2 * reach + 1);
    return [at, Math.min(Math.max(fittedAt(at, near, i - first), least), most)];
  });
}

function fittedAt(at, near, place) {
  const farthest = Math.max(place, near.length - 1 - place) + 1;
  let [n, x, y, xx, xy] = [0, 0, 0, 0, 0];
  near.forEach(([step, value], k) => {
    const weight = 1 - (Math.abs(k - place) / farthest) ** 2;
    const offset = step - at;
    n += weight; x += weight * offset; y += weight * value; xx += weight * offset * offset; xy += weight * offset * value;
  });
  const spread = n * xx - x * x;
  return spread > 1e-12 ? (y * xx - x * xy) / spread : y / n;
}

function valueRange(chart, useLog) {
  const values = chart.series.flatMap((line) => line.points.map((point) => point[1])).sort((a, b) => a - b);
  const range = [quantile(values, 0.005), quantile(values, 0.995)];
  if (useLog) return [range[0] / 1.3, range[1] * 1.3];
  if (chart.unit === 'share') return [Math.min(0, range[0]), Math.max(1, range[1])];
  return padded(range);
}

function spansDecades(chart) {
  const values = chart.series.flatMap((line) => line.points.map((point) => point[1]));
  const low = Math.min(...values);
  return chart.log_scale && low > 0 && Math.max(...values) / low > 100;
}

function curveFigure(chart) {
  const host = el('div', { class: 'plot' });
  chartIn(host, (width) => drawCurves(chart, width));
  const named = chart.series.length > 1 ? legend(...chart.series.map((line, i) => [`s${i}${line.validation ? ' dot' : ''}`, line.label])) : null;
  return el('figure', { class: `card curve${chart.series.length > 2 ? ' wide' : ''}` },
    el('figcaption', {}, el('h4', {}, chart.title, chart.unit && el('small', {}, chart.unit)), chart.caption && el('p', {}, rich(chart.caption))),
    host, named);
}

function drawCurves(chart, width) {
  const useLog = spansDecades(chart);
  const height = 190;
  const box = { left: 46, right: width - 8, top: 8, bottom: height - 24 };
  const steps = chart.series.flatMap((line) => line.points.map((point) => point[0]));
  const extent = [Math.min(...steps), Math.max(...steps)];
  const range = valueRange(chart, useLog);
  const x = linear(extent, [box.left, box.right]);
  const y = (useLog ? logarithmic : linear)(range, [box.bottom, box.top]);
  const clip = newId('clip');
  const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': describe(chart) },
    svg('clipPath', { id: clip }, svg('rect', { x: box.left, y: box.top - 3, width: Math.max(box.right - box.left, 1), height: box.bottom - box.top + 6 })),
    (useLog ? decades(range) : ticks(range, 4)).map((value) => gridLine(box, y(value), chart.unit === 'share' ? percent(value, 0) : tickLabel(value))),
    ticks(extent, width / 90).filter((step) => Number.isInteger(step)).map((step) => svg('text', { x: x(step), y: height - 6, class: 'tick', 'text-anchor': 'middle' }, String(step))));
  const marks = svg('g', { 'clip-path': `url(#${clip})` });
  chart.series.forEach((line, i) => marks.append(...lineMarks(line, i, x, y)));
  root.append(marks);
  follow(root, chart, { x, box, width });
  return root;
}

const tickLabel = (value) => (value !== 0 && (Math.abs(value) >= 1e4 || Math.abs(value) < 1e-3) ? minus(value.toExponential(0).replace('e+', 'e')) : minus(String(Number(value.toPrecision(4)))));

function gridLine(box, at, label) {
  return svg('g', {}, svg('line', { x1: box.left, x2: box.right, y1: at, y2: at, class: 'grid' }),
    svg('text', { x: box.left - 7, y: at + 3.5, class: 'tick', 'text-anchor': 'end' }, label));
}

function lineMarks(line, i, x, y) {
  const path = (points) => points.map(([step, value], k) => `${k ? 'L' : 'M'}${x(step).toFixed(1)},${y(value).toFixed(1)}`).join('');
  if (line.validation || line.points.length < 3) {
    return [svg('path', { d: path(line.points), class: `line thin s${i}` }),
      ...line.points.map(([step, value]) => svg('circle', { cx: x(step), cy: y(value), r: 3, class: `dot s${i}` }))];
  }
  const smooth = smoothed(line.points);
  const onOff = line.points.every(([, value]) => value === 0 || value === 1);
  return [smooth !== line.points && !onOff && svg('path', { d: path(line.points), class: `line raw s${i}` }), svg('path', { d: path(smooth), class: `line s${i}` })].filter(Boolean);
}

function follow(root, chart, { x, box, width }) {
  const rule = svg('line', { y1: box.top, y2: box.bottom, class: 'rule', visibility: 'hidden' });
  root.append(rule);
  const smooth = chart.series.map((line) => (line.validation ? line.points : smoothed(line.points)));
  root.addEventListener('pointermove', (event) => {
    const frame = root.getBoundingClientRect();
    const at = ((event.clientX - frame.left) / frame.width) * width;
    const near = chart.series.map((line) => nearestIndex(line.points, (point) => Math.abs(x(point[0]) - at)));
    const step = chart.series[0].points[near[0]][0];
    rule.setAttribute('x1', x(step));
    rule.setAttribute('x2', x(step));
    rule.setAttribute('visibility', 'visible');
    showTip(event, el('strong', {}, `step ${short(step).replace(/\.0+$/, '')}`), chart.series.map((line, i) => {
      const raw = inUnit(line.points[near[i]][1], chart.unit);
      const mean = inUnit(smooth[i][near[i]][1], chart.unit);
      return tipRow(`s${i}`, line.label, raw === mean ? raw : `${raw}  (fit ${mean})`);
    }));
  });
  root.addEventListener('pointerleave', () => { rule.setAttribute('visibility', 'hidden'); hideTip(); });
}

function nearestIndex(items, distance) {
  let best = 0;
  let least = Infinity;
  items.forEach((item, i) => {
    const found = distance(item);
    if (found < least) { least = found; best = i; }
  });
  return best;
}

function describe(chart) {
  return `${chart.title} by step. ` + chart.series.map((line) => {
    const mean = smoothed(line.points);
    return `${line.label}: from ${inUnit(mean[0][1], chart.unit)} to ${inUnit(mean[mean.length - 1][1], chart.unit)}`;
  }).join('; ');
}

function curvesSection() {
  if (!DATA.curves.length) return section('curves', 'Learning curves', null, el('p', { class: 'empty' }, 'No training step was recorded.'));
  const grid = (part) => el('div', { class: 'curves' }, DATA.curves.filter((chart) => chart.section === part).map(curveFigure));
  const has = (part) => DATA.curves.some((chart) => chart.section === part);
  return section('curves', 'Learning curves', 'Each training step, faint; a local fit, bold. Point at a curve to read it.',
    has('learned') && el('h3', {}, 'What was learned'), has('learned') && grid('learned'),
    has('trained') && el('h3', {}, 'How it was trained'), has('trained') && grid('trained'));
}

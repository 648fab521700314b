/* Elements, number formats and scales. Texts of the run become text nodes, never markup. */

const DATA = JSON.parse(document.getElementById('data').textContent);
const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/* Labels of the report, not texts of the run: "P_F" gets a subscript, a hyphen between spaces becomes a minus sign. */
const rich = (text) => String(text).replaceAll(' - ', ' \u2212 ').split(/(P_[A-Z])/).map((part) => (/^P_[A-Z]$/.test(part) ? el('span', { class: 'sub' }, 'P', el('sub', {}, part[2])) : part));
const richSvg = (text) => String(text).split(/(P_[A-Z])/).flatMap((part) => (/^P_[A-Z]$/.test(part) ? ['P', svg('tspan', { dy: 3, 'font-size': '0.75em' }, part[2]), svg('tspan', { dy: -3 }, '\u200b')] : part));

/* Numbers are formatted with a minus sign; an unknown number is a dash. */
const known = (value) => typeof value === 'number' && Number.isFinite(value);
const minus = (text) => text.replace('-', '\u2212');
const fixed = (value, digits) => (known(value) ? minus(value.toFixed(digits)) : '\u2013');
const percent = (value, digits = 1) => (known(value) ? `${fixed(100 * value, digits)}\u2009%` : '\u2013');
const short = (value) => {
  if (!known(value)) return '\u2013';
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e5)) return minus(value.toExponential(1).replace('e+', 'e'));
  return fixed(value, size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 || size === 0 ? 2 : 4);
};
const logText = (value) => fixed(value, Math.abs(value) >= 10 ? 1 : 2);
const inUnit = (value, unit) => (unit === 'share' ? percent(value) : short(value));
const interval = (low, high, unit) => (unit === 'share' ? `${fixed(100 * low, 1)} \u2026 ${percent(high)}` : `${short(low)} \u2026 ${short(high)}`);
function duration(seconds) {
  if (!known(seconds)) return '\u2013';
  if (seconds < 60) return `${fixed(seconds, seconds < 10 ? 2 : 1)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
const bytes = (count) => {
  if (!known(count)) return '\u2013';
  return count >= 2 ** 30 ? `${fixed(count / 2 ** 30, 2)} GiB` : `${fixed(count / 2 ** 20, 0)} MiB`;
};

/* Scales map a value to a coordinate. */
const linear = ([from, to], [start, end]) => (value) => start + ((value - from) / (to - from || 1)) * (end - start);
const logarithmic = ([from, to], range) => {
  const inner = linear([Math.log(from), Math.log(to)], range);
  return (value) => inner(Math.log(Math.max(value, from)));
};
function ticks([from, to], count) {
  const raw = (to - from) / Math.max(count, 1) || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
  const found = [];
  for (let value = Math.ceil(from / step - 1e-9) * step; value <= to + step * 1e-6; value += step) {
    found.push(Math.abs(value) < step * 1e-6 ? 0 : value);
  }
  return found;
}
function decades([from, to]) {
  const first = Math.ceil(Math.log10(from) - 1e-9);
  const last = Math.floor(Math.log10(to) + 1e-9);
  const every = Math.ceil((last - first + 1) / 5);
  const found = [];
  for (let power = first; power <= last; power += every) found.push(10 ** power);
  return found.length > 1 ? found : [from, to];
}
function quantile(sorted, share) {
  const at = (sorted.length - 1) * share;
  const low = Math.floor(at);
  return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}
function padded([from, to], share = 0.06) {
  const room = (to - from || Math.abs(to) || 1) * share;
  return [from - room, to + room];
}

/* Draws a chart at the width of its host, again whenever the width changes. */
function chartIn(host, draw) {
  let width = 0;
  const redraw = () => {
    const now = Math.floor(host.clientWidth);
    if (now > 40 && now !== width) {
      width = now;
      host.replaceChildren(draw(width));
    }
  };
  new ResizeObserver(redraw).observe(host);
  return host;
}
let lastId = 0;
const newId = (name) => `${name}-${(lastId += 1)}`;

/* The page has one tooltip, which stays inside the window. */
const tip = document.getElementById('tip');
function showTip(event, ...content) {
  tip.replaceChildren(...content.flat(Infinity));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 14 + width > innerWidth ? event.clientX - width - 14 : event.clientX + 14;
  const top = event.clientY + 14 + height > innerHeight ? event.clientY - height - 14 : event.clientY + 14;
  tip.style.left = `${Math.max(6, left)}px`;
  tip.style.top = `${Math.max(6, top)}px`;
}
const hideTip = () => { tip.hidden = true; };
const tipRow = (key, label, value) => el('div', { class: 'tip-row' }, el('i', { class: `swatch ${key}` }), el('span', {}, rich(label)), el('b', {}, value));
addEventListener('scroll', hideTip, { passive: true });

function section(id, title, lede, ...content) {
  return el('section', { id, 'aria-labelledby': `${id}-title` }, el('h2', { id: `${id}-title` }, title), lede && el('p', { class: 'lede' }, rich(lede)), ...content);
}
const legend = (...entries) => el('div', { class: 'legend' }, entries.map(([key, label]) => el('span', {}, el('i', { class: `swatch ${key}` }), el('span', {}, rich(label)))));

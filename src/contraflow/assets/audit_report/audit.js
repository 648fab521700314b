/* The page of an audit is whole without a script. This adds tabs of models, live tables, and values under the pointer. */

const panels = [...document.querySelectorAll('.panel')];
const tabs = [...document.querySelectorAll('.tabs button')];
const SHIFT = 130; // height of the bars that stick to the top, and some room

function choose(index) {
  const seen = sectionInView();
  panels.forEach((panel, i) => { panel.hidden = i !== index; });
  tabs.forEach((tab, i) => { tab.setAttribute('aria-selected', String(i === index)); tab.tabIndex = i === index ? 0 : -1; });
  for (const link of document.querySelectorAll('#nav [data-part]')) link.setAttribute('href', link.getAttribute('href').replace(/\d+$/, index));
  if (seen) document.getElementById(seen.replace(/\d+$/, index))?.scrollIntoView({ behavior: 'instant' });
}

/* The part of the shown panel that is being read, so that another model's same part can be shown. */
function sectionInView() {
  const parts = panels.filter((panel) => !panel.hidden).flatMap((panel) => [...panel.querySelectorAll('section')]);
  return parts.filter((part) => part.getBoundingClientRect().top < SHIFT).at(-1)?.id;
}

function startTabs() {
  if (!tabs.length) return;
  document.querySelector('.tabs').hidden = false;
  tabs.forEach((tab, i) => {
    tab.addEventListener('click', () => choose(i));
    tab.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (i + step + tabs.length) % tabs.length;
      choose(next);
      tabs[next].focus();
    });
  });
  panels.forEach((panel, i) => { panel.setAttribute('role', 'tabpanel'); panel.setAttribute('aria-labelledby', `tab-${i}`); });
  choose(0);
}

/* Expected numbers found at the budget under the pointer. */
function readable(chart) {
  const { model, which, right } = chart.dataset;
  const names = [...chart.closest('section').querySelectorAll('.legend > span')];
  const rule = svg('line', { y1: 0, y2: '100%', class: 'rule', visibility: 'hidden' });
  chart.append(rule);
  chart.addEventListener('pointermove', (event) => {
    const frame = chart.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - frame.left) / frame.width));
    rule.setAttribute('x1', `${100 * share}%`);
    rule.setAttribute('x2', `${100 * share}%`);
    rule.setAttribute('visibility', 'visible');
    const rows = DATA.models[model].sources.filter((source) => source.asked.length).map((source, i) =>
      tipRow(names[i].firstChild.classList[1], names[i].textContent, valueAt(source.asked, source[which], share * right)));
    showTip(event, el('strong', {}, `after ${Math.round(share * right)} questions`), rows);
  });
  chart.addEventListener('pointerleave', () => { rule.setAttribute('visibility', 'hidden'); hideTip(); });
}

function valueAt(xs, ys, x) {
  const next = xs.findIndex((value) => value >= x);
  if (next < 0) return '\u2013';
  if (next === 0) return fixed(ys[0], 1);
  return fixed(linear([xs[next - 1], xs[next]], [ys[next - 1], ys[next]])(x), 1);
}

panels.forEach(enliven);
document.querySelectorAll('.chart[data-which]').forEach(readable);
startTabs();

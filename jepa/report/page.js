'use strict';
(() => {
  document.documentElement.dataset.script = 'on';
  const main = () => document.getElementById('report');
  let columns = null;
  const data = () => {
    const text = document.getElementById('data');
    return columns ??= text ? JSON.parse(text.textContent) : {step: []};
  };

  // Pointing at a curve shows its values there.
  const point = (plot, x) => {
    const d = plot.dataset, box = plot.getBoundingClientRect(), view = plot.viewBox.baseVal;
    const at = (x - box.left) / box.width * view.width;
    const share = (at - d.left) / (d.right - d.left);
    const wanted = +d.from + share * (d.to - d.from);
    const steps = data().step;
    for (const b of plot.closest('figure').querySelectorAll('[data-key]')) {
      const values = data()[b.dataset.key];
      let best = -1;
      steps.forEach((s, i) => {
        if (values[i] !== null && (best < 0 || Math.abs(s - wanted) < Math.abs(steps[best] - wanted))) best = i;
      });
      if (best < 0) continue;
      b.dataset.now ??= b.textContent;
      b.textContent = values[best];
      const left = +d.left + (steps[best] - d.from) / (d.to - d.from) * (d.right - d.left);
      const cursor = plot.querySelector('.cursor'), to = plot.querySelector('.to');
      cursor.style.visibility = 'visible';
      cursor.setAttribute('transform', `translate(${left} 0)`);
      to.dataset.now ??= to.textContent;
      to.textContent = 'at step ' + steps[best];
    }
  };
  const leave = plot => {
    for (const b of plot.closest('figure').querySelectorAll('[data-now]')) {
      b.textContent = b.dataset.now;
      delete b.dataset.now;
    }
    plot.querySelector('.cursor').style.visibility = '';
  };
  let last = null;
  const move = e => {
    const plot = e.target.closest?.('.plot') ?? null;
    if (last && last !== plot) leave(last);
    last = plot;
    if (plot) point(plot, e.clientX);
  };
  document.addEventListener('pointermove', move);
  document.addEventListener('pointerdown', move);

  // A run under way is looked at again: from a server in place, from a file by loading it anew.
  const show = text => {
    const next = new DOMParser().parseFromString(text, 'text/html').getElementById('report');
    if (!next || next.dataset.version === main().dataset.version) return;
    const open = [...document.querySelectorAll('details[open]')].map(d => d.id);
    main().replaceWith(document.adoptNode(next));
    for (const id of open) document.getElementById(id)?.setAttribute('open', '');
    columns = last = null;
  };
  const say = text => {
    let p = document.querySelector('.lost');
    if (!text) return p?.remove();
    if (!p) {
      p = document.body.appendChild(document.createElement('p'));
      p.className = 'lost';
      p.setAttribute('role', 'status');
    }
    p.textContent = text;
  };
  const served = location.protocol === 'http:' || location.protocol === 'https:';
  let missed = 0;
  const look = async () => {
    if (!('live' in main().dataset)) return;
    if (!document.hidden) {
      if (!served) return location.reload();
      try {
        const r = await fetch(location.href, {cache: 'no-cache'});
        if (r.ok) show(await r.text());
        missed = 0;
        say('');
      } catch {
        if (++missed >= 2) say('The run no longer answers: it has ended, or its machine is out of reach.');
      }
    }
    setTimeout(look, served ? 10000 : 60000);
  };
  setTimeout(look, served ? 10000 : 60000);
})();

"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const make = (tag, text, parent) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  };
  const number = (value) => {
    if (value === null || value === undefined) return "";
    if (value === 0) return "0";
    const size = Math.abs(value);
    return size >= 1e6 || size < 1e-4 ? value.toExponential(3) : String(Number(value.toPrecision(4)));
  };

  // -- tables ---------------------------------------------------------------------------------------------------
  function table(parent, columns) {
    const out = make("table", undefined, parent), names = Object.keys(columns);
    const head = make("tr", undefined, make("thead", undefined, out)), body = make("tbody", undefined, out);
    const isText = (name) => columns[name].some((value) => typeof value === "string");
    names.forEach((name) => { const cell = make("th", name, head); if (isText(name)) cell.className = "text"; });
    const rows = names.length ? columns[names[0]].length : 0;
    for (let i = 0; i < rows; i++) {
      const row = make("tr", undefined, body);
      names.forEach((name) => {
        const value = columns[name][i], text = isText(name);
        const cell = make("td", text ? value : name === "p_value" ? probability(value) : number(value), row);
        if (text) cell.className = "text";
      });
    }
  }
  const about = [data.n_sets > 1 ? `Pooled over ${data.n_sets} data sets` : "One data set"];
  if (data.family) about.push(`Generalised linear mixed model, ${data.family}: coefficients and effects are on the scale of the link, predictions on that of the response`);
  byId("about").textContent = about.join("\n");
  data.notes.forEach((note) => { make("p", note, byId("notes")); });
  const probability = (value) => (value === null ? "" : value < 0.0001 ? "<0.0001" : value.toFixed(4));
  const fixed = Object.fromEntries(Object.entries(data.fixed).filter(([, values]) => values.some((v) => v !== null)));
  table(byId("fixed"), fixed);
  table(byId("variances"), data.variances);
  const drawing = (parent) => (tag, given, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(given).forEach(([name, v]) => node.setAttribute(name, v));
    if (text !== undefined) node.textContent = text;
    parent.appendChild(node);
    return node;
  };
  if (data.sets) {
    const columns = { imputation: data.sets.labels, fit: data.sets.fit };
    data.fixed.term.forEach((term, j) => { columns[term] = data.sets.beta[j]; });
    table(byId("sets"), columns);
    byId("spread").style.height = `${30 * data.fixed.term.length}px`;
    spread();
    window.addEventListener("resize", spread);
  } else byId("sets-section").hidden = true;

  function spread() { // every coefficient on a scale of its own: the imputations over the pooled interval
    const svg = byId("spread"), row = 30, width = Math.max(280, svg.clientWidth || 700), names = Math.min(210, width * 0.4), draw = drawing(svg), most = Math.floor(names / 7.5);
    svg.textContent = "";
    svg.setAttribute("viewBox", `0 0 ${width} ${row * data.fixed.term.length}`);
    data.fixed.term.forEach((term, j) => {
      const beta = data.sets.beta[j], middle = row * (j + 0.5), from = data.fixed.conf_low[j], to = data.fixed.conf_high[j];
      const all = [...beta, from, to].filter((v) => v !== null), low = Math.min(...all), span = Math.max(...all) - low || 1;
      const x = (v) => names + 10 + (v - low) / span * (width - names - 30);
      draw("text", { x: names, y: middle + 4, "text-anchor": "end", fill: "var(--ink)", "font-size": 13 }, term.length > most ? term.slice(0, most - 1) + "…" : term);
      if (from !== null && to !== null) draw("line", { x1: x(from), x2: x(to), y1: middle, y2: middle, stroke: "var(--grey)", "stroke-width": 1.5 });
      beta.forEach((v, k) => {
        if (v === null) return;
        const dot = draw("circle", { cx: x(v), cy: middle, r: 4, fill: "var(--mark)", opacity: 0.6 });
        drawing(dot)("title", {}, `${data.sets.labels[k]}: ${number(v)}`);
      });
      draw("line", { x1: x(data.fixed.estimate[j]), x2: x(data.fixed.estimate[j]), y1: middle - 9, y2: middle + 9, stroke: "var(--ink)", "stroke-width": 2 });
    });
  }

  // -- predictions ----------------------------------------------------------------------------------------------
  const model = data.prediction, predict = typeof model === "string" ? null : remlaxNumbers.predictor(model);
  window.remlaxPredict = predict;
  const KINDS = { mean: "the expected response", observation: "a new observation", new: "a new observation in new groups" };

  function predictions() {
    if (typeof model === "string") { byId("prediction").textContent = model; return; }
    const at = model.controls.map((control) => control.start), groups = model.groups.map(() => -1);
    let kind = "mean";
    let moved = -1; // the numeric variable with most positions is drawn first
    model.controls.forEach((control, i) => { if (control.numeric && (moved < 0 || control.values.length > model.controls[moved].values.length)) moved = i; });
    if (moved < 0) byId("curve").style.display = "none";
    const box = byId("controls");
    model.controls.forEach((control, i) => {
      const label = make("label", control.name, box);
      if (control.numeric) {
        const slider = make("input", undefined, label), shown = make("output", number(control.values[at[i]]), label);
        slider.type = "range"; slider.min = 0; slider.max = control.values.length - 1; slider.value = at[i];
        slider.addEventListener("input", () => { at[i] = Number(slider.value); shown.textContent = number(control.values[at[i]]); slider.setAttribute("aria-valuetext", shown.textContent); moved = i; show(); });
      } else {
        const menu = make("select", undefined, label);
        control.values.forEach((name, k) => { make("option", name, menu).value = k; });
        menu.value = at[i];
        menu.addEventListener("change", () => { at[i] = Number(menu.value); show(); });
      }
    });
    model.groups.forEach((group, g) => {
      const label = make("label", group.name, box), field = make("input", undefined, label), list = make("datalist", undefined, label);
      field.type = "search"; field.placeholder = "average"; list.id = "levels-" + g; field.setAttribute("list", list.id);
      group.levels.slice(0, 2000).forEach((name) => { make("option", undefined, list).value = name; });
      const told = make("output", "", label);
      field.addEventListener("input", () => {
        groups[g] = group.levels.indexOf(field.value);
        told.textContent = field.value && groups[g] < 0 ? "no such level: an average one" : "";
        show();
      });
    });
    if (model.limits.residual) {
      const label = make("label", "Limits of", box), menu = make("select", undefined, label);
      menu.id = "kind";
      Object.entries(KINDS).forEach(([name, text]) => { make("option", text, menu).value = name; });
      menu.addEventListener("change", () => { kind = menu.value; show(); });
    }
    function show() {
      const found = predict(at, groups, kind), of = groups.some((level) => level >= 0) ? "" : kind === "new" ? "" : " for average groups";
      let text = `Expected${of} ${number(found.mean)}`;
      if (found.undetermined) text = "The data do not determine a prediction here: no row is in this combination";
      else if (found.limits) text += ` (95% limits of ${KINDS[kind]}: ${number(found.limits[0])} to ${number(found.limits[1])}${found.df < 1e6 ? `, ${number(found.df)} degrees of freedom` : ""})`;
      else text += kind === "new" ? " (new groups have limits where no group is chosen)" : " (no limits here: several groups are chosen, or the model has too many)";
      byId("predicted").textContent = text;
      if (moved >= 0) curve();
    }
    function curve() {
      const svg = byId("curve"), width = Math.max(280, svg.clientWidth || 700), height = 240, left = 60, bottom = 40, control = model.controls[moved];
      svg.textContent = ""; svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      const found = control.values.map((_, k) => { const there = at.slice(); there[moved] = k; return predict(there, groups, kind); });
      if (found.some((one) => one.undetermined)) return;
      const all = found.flatMap((one) => one.limits ? [one.mean, ...one.limits] : [one.mean]);
      const low = Math.min(...all), high = Math.max(...all), span = high - low || 1, first = control.values[0], last = control.values[control.values.length - 1];
      const x = (v) => left + (v - first) / (last - first || 1) * (width - left - 20), y = (v) => height - bottom - (v - low) / span * (height - bottom - 20);
      const draw = drawing(svg);
      const line = (values) => values.map((v, k) => `${k ? "L" : "M"}${x(control.values[k])},${y(v)}`).join("");
      if (found[0].limits) {
        const upper = line(found.map((one) => one.limits[1]));
        const lower = found.map((one, k) => `L${x(control.values[k])},${y(one.limits[0])}`).reverse().join("");
        draw("path", { d: `${upper}${lower}Z`, fill: "var(--mark)", opacity: 0.18 });
      }
      draw("path", { d: line(found.map((one) => one.mean)), fill: "none", stroke: "var(--mark)", "stroke-width": 2 });
      draw("circle", { cx: x(control.values[at[moved]]), cy: y(found[at[moved]].mean), r: 5, fill: "var(--mark)" });
      const style = { fill: "var(--soft)", "font-size": 13 };
      draw("text", { ...style, x: left, y: height - 20, "text-anchor": "middle" }, number(first));
      draw("text", { ...style, x: width - 20, y: height - 20, "text-anchor": "end" }, number(last));
      draw("text", { ...style, x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, control.name);
      draw("text", { ...style, x: left - 6, y: y(low), "text-anchor": "end" }, number(low));
      draw("text", { ...style, x: left - 6, y: y(high) + 10, "text-anchor": "end" }, number(high));
    }
    window.addEventListener("resize", () => { if (moved >= 0) curve(); });
    show();
  }
  predictions();

  // -- group effects: only what is seen is drawn, so that many thousand levels scroll ----------------------------
  const which = byId("which"), holder = byId("effects"), canvas = byId("dots"), search = byId("search"), ROW = 20;
  data.effects.forEach((effect, i) => { make("option", `${effect.term} by ${effect.group}`, which).value = i; });
  const filler = make("div", undefined, holder);
  let order = [];
  function sorted() {
    const effect = data.effects[Number(which.value)], text = search.value.trim().toLowerCase();
    order = effect.level.map((_, i) => i).filter((i) => effect.level[i].toLowerCase().includes(text));
    order.sort((a, b) => effect.estimate[b] - effect.estimate[a]);
    byId("count").textContent = `${order.length} of ${effect.level.length}`;
    filler.style.height = `${Math.max(0, order.length * ROW - holder.clientHeight)}px`;
    holder.scrollTop = 0;
    paint();
    list();
  }
  function paint() {
    const effect = data.effects[Number(which.value)], ratio = window.devicePixelRatio || 1;
    const width = holder.clientWidth, height = holder.clientHeight;
    canvas.width = width * ratio; canvas.height = height * ratio; canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d"), style = getComputedStyle(document.body);
    const colour = (name) => style.getPropertyValue(name).trim();
    pen.scale(ratio, ratio); pen.font = "13px system-ui, sans-serif"; pen.textBaseline = "middle";
    const finite = (values) => values.filter((v) => v !== null);
    const low = Math.min(0, ...range(finite(effect.conf_low), finite(effect.estimate), Math.min)), high = Math.max(0, ...range(finite(effect.conf_high), finite(effect.estimate), Math.max));
    const widest = effect.level.slice(0, 500).reduce((most, name) => Math.max(most, pen.measureText(name).width), 0);
    const names = Math.min(220, width * 0.38, widest + 14), x = (v) => names + 10 + (v - low) / (high - low || 1) * (width - names - 110);
    pen.strokeStyle = colour("--line"); pen.beginPath(); pen.moveTo(x(0), 0); pen.lineTo(x(0), height); pen.stroke();
    const first = Math.floor(holder.scrollTop / ROW), shift = first * ROW - holder.scrollTop;
    for (let k = first; k < order.length && (k - first) * ROW + shift < height; k++) {
      const i = order[k], y = (k - first) * ROW + shift + ROW / 2, from = effect.conf_low[i], to = effect.conf_high[i];
      const apart = from !== null && (from > 0 || to < 0);
      pen.fillStyle = colour("--ink"); pen.textAlign = "right"; pen.fillText(fitting(pen, effect.level[i], names - 6), names, y);
      pen.fillStyle = pen.strokeStyle = colour(apart ? "--mark" : "--grey");
      if (from !== null) { pen.lineWidth = 1.5; pen.beginPath(); pen.moveTo(x(from), y); pen.lineTo(x(to), y); pen.stroke(); }
      pen.beginPath(); pen.arc(x(effect.estimate[i]), y, 4, 0, 7); pen.fill();
      pen.fillStyle = colour("--soft"); pen.fillText(number(effect.estimate[i]), width - 20, y);
    }
  }
  function fitting(pen, text, width) { // the middle is left out: names often begin alike
    if (pen.measureText(text).width <= width) return text;
    let keep = text.length;
    const cut = () => text.slice(0, Math.ceil(keep / 2)) + "…" + text.slice(text.length - Math.floor(keep / 2));
    while (keep > 2 && pen.measureText(cut()).width > width) keep--;
    return cut();
  }
  function range(values, otherwise, pick) { return [(values.length ? values : otherwise).reduce((a, b) => pick(a, b), 0)]; }
  const said = (effect, i) => `${effect.level[i]}: ${number(effect.estimate[i])}${effect.conf_low[i] === null ? "" : ` (${number(effect.conf_low[i])} to ${number(effect.conf_high[i])})`}`;
  holder.addEventListener("mousemove", (event) => {
    const i = order[Math.floor((event.clientY - holder.getBoundingClientRect().top + holder.scrollTop) / ROW)];
    holder.title = i === undefined ? "" : said(data.effects[Number(which.value)], i);
  });
  const MOST = 1000, listed = byId("listed");
  function list() { // the same as text, for screen readers and for copying
    const box = byId("list");
    box.textContent = "";
    if (!listed.open) return;
    const effect = data.effects[Number(which.value)], shown = order.slice(0, MOST), pick = (values) => shown.map((i) => values[i]);
    table(box, { level: pick(effect.level), estimate: pick(effect.estimate), conf_low: pick(effect.conf_low), conf_high: pick(effect.conf_high) });
    if (order.length > MOST) make("p", `The first ${MOST} of ${order.length}: search for others`, box);
  }
  listed.addEventListener("toggle", list);
  which.addEventListener("change", sorted);
  search.addEventListener("input", sorted);
  holder.addEventListener("scroll", paint);
  window.addEventListener("resize", paint);
  sorted();
})();

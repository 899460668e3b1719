// The page: one cursor in time through all plots and the graph.
const pictures = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const state = { picture: pictures[0], at: 0, kind: "known", cards: [], playing: 0 };
const html = (markup) => { const t = document.createElement("template"); t.innerHTML = markup; return t.content.firstElementChild; };

function tip(event, title, rows) {
  const box = $("tip");
  box.innerHTML = `<p>${text(title)}</p>` + rows.map(([color, name, value]) => `<div>${color ? `<i style="background:var(--${color})"></i>` : ""}<span>${text(name)}</span><b>${text(value)}</b></div>`).join("");
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  const right = event.clientX + 16 + width > innerWidth;
  box.style.left = `${clamp(right ? event.clientX - width - 14 : event.clientX + 16, 4, innerWidth - width - 4)}px`;
  box.style.top = `${clamp(event.clientY - height / 2, 4, innerHeight - height - 64)}px`;
}
const untip = () => { $("tip").hidden = true; };

function card(title, unit, legend, rule) {
  const items = legend.map(([color, label]) => `<li><i style="background:var(--${color})"></i>${text(label)} <b></b></li>`).join("");
  return html(`<figure><figcaption>${text(title)}<span>${text(unit)}</span></figcaption><ul class="legend">${items}</ul><div class="plot"></div><details><summary>How it is counted, and values</summary><p>${text(rule)}</p><div class="values"></div></details></figure>`);
}

/** A plot over time with its legend, tooltip and table. */
function timeCard(plot, picture) {
  const figure = card(plot.title, plot.unit, plot.lines.map((line) => [line.color, line.label]), plot.rule);
  const box = figure.querySelector(".plot"), values = figure.querySelectorAll(".legend b");
  let drawn = null;
  const hover = (event) => {
    const rect = box.getBoundingClientRect(), i = nearest(picture.t, drawn.at(event.clientX - rect.left)), x = drawn.x(picture.t[i]);
    const line = box.querySelector(".hover");
    line.setAttribute("x1", x); line.setAttribute("x2", x); line.setAttribute("visibility", "visible");
    const rows = plot.lines.map((l) => [l.color, l.label, number(l.mean[i]) + (l.low.length ? ` [${number(l.low[i])}, ${number(l.high[i])}]` : "")]);
    tip(event, seconds(picture.t[i]), plot.shape === "stack" ? rows.reverse() : rows);
  };
  box.addEventListener("pointermove", hover);
  box.addEventListener("pointerleave", () => { untip(); box.querySelector(".hover")?.setAttribute("visibility", "hidden"); });
  box.addEventListener("click", (event) => setTime(drawn.at(event.clientX - box.getBoundingClientRect().left)));
  figure.querySelector("details").addEventListener("toggle", (event) => {
    const rows = Array.from({ length: 21 }, (_, i) => Math.round(i * (picture.t.length - 1) / 20));
    const head = plot.lines.map((line) => `<th scope="col">${text(line.label)}</th>`).join("");
    const body = [...new Set(rows)].map((i) => `<tr><th scope="row">${seconds(picture.t[i])}</th>${plot.lines.map((line) => `<td>${text(number(line.mean[i]))}</td>`).join("")}</tr>`).join("");
    if (event.target.open) figure.querySelector(".values").innerHTML = `<div class="scroll" tabindex="0"><table><thead><tr><th scope="col">Time</th>${head}</tr></thead><tbody>${body}</tbody></table></div>`;
  });
  return {
    figure,
    draw() { drawn = chart(plot, picture, Math.max(240, box.clientWidth)); box.innerHTML = drawn.svg; },
    move() {
      const i = nearest(picture.t, state.at), line = box.querySelector(".cursor"), x = drawn.x(state.at);
      line.setAttribute("x1", x); line.setAttribute("x2", x);
      values.forEach((value, n) => { value.textContent = number(plot.lines[n].mean[i]); });
    },
  };
}

function lookupCard(picture) {
  const rule = "Every lookup counts once, with the hosts that were asked where the item is; asking for its blocks is not counted, nor is an item that was held already. The second axis, on the right, is the share of all lookups that found their item after at most so many contacts.";
  const figure = card("Contacts per lookup", "% of lookups", [["c0", "share with so many"], ["c1", "share with at most so many"]], rule);
  const box = figure.querySelector(".plot");
  box.after(html('<p class="said"></p>'));
  let drawn = null;
  box.addEventListener("pointermove", (event) => { const { title, rows } = drawn.at(event.clientX - box.getBoundingClientRect().left); tip(event, title, rows); });
  box.addEventListener("pointerleave", untip);
  return {
    figure,
    draw() {
      drawn = histogram(picture.lookups, Math.max(240, box.clientWidth));
      box.innerHTML = drawn.svg;
      figure.querySelector(".said").textContent = drawn.label;
    },
    move() {},
  };
}

function graphCard(picture) {
  const figure = html(`<figure class="tall"><figcaption>Who knows whom<span id="when"></span></figcaption><fieldset class="pick" aria-label="Edges"><label><input type="radio" name="kind" value="known">known hosts</label><label><input type="radio" name="kind" value="together">members of one group</label></fieldset><ul class="legend"><li><i style="background:var(--c0)"></i>in a group</li><li><i style="background:var(--c1)"></i>came in the last 30 s</li><li><i style="background:var(--k0)"></i>in no group</li><li>larger: more items</li></ul><canvas role="img"></canvas><details><summary>How it is drawn</summary><p>Nodes pull at those that they are joined with, and push all others away; where something stands has no other meaning. It is the first run's graph at the last moment that was kept before the cursor. Of more than 300 nodes every so-manieth is shown, and of more than 2000 pairs every so-manieth.</p></details></figure>`);
  const canvas = figure.querySelector("canvas");
  let find = null, shown = "";
  const draw = () => {
    let index = 0;
    picture.graphs.forEach((graph, i) => { if (graph.at_s <= state.at + 1e-6) index = i; });
    const key = `${index} ${state.kind} ${canvas.clientWidth}`;
    if (key === shown) return;
    shown = key;
    find = drawGraph(canvas, picture, index, state.kind);
    const words = describeGraph(picture.graphs[index], state.kind);
    figure.querySelector("#when").textContent = words;
    canvas.setAttribute("aria-label", words);
  };
  figure.querySelectorAll("[name=kind]").forEach((input) => {
    input.checked = input.value === state.kind;
    input.addEventListener("change", () => { state.kind = input.value; draw(); });
  });
  canvas.addEventListener("pointermove", (event) => {
    const rect = canvas.getBoundingClientRect(), node = find && find(event.clientX - rect.left, event.clientY - rect.top);
    if (node) tip(event, `Node ${node.who}`, [["", "up for", seconds(node.age_s)], ["", "knows", `${node.known} hosts`], ["", "in", `${node.groups} groups`], ["", "holds", `${node.items} items`]]);
    else untip();
  });
  canvas.addEventListener("pointerleave", untip);
  return { figure, draw() { shown = ""; draw(); }, move: draw };
}

/** Moves the cursor. */
function setTime(at) {
  const { t, phases } = state.picture, end = t[t.length - 1] || 0, slider = $("time");
  state.at = clamp(at, 0, end);
  slider.max = t.length - 1;
  slider.value = nearest(t, state.at);
  let phase = "";
  for (const [name, from] of phases) if (from <= state.at + 1e-9) phase = name;
  $("clock").innerHTML = `${seconds(state.at)}<small>${text(phase)}</small>`;
  slider.setAttribute("aria-valuetext", `${seconds(state.at)}${phase ? `, phase ${phase}` : ""}`);
  state.cards.forEach((one) => one.move());
}

function show(picture) {
  const grid = $("grid");
  state.picture = picture;
  grid.textContent = "";
  state.cards = picture.plots.map((plot) => timeCard(plot, picture));
  const lookups = picture.lookups.found.length + picture.lookups.missed > 0;
  if (picture.graphs.length) state.cards.splice(2, 0, graphCard(picture));
  if (lookups) state.cards.splice(2, 0, lookupCard(picture));
  state.cards.forEach((one) => grid.append(one.figure));
  const some = picture.runs < picture.of ? `the first ${picture.runs} of ${picture.of}` : picture.runs;
  const runs = picture.runs === 1 ? "One run." : `Means of ${some} runs; bands are from the 5th to the 95th percentile of the runs. Phases that end by a condition are stretched to their mean length.`;
  $("note").textContent = `${runs} At most 600 points a series. The slider at the bottom moves a cursor through all plots and the graph; a click in a plot does so, too.`;
  $("bar").hidden = picture.t.length < 2;
  redraw();
}

function redraw() {
  if (!state.picture) return;
  state.cards.forEach((one) => one.draw());
  setTime(state.at);
}

const ICONS = { play: '<svg viewBox="0 0 10 10"><path d="M2 .5v9l7.5-4.5z"/></svg>', pause: '<svg viewBox="0 0 10 10"><path d="M1.5 1h2.6v8H1.5zM6 1h2.6v8H6z"/></svg>' };
function play(on) {
  cancelAnimationFrame(state.playing);
  state.playing = 0;
  $("play").innerHTML = on ? ICONS.pause : ICONS.play;
  $("play").setAttribute("aria-label", on ? "Pause" : "Play");
  if (!on) return;
  const { t } = state.picture, end = t[t.length - 1] || 0, from = state.at >= end ? 0 : state.at, began = performance.now();
  const frame = (now) => {
    const at = from + (now - began) / 15000 * end;
    setTime(at);
    if (at < end) state.playing = requestAnimationFrame(frame); else play(false);
  };
  state.playing = requestAnimationFrame(frame);
}

$("time").addEventListener("input", (event) => { play(false); setTime(state.picture.t[event.target.value]); });
$("play").addEventListener("click", () => play(!state.playing));
document.querySelectorAll("[name=case]").forEach((input) => input.addEventListener("change", () => { play(false); show(pictures[input.value]); }));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let width = 0;
new ResizeObserver(() => requestAnimationFrame(() => { const now = $("grid").clientWidth; if (now !== width) { width = now; redraw(); } })).observe($("grid"));
play(false);
if (state.picture) { state.at = state.picture.t[state.picture.t.length - 1] || 0; show(state.picture); }

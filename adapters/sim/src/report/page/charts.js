// Charts of series over time and of lookups, as SVG. Everything that is text goes through text().
const text = (value) => String(value).replace(/[\u202a-\u202e\u2066-\u2069]/g, "\ufffd").replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** A number for people, with at most four digits, or all that tells it from 100. */
function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size >= 10000) return value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 4 });
  const digits = size === 0 ? 0 : size >= 1000 ? 0 : size >= 99.99 && size < 100 ? 5 : size >= 90 && size < 100 ? 3 : size >= 100 ? 1 : size >= 1 ? 2 : 3;
  return String(Number(value.toFixed(digits)));
}

function seconds(value) {
  if (value >= 7200) return `${number(value / 3600)} h`;
  if (value >= 600) return `${number(value / 60)} min`;
  return `${number(Math.round(value * 10) / 10)} s`;
}

/** About n round values between two. */
function ticks(low, high, n) {
  const raw = (high - low) / n || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-6; i++) out.push(Number((i * step).toPrecision(12)));
  return out;
}

/** Time ticks in units that people count in. */
function timeTicks(end, n) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];
  const step = end < 2 ? 0 : steps.find((s) => end / s <= n) || end / n;
  if (!step) return ticks(0, end || 1, n);
  return Array.from({ length: Math.floor(end / step + 1e-9) + 1 }, (_, i) => i * step);
}

const LEFT = 42, RIGHT = 10, TOP = 18, BOTTOM = 24;

/** Index of the moment nearest to a time. */
function nearest(t, at) {
  let low = 0, high = t.length - 1;
  while (high - low > 1) { const mid = (low + high) >> 1; if (t[mid] <= at) low = mid; else high = mid; }
  return at - t[low] <= t[high] - at ? low : high;
}

/** Where the values of a plot begin and end. */
function range(plot) {
  if (plot.shape === "stack") {
    const sums = plot.lines[0].mean.map((_, i) => plot.lines.reduce((sum, line) => sum + (line.mean[i] || 0), 0));
    return [0, plot.unit.startsWith("%") ? 100 : most(sums)];
  }
  const all = plot.lines.flatMap((line) => [line.mean, line.low, line.high].flat()).filter((v) => v !== null);
  if (plot.shape === "share") {
    const least = Math.min(...all);
    return [least > 99.99 ? 99 : Math.max(0, 100 - (100 - least) * 1.15), 100];
  }
  return [0, plot.lines.length === 1 || plot.unit === "nodes" ? Math.max(...all) * 1.06 || 1 : most(plot.lines.flatMap((line) => line.mean))];
}

/** Where an axis ends: at the largest value, or below it when a few peaks would flatten everything else. */
function most(values) {
  const sorted = values.filter((v) => v !== null).sort((a, b) => a - b), top = sorted[sorted.length - 1] || 1;
  const usual = sorted[Math.floor(sorted.length * 0.95)];
  return usual > 0 && top > 4 * usual ? usual * 2 : top * 1.06;
}

function frame(width, height, x, y, xs, ys, xlabel, ylabel) {
  const right = width - RIGHT, base = height - BOTTOM;
  let out = "";
  for (const v of ys) out += `<line class="grid" x1="${LEFT}" x2="${right}" y1="${y(v)}" y2="${y(v)}"/><text x="${LEFT - 6}" y="${y(v) + 4}" text-anchor="end">${text(number(v))}</text>`;
  for (const [v, label] of xs) out += `<text x="${x(v)}" y="${base + 16}" text-anchor="${x(v) > right - 20 ? "end" : x(v) < LEFT + 8 ? "start" : "middle"}">${text(label)}</text>`;
  return out + `<line class="axis" x1="${LEFT}" x2="${right}" y1="${base}" y2="${base}"/>`;
}

const path = (points) => {
  let out = "", pen = "M";
  for (const [px, py] of points) {
    if (py === null || Number.isNaN(py)) { pen = "M"; continue; }
    out += `${pen}${px.toFixed(1)} ${py.toFixed(1)}`; pen = "L";
  }
  return out;
};

let clips = 0;

/** The largest value of a plot, and when. */
function highest(plot, t) {
  let peak = 0, when = 0;
  t.forEach((at, i) => {
    const values = plot.lines.map((line) => line.mean[i] || 0);
    const value = plot.shape === "stack" ? values.reduce((a, b) => a + b, 0) : Math.max(...values);
    if (value > peak) { peak = value; when = at; }
  });
  return [peak, when];
}

/** A plot over time; gives the SVG and its scales. */
function chart(plot, picture, width) {
  const height = 210, { t } = picture, end = t[t.length - 1] || 1, [low, high] = range(plot);
  const x = (v) => LEFT + (width - LEFT - RIGHT) * v / end;
  const y = (v) => v === null ? null : TOP + (height - TOP - BOTTOM) * (high - v) / (high - low);
  const xs = timeTicks(end, Math.max(2, Math.floor(width / 75))).map((v) => [v, seconds(v)]);
  const clip = `clip${clips++}`;
  let out = `${frame(width, height, x, y, xs, ticks(low, high, 4))}<clipPath id="${clip}"><rect x="0" y="${TOP - 1}" width="${width}" height="${height}"/></clipPath><g clip-path="url(#${clip})">`;
  if (plot.shape === "stack") {
    let below = t.map(() => 0);
    for (const line of plot.lines) {
      const above = below.map((v, i) => line.mean[i] === null ? v : v + line.mean[i]);
      if (above.some((v, i) => v > below[i])) {
        const there = t.map((_, i) => i).filter((i) => line.mean[i] !== null);
        const ring = [...there.map((i) => [x(t[i]), y(above[i])]), ...there.reverse().map((i) => [x(t[i]), y(below[i])])];
        out += `<path d="${path(ring)}Z" style="fill:var(--${line.color})" stroke="var(--card)" stroke-width=".7"/>`;
      }
      below = above;
    }
  } else {
    for (const line of plot.lines) {
      if (!line.low.length) continue;
      const there = t.map((_, i) => i).filter((i) => line.low[i] !== null);
      const ring = [...there.map((i) => [x(t[i]), y(line.high[i])]), ...there.reverse().map((i) => [x(t[i]), y(line.low[i])])];
      out += `<path d="${path(ring)}Z" style="fill:var(--${line.color})" opacity=".16"/>`;
    }
    for (const line of plot.lines) out += `<path d="${path(t.map((v, i) => [x(v), y(line.mean[i])]))}" fill="none" style="stroke:var(--${line.color})" stroke-width="1.8" stroke-linejoin="round"/>`;
  }
  out += "</g>";
  const [peak, when] = highest(plot, t);
  if (peak > high * 1.01) out += `<text class="peak" x="${x(when) + (x(when) > width / 2 ? -5 : 5)}" y="${TOP + 9}" text-anchor="${x(when) > width / 2 ? "end" : "start"}">↑ ${text(number(peak))}</text>`;
  picture.phases.forEach(([name, at], i) => {
    const next = i + 1 < picture.phases.length ? picture.phases[i + 1][1] : end, room = x(next) - x(at);
    if (at > 0) out += `<line class="phase" x1="${x(at)}" x2="${x(at)}" y1="${TOP - 6}" y2="${height - BOTTOM}"/>`;
    const most = Math.floor((room - 4) / 6);
    if (most > 3) out += `<text x="${x(at) + 4}" y="${TOP - 6}">${text(name.length > most ? name.slice(0, most - 1) + "…" : name)}</text>`;
  });
  out += `<line class="hover" y1="${TOP}" y2="${height - BOTTOM}" visibility="hidden"/><line class="cursor" y1="${TOP - 4}" y2="${height - BOTTOM}"/>`;
  return { svg: `<svg viewBox="0 0 ${width} ${height}" height="${height}" role="img" aria-label="${text(summary(plot, picture))}">${out}</svg>`, x, at: (px) => clamp((px - LEFT) / (width - LEFT - RIGHT), 0, 1) * end };
}

/** What a plot shows, for those who cannot see it. */
function summary(plot, picture) {
  const lines = plot.lines.map((line) => {
    const there = line.mean.filter((v) => v !== null);
    return `${line.label}: from ${number(there[0])} to ${number(there[there.length - 1])}, least ${number(Math.min(...there))}, most ${number(Math.max(...there))}`;
  });
  return `${plot.title}, ${plot.unit}, over ${seconds(picture.t[picture.t.length - 1] || 0)}. ${lines.join("; ")}.`;
}

/** Contacts per lookup: bars, and the share of lookups that needed at most so many. */
function histogram(lookups, width) {
  const height = 210, sum = lookups.found.reduce((a, b) => a + b, 0), all = sum + lookups.missed;
  // The last few may be far out: they are put together into one bar.
  let cut = 0, seen = 0;
  while (cut < lookups.found.length && seen < 0.995 * sum) seen += lookups.found[cut++];
  cut = Math.min(lookups.found.length, Math.max(cut, 8));
  const rest = lookups.found.slice(cut).reduce((a, b) => a + b, 0), found = lookups.found.slice(0, cut);
  const wide = Math.max(1, Math.ceil(found.length / Math.min(40, Math.max(8, Math.floor(width / 14)))));
  const bins = [];
  found.forEach((n, i) => { bins[Math.floor(i / wide)] = (bins[Math.floor(i / wide)] || 0) + n; });
  if (rest) bins.push(rest); else while (bins.length < 5) bins.push(0);
  const share = (n) => 100 * n / (all || 1), top = Math.max(...bins.map(share), 1) * 1.08;
  const x = (v) => LEFT + (width - LEFT - RIGHT - 26) * v / bins.length;
  const y = (v) => TOP + (height - TOP - BOTTOM) * (top - v) / top;
  const y2 = (v) => TOP + (height - TOP - BOTTOM) * (100 - v) / 100;
  const every = Math.ceil(bins.length / Math.max(3, Math.floor(width / 48)));
  const name = (i) => rest && i === bins.length - 1 ? `${cut}+` : wide === 1 ? `${i}` : `${i * wide}–${(i + 1) * wide - 1}`;
  const xs = bins.map((_, i) => [i + 0.5, name(i)]).filter((_, i) => i % every === 0);
  let out = frame(width, height, x, y, xs, ticks(0, top, 4)), cdf = 0;
  const steps = [[x(0), y2(0)]];
  bins.forEach((n, i) => {
    if (n) out += `<rect class="bar" x="${x(i) + 1.5}" width="${x(1) - x(0) - 3}" y="${y(share(n))}" height="${height - BOTTOM - y(share(n))}" rx="2" style="fill:var(--c0)" opacity=".75"/>`;
    cdf += n;
    steps.push([x(i), y2(share(cdf))], [x(i + 1), y2(share(cdf))]);
  });
  out += `<path d="${path(steps)}" fill="none" style="stroke:var(--c1)" stroke-width="1.8"/>`;
  for (const v of [0, 50, 100]) out += `<text x="${width - RIGHT - 22}" y="${y2(v) + 4}">${v}</text>`;
  const mean = lookups.found.reduce((a, n, i) => a + n * i, 0) / (sum || 1);
  seen = 0;
  const p99 = lookups.found.findIndex((n) => (seen += n) >= 0.99 * sum);
  const label = `${number(all)} lookups: ${number(share(sum))} % found, after ${number(mean)} contacts on average, 99 % of them after at most ${p99}.`;
  const at = (px) => {
    const i = clamp(Math.floor((px - LEFT) / (x(1) - x(0))), 0, bins.length - 1), upTo = bins.slice(0, i + 1).reduce((a, b) => a + b, 0);
    return { title: `${name(i)} contacts`, rows: [["c0", "lookups", `${number(share(bins[i]))} %`], ["c1", "at most so many", `${number(share(upTo))} %`]] };
  };
  return { svg: `<svg viewBox="0 0 ${width} ${height}" height="${height}" role="img" aria-label="${text(label)}">${out}</svg>`, label, at };
}

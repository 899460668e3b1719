// The graph of known hosts: springs along edges, repulsion between all nodes, drawn on a canvas.

/** Places for the nodes of a graph, beginning from those that they had before. */
function layout(graph, edges, before) {
  const n = graph.nodes.length, px = new Float64Array(n), py = new Float64Array(n), old = before || new Map();
  const index = new Map(graph.nodes.map((node, i) => [node.who, i]));
  // The golden angle spreads newcomers evenly, and the same graph always gets the same picture.
  graph.nodes.forEach((node, i) => {
    const r = 0.9 * Math.sqrt((i + 0.5) / n), a = i * 2.399963;
    [px[i], py[i]] = old.get(node.who) || [r * Math.cos(a), r * Math.sin(a)];
  });
  const pairs = edges.filter(([a, b]) => a < n && b < n), degree = new Float64Array(n);
  for (const [a, b] of pairs) { degree[a]++; degree[b]++; }
  const k = 1.1 / Math.sqrt(n || 1), rounds = old.size ? 70 : clamp(Math.round(3e7 / (n * n + 1)), 80, 260);
  const fx = new Float64Array(n), fy = new Float64Array(n);
  for (let round = 0; round < rounds; round++) {
    const heat = (old.size ? 0.05 : 0.16) * (1 - round / rounds) + 0.002;
    fx.fill(0); fy.fill(0);
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) {
      const dx = px[i] - px[j], dy = py[i] - py[j], d2 = dx * dx + dy * dy + 1e-6;
      if (d2 > 0.8) continue;
      const f = k * k / d2;
      fx[i] += dx * f; fy[i] += dy * f; fx[j] -= dx * f; fy[j] -= dy * f;
    }
    for (const [a, b] of pairs) {
      const dx = px[a] - px[b], dy = py[a] - py[b], d = Math.sqrt(dx * dx + dy * dy);
      const f = d / k / Math.max(1, Math.min(degree[a], degree[b]) / 3);
      fx[a] -= dx * f; fy[a] -= dy * f; fx[b] += dx * f; fy[b] += dy * f;
    }
    for (let i = 0; i < n; i++) {
      fx[i] -= px[i] * 0.5; fy[i] -= py[i] * 0.5;
      const f = Math.hypot(fx[i], fy[i]) || 1, step = Math.min(heat, f * 0.1) / f;
      px[i] += fx[i] * step; py[i] += fy[i] * step;
    }
  }
  return new Map([...index].map(([who, i]) => [who, [px[i], py[i]]]));
}

/** Places in every graph up to one, so that nodes move little from one moment to the next. */
function places(picture, index, kind) {
  picture.places ??= {};
  const known = picture.places[kind] ??= [];
  for (let i = known.length; i <= index; i++) known[i] = layout(picture.graphs[i], picture.graphs[i][kind], known[i - 1]);
  return known[index];
}

/** Draws a graph; gives a function from a point of the canvas to the node there. */
function drawGraph(canvas, picture, index, kind) {
  const graph = picture.graphs[index], at = places(picture, index, kind), style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  const width = canvas.clientWidth, height = Math.min(width, 470), scale = window.devicePixelRatio || 1;
  canvas.width = width * scale; canvas.height = height * scale; canvas.style.height = `${height}px`;
  const g = canvas.getContext("2d");
  g.scale(scale, scale);
  // The few that were pushed far away stand at the rim, so that the others have room.
  const radii = [...at.values()].map(([x, y]) => Math.hypot(x, y)).sort((a, b) => a - b);
  const reach = Math.max(0.2, (radii[Math.floor(radii.length * 0.97)] || 0) * 1.1), zoom = (Math.min(width, height) / 2 - 12) / reach;
  const points = graph.nodes.map((node) => {
    const [x, y] = at.get(node.who), near = Math.min(1, reach / (Math.hypot(x, y) || 1)) * zoom;
    return [width / 2 + x * near, height / 2 + y * near];
  });
  const edges = graph[kind];
  g.strokeStyle = color("soft");
  g.globalAlpha = clamp(60 / Math.sqrt(edges.length + 1) / 10, 0.06, 0.5);
  g.lineWidth = 0.8;
  g.beginPath();
  for (const [a, b] of edges) { g.moveTo(...points[a]); g.lineTo(...points[b]); }
  g.stroke();
  g.globalAlpha = 1;
  const size = (node) => clamp(26 / Math.sqrt(graph.nodes.length) + Math.sqrt(node.items), 2.5, 9);
  graph.nodes.forEach((node, i) => {
    g.beginPath(); g.arc(...points[i], size(node), 0, 7);
    g.fillStyle = color(node.groups === 0 ? "k0" : node.age_s < 30 && graph.at_s - node.age_s > 5 ? "c1" : "c0");
    g.fill(); g.lineWidth = 1; g.strokeStyle = color("card"); g.stroke();
  });
  return (x, y) => {
    let best = null, least = 15 * 15;
    points.forEach(([px, py], i) => { const d = (px - x) ** 2 + (py - y) ** 2; if (d < least) { least = d; best = graph.nodes[i]; } });
    return best;
  };
}

/** What a graph shows, in words. */
function describeGraph(graph, kind) {
  const shown = graph.nodes.length < graph.up ? `${graph.nodes.length} of ${graph.up} nodes` : `all ${graph.up} nodes`;
  const edges = graph[kind], all = graph[`${kind}_all`];
  return `At ${seconds(graph.at_s)}: ${shown}, ${edges.length < all ? `${edges.length} of ${all}` : all} pairs.`;
}

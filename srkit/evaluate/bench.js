{
// Sorting and filtering the table; the two plots, drawn from the data in the page. No text is ever read as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const node = (name, values = {}, ...children) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(values)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};
const options = (select, words) => select.replaceChildren(...words.map(([value, text]) => new Option(text, value)));

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === (column < 3 ? null : "descending") ||
        (column < 3 && head.getAttribute("aria-sort") === "descending");
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");  // what is not there is last either way
        const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
        return up ? order : -order;
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}

const filters = ["only-model", "only-scale", "only-set"].map(at);
if (filters[0]) {
  const rows = [...at("scores-table").tBodies[0].rows];
  const filter = () => {
    const [word, scale, set] = filters.map((input) => input.value);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !(row.cells[0].dataset.sort.toLowerCase().includes(word.toLowerCase()) &&
        (!scale || row.cells[1].dataset.sort === scale) && (!set || row.cells[2].textContent === set));
      shown += !row.hidden;
    }
    at("shown").textContent = `${shown} of ${rows.length} rows`;
  };
  filters.forEach((input) => input.addEventListener("input", filter));
  at("filters").hidden = false;
  filter();
}

for (const menus of document.querySelectorAll("[data-menus]")) menus.hidden = false;

const MARGIN = { left: 58, right: 16, top: 14, bottom: 46 };

// Round numbers across a range, or powers of ten and what lies between them.
const ticks = (low, high, log) => {
  if (log) {
    for (const steps of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 8]]) {
      const found = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
        for (const step of steps) if (step * 10 ** power >= low && step * 10 ** power <= high) found.push(step * 10 ** power);
      if (found.length > 2) return found;
    }
    return [low, high];
  }
  const raw = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) found.push(value);
  return found;
};
const plain = (value) => String(Number(value.toPrecision(4)));
const unit = (value, [prefix, times]) => `${plain(value / times)}${prefix}`;
const prefixOf = (value, name) =>
  name.startsWith("latency") ? (value < 1 ? [" ms", 1e-3] : [" s", 1]) : name.startsWith("memory") ? [" MB", 1e6] :
    [["", 1], [" K", 1e3], [" M", 1e6], [" G", 1e9], [" T", 1e12]].filter((p) => value >= p[1]).pop() ?? ["", 1];

// Axes of a plot, as wide as its place. Returns the drawing and the functions from values to pixels.
const axes = (place, { x, y, log, xName, yName, label, xText }) => {
  const width = Math.max(280, place.clientWidth), height = Math.round(Math.min(460, Math.max(300, width * 0.6)));
  const toX = (value) => {
    const [low, high, v] = log ? [...x, value].map(Math.log10) : [...x, value];
    return MARGIN.left + ((v - low) / (high - low)) * (width - MARGIN.left - MARGIN.right);
  };
  const toY = (value) => height - MARGIN.bottom - ((value - y[0]) / (y[1] - y[0])) * (height - MARGIN.top - MARGIN.bottom);
  const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
  let lastX = -Infinity;
  for (const value of ticks(...x, log)) {
    svg.append(node("line", { class: "grid", x1: toX(value), x2: toX(value), y1: MARGIN.top, y2: height - MARGIN.bottom }));
    const text = xText(value);
    if (toX(value) - lastX < 12 + text.length * 7.5) continue;
    lastX = toX(value);
    svg.append(node("text", { class: "tick", x: lastX, y: height - MARGIN.bottom + 18, "text-anchor": "middle" }, text));
  }
  for (const value of ticks(...y, false)) {
    svg.append(node("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: toY(value), y2: toY(value) }));
    svg.append(node("text", { class: "tick", x: MARGIN.left - 8, y: toY(value) + 4, "text-anchor": "end" }, plain(value)));
  }
  svg.append(
    node("line", { class: "axis", x1: MARGIN.left, x2: width - MARGIN.right, y1: height - MARGIN.bottom, y2: height - MARGIN.bottom }),
    node("line", { class: "axis", x1: MARGIN.left, x2: MARGIN.left, y1: MARGIN.top, y2: height - MARGIN.bottom }),
    node("text", { x: (MARGIN.left + width - MARGIN.right) / 2, y: height - 6, "text-anchor": "middle" }, xName),
    node("text", { transform: `translate(14 ${(MARGIN.top + height - MARGIN.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, yName),
  );
  return { svg, toX, toY, width, height };
};
const around = (values, share) => {
  const low = Math.min(...values), high = Math.max(...values);
  const room = (high - low) * share || Math.max(Math.abs(high) * 0.02, 0.01);
  return [low - room, high + room];
};

const named = { parameters: "parameters", multiply_adds: "multiply-adds", latency: "latency", memory: "peak memory" };
const words = (key) => key.replace(/^\w+/, (name) => named[name] ?? name);
const metricOf = (name) => data.metrics.find((metric) => metric.name === name);
const titled = (name) => name.toUpperCase() + (metricOf(name).unit ? ` in ${metricOf(name).unit}` : "");
const value = (name, number) => number.toFixed(metricOf(name).digits);

if (at("plot")) {
  const [where, what, cost] = ["plot-where", "plot-metric", "plot-cost"].map(at);
  options(where, data.columns.map((column, i) => [i, `${column.set} x${column.scale}`]));
  options(what, data.metrics.map(({ name }) => [name, name.toUpperCase()]));
  options(cost, data.costs.map((key) => [key, words(key)]));
  const known = (key) => data.columns.flatMap((column) => column.rows).filter((row) => row.costs[key] > 0).length;
  cost.value = data.costs.reduce((best, key) => (known(key) > known(best) ? key : best));  // that most models have
  const draw = () => {
    const column = data.columns[where.value];
    const all = column.rows.filter((row) => row.means[what.value] != null)
      .map((row) => ({ name: row.model, quality: row.means[what.value], cost: row.costs[cost.value] }));
    const points = all.filter((point) => point.cost > 0);
    const levels = all.filter((point) => !(point.cost > 0));
    if (!points.length) {
      at("plot").textContent = "No model has both figures.";
      at("front").textContent = "";
      return;
    }
    const better = metricOf(what.value).better;
    const costs = points.map((point) => point.cost);
    const spread = Math.max(1.6, (Math.max(...costs) / Math.min(...costs)) ** 0.12);
    const x = [Math.min(...costs) / spread, Math.max(...costs) * spread];
    const prefix = prefixOf(Math.min(...costs), cost.value);
    const { svg, toX, toY, width, height } = axes(at("plot"), {
      x, y: around(all.map((point) => point.quality), 0.12), log: true, xName: `${words(cost.value)} (log)`,
      yName: titled(what.value), xText: (v) => unit(v, prefixOf(v, cost.value)),
      label: `${what.value.toUpperCase()} against ${words(cost.value)}, ${where.selectedOptions[0].text}`,
    });
    const front = [];
    for (const point of [...points].sort((a, b) => a.cost - b.cost || better * (b.quality - a.quality))) {
      const last = front.at(-1);
      if (!last || better * point.quality > better * last.quality || (point.cost === last.cost && point.quality === last.quality)) front.push(point);
    }
    svg.append(node("path", { class: "front", d: "M" + front.map((p, i) => `${i ? `H${toX(p.cost)}V` : `${toX(p.cost)} `}${toY(p.quality)}`).join("") + `H${width - MARGIN.right}` }));
    for (const { name, quality } of levels) {
      svg.append(node("line", { class: "level", x1: MARGIN.left, x2: width - MARGIN.right, y1: toY(quality), y2: toY(quality) }),
        node("text", { class: "tick", x: width - MARGIN.right, y: toY(quality) - 5, "text-anchor": "end" }, name));
    }
    const taken = [];
    const free = (box) => box.x > MARGIN.left && box.x + box.w < width && box.y > 4 && box.y + 15 < height - MARGIN.bottom &&
      !taken.some((other) => box.x < other.x + other.w && other.x < box.x + box.w && Math.abs(box.y - other.y) < 15);
    points.forEach((p) => taken.push({ x: toX(p.cost) - 7, y: toY(p.quality) - 7, w: 14 }));
    for (const point of points) {
      const [px, py] = [toX(point.cost), toY(point.quality)];
      const told = `${point.name}: ${value(what.value, point.quality)} at ${unit(point.cost, prefixOf(point.cost, cost.value))}`;
      const group = node("g", { tabindex: 0, role: "img", "aria-label": told }, node("title", {}, told),
        node("circle", { cx: px, cy: py, r: 6, class: front.includes(point) ? "on" : "" }));
      const w = point.name.length * 7.2;
      const box = [[8, -22], [8, 6], [-w - 8, -22], [-w - 8, 6], [-w / 2, -27], [-w / 2, 11]].map(([dx, dy]) => ({ x: px + dx, y: py + dy }))
        .map((place) => ({ ...place, w })).find(free);
      if (box) {
        taken.push(box);
        group.append(node("text", { x: box.x, y: box.y + 12 }, point.name));
      }
      svg.append(group);
    }
    at("plot").replaceChildren(svg);
    at("front").textContent = `On the Pareto front, the cheapest first: ${front.map((point) => point.name).join(", ")}.` +
      (levels.length ? ` Dotted: without this cost (${levels.map((point) => point.name).join(", ")}).` : "");
  };
  [where, what, cost].forEach((select) => select.addEventListener("change", draw));
  new ResizeObserver(draw).observe(at("plot-box"));
  draw();
}

if (at("pairs")) {
  const [where, what, left, right] = ["pairs-where", "pairs-metric", "pairs-a", "pairs-b"].map(at);
  options(where, data.columns.map((column, i) => [i, `${column.set} x${column.scale}`]));
  options(what, data.metrics.map(({ name }) => [name, name.toUpperCase()]));
  const models = () => {
    const kept = [left.value, right.value];
    const found = data.columns[where.value].rows.filter((row) => row.values[what.value]).map((row) => row.model);
    [left, right].forEach((select, i) => {
      options(select, found.map((name) => [name, name]));
      select.value = found.includes(kept[i]) ? kept[i] : found[i ? found.length - 1 : 0] ?? "";
    });
    draw();
  };
  const draw = () => {
    const column = data.columns[where.value];
    const [a, b] = [left, right].map((select) => column.rows.find((row) => row.model === select.value)?.values[what.value]);
    const found = (a && b ? column.images : []).map((name, i) => ({ name, a: a[i], b: b[i] })).filter((p) => p.a != null && p.b != null);
    if (!found.length) {
      at("pairs").textContent = "The two models have no picture in common.";
      for (const id of ["pairs-told", "pairs-a-best", "pairs-b-best"]) at(id).textContent = "";
      return;
    }
    const range = around(found.flatMap((p) => [p.a, p.b]), 0.05);
    const { svg, toX, toY } = axes(at("pairs"), {
      x: range, y: range, log: false, xName: `${left.value}, ${titled(what.value)}`, yName: right.value, xText: plain,
      label: `${what.value.toUpperCase()} of each picture by ${left.value} and by ${right.value}`,
    });
    svg.append(node("line", { class: "axis", x1: toX(range[0]), y1: toY(range[0]), x2: toX(range[1]), y2: toY(range[1]) }));
    for (const point of found) {
      const told = `${point.name}: ${value(what.value, point.a)} and ${value(what.value, point.b)}`;
      svg.append(node("circle", { class: "small", cx: toX(point.a), cy: toY(point.b), r: 5 }, node("title", {}, told)));
    }
    at("pairs").replaceChildren(svg);
    const better = metricOf(what.value).better;
    const gains = found.map((p) => ({ ...p, gain: better * (p.b - p.a) })).sort((p, q) => q.gain - p.gain);
    const count = (test) => gains.filter((p) => test(p.gain)).length;
    const mean = found.reduce((sum, p) => sum + p.b - p.a, 0) / found.length;
    const test = data.tests[[column.set, column.scale, what.value, ...[left.value, right.value].sort()].join("\n")];
    at("pairs-told").textContent = `${right.value} is better on ${count((gain) => gain > 0)} of ${found.length} pictures, ` +
      `${left.value} on ${count((gain) => gain < 0)}. Mean difference ${mean >= 0 ? "+" : ""}${value(what.value, mean)}` +
      (test == null || left.value === right.value ? "." : `; paired Wilcoxon test: p = ${test < 0.001 ? test.toExponential(1) : test.toFixed(3)}.`);
    const list = (id, name, chosen) => at(id).replaceChildren(...(chosen.length ? [
      document.createTextNode(`${name} is ahead most on: ${chosen.map((p) => `${p.name} (${value(what.value, Math.abs(p.gain))})`).join(", ")}.`)] : []));
    list("pairs-b-best", right.value, gains.filter((p) => p.gain > 0).slice(0, 5));
    list("pairs-a-best", left.value, gains.filter((p) => p.gain < 0).reverse().slice(0, 5));
  };
  [where, what].forEach((select) => select.addEventListener("change", models));
  [left, right].forEach((select) => select.addEventListener("change", draw));
  new ResizeObserver(draw).observe(at("pairs-box"));
  models();
}
}

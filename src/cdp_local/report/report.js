"use strict";

const report = JSON.parse(document.getElementById("report").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const selected = Object.fromEntries(report.filters.map((filter) => [filter.name, filter.default]));

const AGGREGATES = {
  SUM: (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) : null),
  AVG: (values) => (values.length ? AGGREGATES.SUM(values) / values.length : null),
  MIN: (values) => (values.length ? values.reduce((least, value) => (value < least ? value : least)) : null),
  MAX: (values) => (values.length ? values.reduce((most, value) => (value > most ? value : most)) : null),
  COUNT: (values) => values.length,
};

/** Return the rows of the widget's dataset that have the selected filter values. */
function rowsOf(widget) {
  const filters = report.filters.filter((filter) => filter.datasets.includes(widget.dataset));
  return report.datasets[widget.dataset].filter((row) =>
    filters.every((filter) => String(row[filter.column]) === selected[filter.name]),
  );
}

/** Return the names of the quantitative fields of a chart. */
function measuresOf(widget) {
  const encodings = Object.values(widget.encodings).filter((encoding) => encoding.scale.type === "quantitative");
  return encodings.flatMap((encoding) => encoding.fields || [encoding]).map((encoding) => encoding.fieldName);
}

/** Return the aggregate of a field for the given rows. If the field has no aggregate, return its value in the first row. */
function valueOf(widget, name, rows) {
  const [column, aggregate] = widget.fields[name];
  if (!aggregate) return rows.length ? rows[0][column] : null;
  return AGGREGATES[aggregate](rows.map((row) => row[column]).filter((value) => value !== null));
}

function formatted(value, format = {}) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  const options = { maximumFractionDigits: format.decimalPlaces ? format.decimalPlaces.places : 2 };
  if (format.type === "number-percent") options.style = "percent";
  if (format.abbreviation === "compact" && Math.abs(value) >= 10000) options.notation = "compact";
  return new Intl.NumberFormat("en", options).format(value);
}

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function drawCounter(widget, body, rows) {
  const { value, target } = widget.encodings;
  const now = valueOf(widget, value.fieldName, rows);
  body.append(element("div", "value", formatted(now, value.format)));
  if (!target) return;
  const before = valueOf(widget, target.fieldName, rows);
  if (now === null || before === null) return;
  const line = element("div", "change");
  const isShare = value.format && value.format.type === "number-percent";
  if (isShare || before) {
    const change = isShare ? (now - before) * 100 : ((now - before) / Math.abs(before)) * 100;
    const size = Math.round(Math.abs(change) * 10) / 10;
    const sign = size === 0 ? "±" : change > 0 ? "▲ +" : "▼ −";
    line.append(`${sign}${size.toLocaleString("en")}${isShare ? " points" : " %"} · `);
  }
  line.append(`${target.displayName}: ${formatted(before, target.format)}`);
  body.append(line);
}

function drawTable(widget, body, rows) {
  const columns = widget.encodings.columns;
  const table = element("table");
  const head = table.createTHead().insertRow();
  for (const column of columns) {
    const cell = element("th", column.format ? "number" : "", column.displayName);
    cell.scope = "col";
    head.append(cell);
  }
  const lines = table.createTBody();
  for (const row of rows) {
    const line = lines.insertRow();
    for (const column of columns) {
      const value = row[widget.fields[column.fieldName][0]];
      line.append(element("td", column.format ? "number" : "", formatted(value, column.format)));
    }
  }
  body.append(table);
  body.tabIndex = 0;
}

/** Describe a chart in words, for screen readers. */
function altText(widget, rows) {
  const columns = Object.values(widget.fields).map(([column]) => column);
  const shown = rows.slice(0, 20).map((row) => columns.map((column) => formatted(row[column])).join(" "));
  const more = rows.length > shown.length ? `; and ${rows.length - shown.length} more` : "";
  return `${widget.title}, ${widget.kind} chart of ${columns.join(", ")}: ${shown.join("; ")}${more}.`;
}

function vegaConfig() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const text = { labelColor: color("--soft"), titleColor: color("--soft"), labelFontSize: 11, titleFontSize: 11 };
  return {
    background: "transparent",
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: { ...text, gridColor: color("--line"), domainColor: color("--line"), tickColor: color("--line") },
    legend: { ...text, orient: "bottom", columns: 3 },
    range: {
      category: dark.matches
        ? ["#7cc0f5", "#f5b97c", "#7fd6a5", "#e58fb5", "#c4b5fd", "#f2e07a", "#8fd3d3", "#d6a08a"]
        : ["#1f6fb2", "#d97b1f", "#1f8f5f", "#b0437a", "#6a4fc1", "#a08a00", "#2a8a8a", "#8a5a44"],
    },
    mark: { color: color("--accent") },
    line: { strokeWidth: 2.5 },
  };
}

function drawChart(widget, body, rows) {
  body.setAttribute("role", "img");
  body.setAttribute("aria-label", altText(widget, rows));
  const drawing = body.appendChild(element("div", "drawing"));
  const options = { actions: false, renderer: "svg", config: vegaConfig() };
  // The label describes the chart for screen readers, so hide the individual marks from screen readers.
  return vegaEmbed(drawing, { ...widget.chart, datasets: { rows } }, options).then(() => {
    drawing.setAttribute("aria-hidden", "true");
  });
}

const DRAW = { counter: drawCounter, table: drawTable, bar: drawChart, line: drawChart, heatmap: drawChart };

async function draw(widget) {
  const figure = document.getElementById(widget.name);
  const body = element("div", "body");
  figure.querySelector(".body").replaceWith(body);
  let rows = rowsOf(widget);
  if (widget.chart) {
    const columns = measuresOf(widget).map((name) => widget.fields[name][0]);
    rows = rows.filter((row) => columns.some((column) => row[column] !== null));
  }
  figure.dataset.rows = rows.length;
  if (rows.length) await DRAW[widget.kind](widget, body, rows);
  else body.append(element("p", "none", "No data."));
}

function fillFilters() {
  for (const filter of report.filters) {
    const select = document.getElementById(filter.name);
    const values = new Set(filter.datasets.flatMap((name) => report.datasets[name].map((row) => String(row[filter.column]))));
    values.delete(filter.default);
    // Sort periods from the latest to the earliest, and names alphabetically.
    const order = [...values].sort((a, b) => a.localeCompare(b, "en") * (/^\d/.test(a) ? -1 : 1));
    for (const value of [filter.default, ...order]) select.append(new Option(value, value));
    select.addEventListener("change", () => {
      selected[filter.name] = select.value;
      drawAll(report.widgets.filter((widget) => filter.datasets.includes(widget.dataset)));
    });
  }
}

async function drawAll(widgets) {
  document.body.dataset.state = "drawing";
  await Promise.all(widgets.map(draw));
  document.body.dataset.state = "drawn";
}

fillFilters();
dark.addEventListener("change", () => drawAll(report.widgets));
drawAll(report.widgets);

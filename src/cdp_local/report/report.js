"use strict";

const report = JSON.parse(document.getElementById("report").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const selected = Object.fromEntries(report.filters.map((filter) => [filter.name, filter.default]));

/** Number of rows above which a table has a search field. */
const LONG_TABLE = 12;

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
  const text = new Intl.NumberFormat("en", options).format(value);
  const least = 10 ** -options.maximumFractionDigits;
  // A small share is not zero: 26 of 50,000 refused rows must not look like none.
  return options.style === "percent" && value > 0 && value < least / 200 ? `< ${least}%` : text;
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
  const isMissing = now === null || now === undefined;
  const kind = isMissing ? "value missing" : typeof now === "string" && now.length > 20 ? "value words" : "value";
  body.append(element("div", kind, isMissing ? "no data" : formatted(now, value.format)));
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

/** Compare two values of a table: numbers by size, texts alphabetically, missing values last in both directions. */
function compare(one, other, direction) {
  const missing = (one === null || one === undefined) - (other === null || other === undefined);
  if (missing || one === null || one === undefined) return missing;
  if (typeof one === "number" && typeof other === "number") return direction * (one - other);
  return direction * String(one).localeCompare(String(other), "en", { numeric: true });
}

/** Draw a table whose column headings sort the rows. A long table has a field that searches the rows. */
function drawTable(widget, body, rows) {
  const columns = widget.encodings.columns;
  const nameOf = (column) => widget.fields[column.fieldName][0];
  const table = element("table");
  const head = table.createTHead().insertRow();
  const lines = table.createTBody();
  const texts = new Map(rows.map((row) => [row, columns.map((column) => formatted(row[nameOf(column)], column.format))]));
  let order = rows;
  let wanted = "";

  function fill() {
    const shown = order.filter((row) => texts.get(row).some((text) => text.toLowerCase().includes(wanted)));
    lines.replaceChildren(
      ...shown.map((row) => {
        const line = element("tr");
        texts.get(row).forEach((text, place) => line.append(element("td", columns[place].format ? "number" : "", text)));
        return line;
      }),
    );
    return shown.length;
  }

  for (const column of columns) {
    const cell = element("th", column.format ? "number" : "");
    cell.scope = "col";
    const button = element("button", "", column.displayName);
    button.type = "button";
    button.addEventListener("click", () => {
      // Numbers are sorted from the largest first, texts from A first.
      const before = cell.getAttribute("aria-sort");
      const isAscending = before ? before === "descending" : !column.format;
      for (const other of head.cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", isAscending ? "ascending" : "descending");
      order = [...rows].sort((a, b) => compare(a[nameOf(column)], b[nameOf(column)], isAscending ? 1 : -1));
      fill();
    });
    cell.append(button);
    head.append(cell);
  }
  fill();
  if (rows.length > LONG_TABLE) body.append(searchField(widget, rows.length, (text) => {
    wanted = text;
    return fill();
  }));
  const scroller = element("div", "scroller");
  scroller.tabIndex = 0;
  scroller.setAttribute("role", "region");
  scroller.setAttribute("aria-label", widget.title);
  scroller.append(table);
  body.append(scroller);
}

/** Return a search field, and the number of rows that match. */
function searchField(widget, total, search) {
  const line = element("div", "search");
  const input = element("input");
  input.type = "search";
  input.placeholder = "Search";
  input.setAttribute("aria-label", `Search in ${widget.title}`);
  const count = element("span", "", `${total.toLocaleString("en")} rows`);
  count.setAttribute("aria-live", "polite");
  input.addEventListener("input", () => {
    const found = search(input.value.trim().toLowerCase());
    count.textContent = found === total ? `${total.toLocaleString("en")} rows` : `${found.toLocaleString("en")} of ${total.toLocaleString("en")} rows`;
  });
  line.append(input, count);
  return line;
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
    legend: { ...text, orient: "bottom", columns: innerWidth < 500 ? 2 : 3 },
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

/** Tell whether a bar chart compares countries, but all rows have the same country: one bar compares nothing. */
function isOfOneCountry(widget) {
  const { y } = widget.encodings;
  if (widget.kind !== "bar" || !y || y.fieldName !== "country") return false;
  return new Set(report.datasets[widget.dataset].map((row) => row.country)).size === 1;
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
  figure.hidden = isOfOneCountry(widget);
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

// The report's behaviour: theme, plots drawn when they come into view, one selection shared by plots and table.
(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const rows = data.table.rows;
  const root = document.documentElement;
  const plots = [];
  let selected = null; // a Set of row numbers, or null for none
  let fromTable = false; // ticked rows do not filter the table that they were ticked in
  let busy = false; // while plots are changed by us, their events are not the reader's

  // ---- data: undoes what the page's writer made short
  // Most of the data is of figures below the first one, and is parsed when one of these is drawn.
  function figureOf({ panel, option }) {
    if (panel >= data.panels.length) {
      const rest = JSON.parse(document.getElementById("rest").textContent);
      for (const key of ["panels", "pool", "lists"]) data[key] = data[key].concat(rest[key]);
    }
    return data.panels[panel][option];
  }
  function expand(value) {
    if (Array.isArray(value)) return value.map(expand);
    if (value === null || typeof value !== "object") return value;
    if (value.runs !== undefined) {
      const list = [];
      for (let i = 0; i < value.runs.length; i += 2) for (let n = 0; n < value.runs[i + 1]; n++) list.push(value.runs[i]);
      return list;
    }
    if (value.list !== undefined) return expand(data.lists[value.list]);
    if (value.pool !== undefined) return expand(value.pool).map((place) => data.pool[place]);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, expand(item)]));
  }

  // ---- theme
  function stored() {
    try { return localStorage.getItem("sm-tuning-theme"); } catch (error) { return null; }
  }
  function setTheme(theme) {
    root.dataset.theme = theme;
    busy = true;
    Promise.all(plots.filter((plot) => plot.drawn).map((plot) =>
      Plotly.relayout(plot.element, { template: data.templates[theme] }))).finally(() => { busy = false; });
  }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  root.dataset.theme = stored() || (dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => { if (!stored()) setTheme(dark.matches ? "dark" : "light"); });
  document.getElementById("theme").addEventListener("click", () => {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("sm-tuning-theme", theme); } catch (error) { /* a browser may forbid it for files */ }
    setTheme(theme);
  });

  // ---- selection
  function select(chosen, table) {
    selected = chosen && chosen.size ? chosen : null;
    fromTable = Boolean(table);
    document.getElementById("selection").hidden = !selected;
    document.getElementById("selection-text").textContent =
      selected ? `${selected.size} of ${rows.length} ${data.noun}s selected` : "";
    showTable();
    busy = true;
    Promise.all(plots.map(mark)).finally(() => { busy = false; });
  }

  function mark(plot) {
    if (!plot.drawn) return null;
    const points = { traces: [], selectedpoints: [] };
    const lines = { traces: [], x: [], y: [], customdata: [], text: [] };
    const bases = { traces: [], opacity: [] };
    plot.traces.forEach((trace, index) => {
      const link = trace.meta && trace.meta.link;
      if (link === "points") {
        points.traces.push(index);
        points.selectedpoints.push(selected ? places(trace, selected) : null);
      } else if (link === "lines") {
        bases.traces.push(index);
        bases.opacity.push(selected ? 0.07 : trace.opacity);
      } else if (link === "twin") {
        const base = plot.traces[trace.meta.of];
        const kept = selected ? places(base, selected) : [];
        lines.traces.push(index);
        for (const key of ["x", "y", "customdata", "text"]) lines[key].push(base[key] ? kept.map((i) => base[key][i]) : []);
      }
    });
    const work = [];
    if (points.traces.length) work.push(Plotly.restyle(plot.element, { selectedpoints: points.selectedpoints }, points.traces));
    if (bases.traces.length) work.push(Plotly.restyle(plot.element, { opacity: bases.opacity }, bases.traces));
    if (lines.traces.length) work.push(Plotly.restyle(plot.element,
      { x: lines.x, y: lines.y, customdata: lines.customdata, text: lines.text }, lines.traces));
    return Promise.all(work);
  }

  function places(trace, chosen) {
    const found = [];
    trace.customdata.forEach((row, index) => { if (chosen.has(row)) found.push(index); });
    return found;
  }

  // Trials in a box that was drawn in a plot: points in it, and lines that run through it.
  function inBox(plot, event) {
    const chosen = new Set();
    for (const point of event.points || []) {
      const trace = plot.traces[point.curveNumber];
      if (trace && trace.meta && trace.meta.link === "points") chosen.add(trace.customdata[point.pointIndex]);
    }
    for (const trace of plot.traces) {
      if (!event.range || !trace.meta || trace.meta.link !== "lines") continue;
      const across = event.range[trace.xaxis || "x"], along = event.range[trace.yaxis || "y"];
      if (across && along) crossing(trace, sorted(across), sorted(along)).forEach((row) => chosen.add(row));
    }
    return chosen;
  }
  function sorted(ends) { return [Math.min(...ends), Math.max(...ends)]; }
  function crossing(trace, across, along) {
    const inside = new Set(), outside = new Set();
    trace.customdata.forEach((row, i) => {
      const x = trace.x[i], y = trace.y[i];
      if (x === null || y === null || x < across[0] || x > across[1]) return;
      (y >= along[0] && y <= along[1] ? inside : outside).add(row);
    });
    // On parallel axes a box over several of them wants each one's value within it.
    return trace.meta.every ? [...inside].filter((row) => !outside.has(row)) : [...inside];
  }

  // ---- plots
  const NARROW = 560; // pixels: a phone

  function prepared(figure, room) {
    const traces = expand(figure.data);
    traces.forEach((trace) => {
      if (room < NARROW && trace.meta && trace.meta.narrow) trace.text = trace.meta.narrow;
      if (trace.meta && trace.meta.link === "points") {
        trace.selected = { marker: { opacity: 1 } };
        trace.unselected = { marker: { opacity: 0.1 } };
      }
    });
    const twins = [];
    traces.forEach((trace, index) => {
      if (!trace.meta || trace.meta.link !== "lines") return;
      twins.push({ ...trace, x: [], y: [], customdata: [], text: [], opacity: 1, showlegend: false,
        meta: { link: "twin", of: index } });
    });
    return traces.concat(twins);
  }

  // Plotly has a button for boxes only where there are points; lines can be selected here too.
  const BOX = { name: "select", title: "Box Select", icon: Plotly.Icons.selectbox,
    click: (element) => Plotly.relayout(element, { dragmode: "select" }) };
  // Fit a layout to the width that its plot has. The title is text of the page, so that it breaks into lines.
  function fit(layout, traces, room) {
    const { least = 0, cells, shared } = layout.meta || {};
    const narrow = room < NARROW;
    const named = traces.some((trace) => trace.name && trace.showlegend !== false);
    // A row of buttons, and one of the legend. Plotly would widen narrower margins, and draw all once more.
    const above = narrow ? (named ? 42 : 10) : !named ? 26 : room < 760 ? 58 : 44;
    layout.height -= layout.margin.t - above;
    layout.margin = { ...layout.margin, t: above, ...(narrow ? { l: 58, r: 12 } : {}) };
    layout.legend = { ...layout.legend, x: 0, xanchor: "left" };
    // A wider plot scrolls within its panel.
    layout.width = Math.max(room, layout.width || least);
    if (cells > 1) arrange(layout, cells, shared);
    if (narrow) layout.dragmode = false; // a finger scrolls the page
    return layout;
  }

  // Lay the cells of a figure in as many columns as have room, evenly.
  function arrange(layout, cells, shared) {
    const [across, up, height] = [shared ? 28 : 92, 76, 190]; // pixels: between columns, between rows, of a cell
    const width = layout.width - layout.margin.l - layout.margin.r;
    const rows = Math.ceil(cells / Math.max(1, Math.min(cells > 12 ? 6 : 4, Math.floor((width + across) / (220 + across)))));
    const columns = Math.ceil(cells / rows);
    const total = rows * height + (rows - 1) * up;
    layout.height = total + layout.margin.t + layout.margin.b;
    const share = [(width - (columns - 1) * across) / columns / width, height / total];
    for (let cell = 0; cell < cells; cell++) {
      const [x, y] = ["xaxis", "yaxis"].map((name) => layout[name + (cell ? cell + 1 : "")]);
      const left = (cell % columns) * (share[0] + across / width);
      const bottom = (rows - 1 - Math.floor(cell / columns)) * (share[1] + up / total);
      x.domain = [left, Math.min(1, left + share[0])];
      y.domain = [bottom, Math.min(1, bottom + share[1])];
      if (shared) {
        y.showticklabels = cell % columns === 0;
        y.title = y.showticklabels ? layout.yaxis.title : undefined;
      }
    }
  }
  function hasMarkers(trace) { return trace.type === "bar" || (trace.mode || "").includes("markers"); }

  function draw(plot, paper) {
    const figure = figureOf(plot);
    plot.room = paper || plot.element.clientWidth;
    plot.traces = prepared(figure, plot.room);
    const linked = plot.traces.some((trace) => trace.meta && trace.meta.link);
    const layout = fit(expand({ ...figure.layout, dragmode: linked ? "select" : "zoom" }), plot.traces, plot.room);
    layout.template = data.templates[root.dataset.theme];
    const settings = { displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "autoScale2d"],
      displayModeBar: layout.dragmode ? "hover" : false,
      modeBarButtonsToAdd: linked && !plot.traces.some(hasMarkers) ? [BOX] : [] };
    plot.drawn = true;
    return Plotly.react(plot.element, plot.traces.map((trace) => ({ ...trace })), layout, settings).then(() => {
      if (!plot.listens) {
        plot.listens = true;
        plot.element.on("plotly_selected", (event) => {
          if (busy || !event) return;
          const chosen = inBox(plot, event);
          setTimeout(() => { forgetBoxes(); select(chosen); }, 0); // plotly marks by its box what we mark by trial
        });
        plot.element.on("plotly_deselect", () => { if (!busy) setTimeout(() => select(null), 0); });
      }
      plot.element.dataset.drawn = "yes";
      return selected ? mark(plot) : null;
    });
  }

  function forgetBoxes() {
    busy = true;
    for (const plot of plots) {
      if (plot.drawn && (plot.element.layout.selections || []).length) {
        Plotly.relayout(plot.element, { selections: [] });
      }
    }
  }

  document.querySelectorAll(".plot").forEach((element) => {
    plots.push({ element, panel: Number(element.dataset.panel), option: 0, drawn: false, listens: false, traces: [] });
  });
  document.querySelectorAll("select[data-panel]").forEach((choice) => {
    choice.addEventListener("change", () => {
      const plot = plots.find((one) => one.panel === Number(choice.dataset.panel));
      plot.option = Number(choice.value);
      const { title, subtitle } = figureOf(plot);
      const panel = choice.closest(".panel");
      panel.querySelector("h3").textContent = title;
      panel.querySelector("p").textContent = subtitle;
      draw(plot);
    });
  });
  const NEAR = 300; // pixels beyond the window, within which plots are drawn ahead
  const SETTLED = 500; // milliseconds after which the plots that are seen have been painted
  const whenIdle = window.requestIdleCallback || setTimeout;
  // One plot in each task, the visible ones first: a plot below the page's end must not delay one that is seen.
  const waiting = [];
  let drawing = false;
  function drawNext() {
    const isSeen = ({ element }) => {
      const { top, bottom } = element.getBoundingClientRect();
      return bottom > 0 && top < innerHeight;
    };
    const place = Math.max(0, waiting.findIndex(isSeen));
    const [plot] = waiting.splice(place, 1);
    drawing = Boolean(plot);
    if (!plot && root.classList.contains("fresh")) setTimeout(whenIdle, SETTLED, settle);
    if (plot) Promise.resolve(plot.drawn ? null : draw(plot)).finally(() => setTimeout(drawNext, 0));
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const plot = plots.find((one) => one.element === entry.target);
      if (entry.isIntersecting && !plot.drawn && !waiting.includes(plot)) waiting.push(plot);
    }
    if (!drawing) drawNext();
  }, { rootMargin: `${NEAR}px` });
  // The data of all plots but the first stands after this script.
  addEventListener("DOMContentLoaded", () => plots.forEach((plot) => watcher.observe(plot.element)));
  addEventListener("resize", () => {
    plots.filter((plot) => plot.drawn && plot.element.clientWidth !== plot.room).forEach((plot) => draw(plot));
  });
  // The width of the paper is not known here; 640 pixels fit on A4 and Letter.
  addEventListener("beforeprint", () => {
    root.dataset.theme = "light";
    settle();
    plots.forEach((plot) => draw(plot, 640));
  });
  addEventListener("afterprint", () => {
    root.dataset.theme = stored() || (dark.matches ? "dark" : "light");
    plots.forEach((plot) => draw(plot));
  });

  // ---- table
  const columns = data.table.columns;
  const best = new Set(data.table.best);
  const body = document.querySelector("#table tbody");
  const more = document.getElementById("more");
  const search = document.getElementById("search");
  const filters = columns.map(() => "");
  const PAGE = 200;
  const FIRST = 25; // of a long table: more than fit in its box; the others follow when they can be missed
  let sorting = { ...data.table.sort, set: true };
  let limit = rows.length > PAGE ? FIRST : PAGE;

  function make(tag, parent, text) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }

  function header() {
    const head = document.querySelector("#table thead");
    const line = make("tr", head);
    make("th", line, "");
    [data.noun, ...columns.map((column) => column.name)].forEach((name, index) => {
      const cell = make("th", line);
      cell.setAttribute("aria-sort", index - 1 === sorting.column ? (sorting.down ? "descending" : "ascending") : "none");
      cell.scope = "col";
      if (index > 0 && columns[index - 1].kind === "number") cell.className = "number";
      const button = make("button", cell, name);
      button.type = "button";
      button.addEventListener("click", () => {
        const column = index - 1;
        const again = sorting.column === column && sorting.set;
        sorting = { column, down: again ? !sorting.down : false, set: true };
        line.querySelectorAll("th").forEach((other) => { if (other.scope) other.setAttribute("aria-sort", "none"); });
        cell.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
        showTable();
      });
      if (index === 0) return;
      const filter = make("input", cell);
      filter.type = "text";
      filter.setAttribute("aria-label", `Filter ${name}`);
      filter.addEventListener("input", () => { filters[index - 1] = filter.value; limit = PAGE; showTable(); });
    });
  }

  function passes(value, filter, kind) {
    if (!filter.trim()) return true;
    if (kind === "number") {
      const bound = filter.match(/^\s*(<=|>=|<|>|=)\s*([-+.\deE]+)\s*$/);
      const span = filter.match(/^\s*([-+.\deE]+)\s*\.\.\s*([-+.\deE]+)\s*$/);
      if ((bound || span) && typeof value !== "number") return false;
      if (span) return value >= Number(span[1]) && value <= Number(span[2]);
      if (bound) {
        const limit = Number(bound[2]);
        return { "<": value < limit, ">": value > limit, "<=": value <= limit, ">=": value >= limit, "=": value === limit }[bound[1]];
      }
    }
    return shown(value).toLowerCase().includes(filter.trim().toLowerCase());
  }
  function shown(value) {
    if (value === null) return "";
    if (typeof value !== "number") return value;
    return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
  }

  function visible() {
    const words = search.value.trim().toLowerCase();
    const found = [];
    rows.forEach((row, index) => {
      if (selected && !fromTable && !selected.has(index)) return;
      if (!row.every((value, column) => passes(value, filters[column], columns[column].kind))) return;
      if (words && ![data.table.labels[index], ...row.map(shown)].some((text) => text.toLowerCase().includes(words))) return;
      found.push(index);
    });
    return order(found);
  }
  function order(found) {
    if (!sorting.set) return found;
    const sign = sorting.down ? -1 : 1;
    const of = (index) => (sorting.column < 0 ? index : rows[index][sorting.column]);
    const empty = (value) => value === null || value === "";
    return found.sort((one, other) => {
      const a = of(one), b = of(other);
      if (empty(a) || empty(b)) return empty(a) - empty(b); // what is missing comes last, whichever way
      if (typeof a === "number" && typeof b === "number") return sign * (a - b);
      return sign * String(a).localeCompare(String(b), undefined, { numeric: true });
    });
  }

  function showTable() {
    const found = visible();
    const fragment = document.createDocumentFragment();
    found.slice(0, limit).forEach((index) => fragment.append(line(index)));
    body.replaceChildren(fragment);
    document.getElementById("count").textContent = `${found.length} of ${rows.length} shown`;
    more.hidden = found.length <= limit;
    more.textContent = `Show all ${found.length}`;
  }
  function fillTable() {
    if (limit === FIRST) { limit = PAGE; showTable(); }
  }
  function settle() {
    root.classList.remove("fresh");
    fillTable();
  }
  function line(index) {
    const element = document.createElement("tr");
    element.dataset.row = index;
    element.classList.toggle("best", best.has(index));
    element.classList.toggle("marked", Boolean(selected && selected.has(index)));
    const tick = make("input", make("td", element));
    tick.type = "checkbox";
    tick.checked = Boolean(selected && selected.has(index));
    tick.setAttribute("aria-label", `Select ${data.noun} ${data.table.labels[index]}`);
    tick.addEventListener("change", () => {
      const chosen = new Set(selected || []);
      if (tick.checked) chosen.add(index); else chosen.delete(index);
      forgetBoxes();
      select(chosen, fromTable || !selected);
    });
    make("td", element, data.table.labels[index] + (best.has(index) ? " ★" : "")).title = data.table.names[index];
    rows[index].forEach((value, column) => {
      const cell = make("td", element, shown(value));
      if (columns[column].kind === "number") cell.className = "number";
      if (typeof value === "string" && value.length > 40) cell.title = value;
    });
    return element;
  }

  header();
  showTable();
  // The layout of 200 rows takes as long as a plot, so that it waits for the plots that are seen.
  body.closest(".scroll").addEventListener("scroll", fillTable, { once: true });
  search.addEventListener("input", () => { limit = PAGE; showTable(); });
  more.addEventListener("click", () => { limit = Infinity; showTable(); });
  document.getElementById("show-filtered").addEventListener("click", () => { forgetBoxes(); select(new Set(visible()), true); });
  const clear = () => { forgetBoxes(); select(null); };
  document.getElementById("clear").addEventListener("click", clear);
  addEventListener("keydown", (event) => { if (event.key === "Escape" && selected) clear(); });
  // The first plot is drawn before the page is painted again, for which the observer would wait.
  const [first] = plots;
  if (first && first.element.getBoundingClientRect().top < innerHeight + NEAR) {
    waiting.push(first);
    drawNext();
  }
})();

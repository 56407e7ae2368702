// Search over the pages, also where the site is opened as files: lunr.js and the index are loaded as scripts.
document.addEventListener("DOMContentLoaded", () => { // the theme writes the dialog after its scripts
  "use strict";
  const MOST = 30; // results
  const field = document.getElementById("properdocs-search-query");
  const results = document.getElementById("properdocs-search-results");
  if (!field || !results) return;
  const base = base_url.replace(/\/?$/, "/");
  const sections = new Map();
  let index = null;
  let loading = null;

  function load(name) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${base}search/${name}`;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${name} cannot be loaded`));
      document.head.append(script);
    });
  }

  // The index takes a moment to build, so only who searches waits for it.
  function prepare() {
    loading = loading || Promise.all([load("lunr.js"), load("search_index.js")]).then(() => {
      index = lunr(function () {
        this.ref("location");
        this.field("title", { boost: 10 });
        this.field("text");
        window.searchIndex.docs.forEach((section) => {
          section.text = section.text.replaceAll("¶", ""); // the sign of links to a heading
          sections.set(section.location, section);
          this.add(section);
        });
      });
      find();
    });
  }

  function words() {
    return field.value.toLowerCase().split(/[^\p{L}\p{N}_-]+/u).filter(Boolean);
  }

  function find() {
    if (!index) return;
    const wanted = words();
    if (wanted.join("").length < 2) return results.replaceChildren();
    // Each word must be in a section; the last one may still be incomplete.
    const found = index.query((query) => wanted.forEach((word, place) => {
      const terms = lunr.tokenizer(word).map(String);
      terms.forEach((term) => {
        query.term(index.pipeline.runString(term), { boost: 5 });
        if (place === wanted.length - 1) query.term(term, { wildcard: lunr.Query.wildcard.TRAILING, usePipeline: false });
      });
    })).map((one) => sections.get(one.ref));
    const all = found.filter(({ title, text }) => wanted.every((word) => `${title} ${text}`.toLowerCase().includes(word)));
    const shown = (all.length ? all : found).slice(0, MOST).map((section) => article(section, wanted));
    if (!shown.length) shown.push(element("p", `No page has “${field.value}”.`));
    results.replaceChildren(...shown);
  }

  function element(tag, text) {
    const made = document.createElement(tag);
    made.textContent = text;
    return made;
  }

  function article({ location, title, text }, wanted) {
    const page = sections.get(location.split("#")[0]);
    const link = element("a", page && page.title !== title ? `${page.title} › ${title}` : title);
    link.href = base + location;
    const head = document.createElement("h3");
    head.append(link);
    const places = wanted.map((word) => text.toLowerCase().indexOf(word)).filter((place) => place >= 0);
    const start = Math.max(0, Math.min(...places, text.length) - 60);
    const around = places.length ? text.slice(start, start + 200) : text.slice(0, 200);
    const made = document.createElement("article");
    made.append(head, element("p", (places.length && start ? "… " : "") + around + (text.length > start + 200 ? " …" : "")));
    return made;
  }

  field.addEventListener("focus", prepare);
  field.addEventListener("input", () => { prepare(); find(); });
});

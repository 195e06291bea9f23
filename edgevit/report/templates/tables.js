"use strict";
// Lets a reader sort the tables by a click on a heading and filter them by words. Without this script they are plain tables.
(() => {
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  // A cell sorts by its data-value where it has one, as a number; a heading marked "num" leaves empty cells last.
  function keys(rows, column, numeric) {
    return rows.map((row) => {
      const cell = row.cells[column];
      const text = cell.dataset.value ?? cell.textContent.trim();
      const number = text === "" ? NaN : Number(text);
      return { row, empty: numeric ? Number.isNaN(number) : text === "", key: numeric ? number : text };
    });
  }

  function sort(table, column) {
    const headings = [...table.tHead.rows[0].cells];
    const heading = headings[column];
    const numeric = heading.classList.contains("num");
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    headings.forEach((other) => other.setAttribute("aria-sort", "none"));
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const entries = keys([...table.tBodies[0].rows], column, numeric);
    entries.sort((a, b) => {
      if (a.empty || b.empty) return a.empty - b.empty;
      if (numeric) return a.key === b.key ? 0 : sign * (a.key < b.key ? -1 : 1);
      return sign * collator.compare(a.key, b.key);
    });
    table.tBodies[0].append(...entries.map((entry) => entry.row));
  }

  function filter(table, words, count) {
    const rows = [...table.tBodies[0].rows];
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${rows.length} rows`;
  }

  function element(name, properties) {
    return Object.assign(document.createElement(name), properties);
  }

  for (const table of document.querySelectorAll("table[data-tools]")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = element("button", { type: "button", textContent: heading.textContent });
      heading.replaceChildren(button);
      heading.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(table, column));
    });
    const id = `filter-${table.id}`;
    const input = element("input", { type: "search", id, autocomplete: "off", placeholder: "words to look for" });
    const count = element("output", { className: "soft" });
    count.htmlFor.add(id);
    const label = element("label", { htmlFor: id, textContent: "Filter" });
    const bar = element("div", { className: "filter" });
    bar.append(label, input, count);
    input.addEventListener("input", () => filter(table, input.value, count));
    filter(table, "", count);
    table.closest(".scroll").before(bar);
  }
})();

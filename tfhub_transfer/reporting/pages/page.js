// Sorting and filtering of tables; they are whole without it. No library, no network.
(() => {
  "use strict";

  const shown = (cell) => (cell ? cell.textContent.trim() : "");

  const isMissing = (text) => text === "-" || text === "";

  // The number of a cell, or its first: "1,024", "#3", "12 %", "0.5 (now)", "0.71 to 0.83".
  const number = (text) => {
    const found = /^#?([+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)(?: ?%| \(.*\)| to [\d.,e+-]+)?$/i.exec(text);
    return found ? Number(found[1].replaceAll(",", "")) : NaN;
  };

  // By number where all cells of a column have one, else by words; what is missing comes last.
  const ranked = (texts, down) => {
    const known = texts.filter((text) => !isMissing(text));
    const byNumber = known.every((text) => !Number.isNaN(number(text)));
    return (a, b) => {
      if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b);
      const [x, y] = down ? [b, a] : [a, b];
      return byNumber ? number(x) - number(y) : x.localeCompare(y, undefined, { numeric: true });
    };
  };

  const sortBy = (table, heads, column, down) => {
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [shown(row.cells[column]), row]);
    const compared = ranked(rows.map(([text]) => text), down);
    rows.sort((a, b) => compared(a[0], b[0]));
    body.append(...rows.map(([, row]) => row));
  };

  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    if (table.tBodies[0].rows.length < 2) return;
    heads.forEach((head, column) => {
      if (!shown(head)) return;
      const button = document.createElement("button");
      button.type = "button";
      button.title = "Sort";
      button.append(...head.childNodes);
      button.addEventListener("click", () =>
        sortBy(table, heads, column, head.getAttribute("aria-sort") === "ascending"));
      head.append(button);
    });
  };

  // A cell of several values has each in a span.
  const values = (cell) => {
    const parts = [...cell.querySelectorAll("span")];
    return parts.length ? parts.map(shown) : [shown(cell)];
  };

  const choice = (table, head, column) => {
    const select = document.createElement("select");
    const found = new Set([...table.tBodies[0].rows].flatMap((row) => values(row.cells[column])));
    select.append(new Option(`${shown(head)}: any`, ""));
    [...found].sort().forEach((value) => select.append(new Option(value, value)));
    return { select, column };
  };

  // Where a narrow screen shows no heads to click on.
  const sorter = (table, heads) => {
    const select = document.createElement("select");
    select.className = "sorter";
    select.append(new Option("Sort by", ""));
    heads.forEach((head, column) => {
      select.append(new Option(`${shown(head)}, rising`, `${column} up`), new Option(`${shown(head)}, falling`, `${column} down`));
    });
    select.addEventListener("change", () => {
      const [column, way] = select.value.split(" ");
      if (way) sortBy(table, heads, Number(column), way === "down");
    });
    return select;
  };

  const filterable = (table) => {
    const rows = [...table.tBodies[0].rows];
    const heads = [...table.tHead.rows[0].cells];
    const search = document.createElement("input");
    search.type = "search";
    search.placeholder = "Filter by words";
    search.setAttribute("aria-label", "Filter by words");
    const choices = heads
      .map((head, column) => ("pick" in head.dataset ? choice(table, head, column) : null))
      .filter((one) => one && one.select.options.length > 2);
    const count = document.createElement("output");
    const update = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      rows.forEach((row) => {
        const text = row.textContent.toLowerCase();
        const fits =
          words.every((word) => text.includes(word)) &&
          choices.every((one) => !one.select.value || values(row.cells[one.column]).includes(one.select.value));
        row.hidden = !fits;
        left += fits;
      });
      count.textContent = `${left} of ${rows.length}`;
    };
    const controls = document.createElement("div");
    controls.className = "controls";
    controls.append(search, ...choices.map((one) => one.select), sorter(table, heads), count);
    controls.addEventListener("input", update);
    table.parentElement.before(controls);
    update();
  };

  document.querySelectorAll("table.filtered").forEach(filterable);
  document.querySelectorAll("table").forEach(sortable);
  // On paper nothing can be unfolded.
  window.addEventListener("beforeprint", () => document.querySelectorAll("main > details").forEach((one) => (one.open = true)));
})();

// Asks the server what it is, then asks it texts and shows the answers. No library, no other site.
// Whatever comes from texts, labels and files is set as text, never as HTML.
(() => {
  "use strict";

  const ROWS_AT_ONCE = 32;
  const ROWS_SHOWN = 200;
  const KINDS = 7;
  const $ = (id) => document.getElementById(id);
  const state = { told: null, task: null, answers: null, run: 0 };

  const made = (tag, words = "", kind = "") => {
    const one = document.createElement(tag);
    if (kind) one.className = kind;
    if (words !== "") one.textContent = words;
    return one;
  };

  const number = (value) =>
    Number.isInteger(value) ? String(value) : Number.isFinite(value) ? value.toPrecision(4) : String(value);

  const share = (value) => `${(100 * value).toFixed(1)} %`;

  // Python's places count characters; JavaScript's halves of some.
  const signs = (text) => Array.from(text);

  // The server ------------------------------------------------------------------------------------

  const asked = async (path, options) => {
    let response;
    try {
      response = await fetch(path, options);
    } catch {
      throw new Error("The server doesn't answer.");
    }
    const body = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(body.error || `The server says ${response.status}.`);
    return body;
  };

  const path = () => `/v1/models/${encodeURIComponent(state.told.name)}:predict`;

  const request = (signature, rows) => {
    const task = state.told.tasks.find((one) => one.signature === signature);
    const instances = rows.map((row) =>
      task.inputs.length === 1 ? row[0] : Object.fromEntries(task.inputs.map((name, i) => [name, row[i]])));
    return signature === "serving_default" ? { instances } : { signature_name: signature, instances };
  };

  const predict = async (signature, rows) => {
    const found = await asked(path(), { method: "POST", body: JSON.stringify(request(signature, rows)) });
    const task = state.told.tasks.find((one) => one.signature === signature);
    // One output alone comes without its name.
    return found.predictions.map((each) => (task.outputs.length === 1 ? { [task.outputs[0]]: each } : each));
  };

  // One answer ------------------------------------------------------------------------------------

  const bars = (pairs, chosen) => {
    const list = made("ol", "", "bars");
    pairs.forEach(([name, score], place) => {
      const row = made("li", "", chosen(name, place) ? "first" : "");
      const track = made("span", "", "track");
      const bar = made("i");
      bar.style.width = `${Math.max(0, Math.min(1, score)) * 100}%`;
      track.append(bar);
      track.setAttribute("aria-hidden", "true");
      row.append(made("span", name, "name"), track, made("span", share(score), "value"));
      list.append(row);
    });
    return list;
  };

  const verdict = (words, beside = "") => {
    const one = made("p", words, "verdict");
    if (beside) one.append(" ", made("small", beside));
    return one;
  };

  // How far an answer can be trusted, where the model says so.
  const trust = (answer) => {
    const said = [];
    if ("accepted" in answer) said.push(answer.accepted ? "Sure enough to be accepted." : "Not sure enough to be accepted.");
    if ("label_set" in answer) said.push(`May be right: ${answer.label_names.filter((_, place) => answer.label_set[place]).join(", ")}.`);
    if ("lower" in answer) said.push(`Between ${number(answer.lower)} and ${number(answer.upper)}.`);
    if ("scope_score" in answer) said.push(`Of other texts ${share(answer.scope_score)} lie farther from what it was trained on.`);
    return said.length ? [made("p", said.join(" "), "soft")] : [];
  };

  // A text with marks over [start, end) of its characters, each of a kind and with a word behind.
  const marked = (text, spans) => {
    const passage = made("p", "", "passage");
    const all = signs(text);
    let at = 0;
    for (const { start, end, word, kind } of [...spans].sort((a, b) => a.start - b.start)) {
      if (start < at || end <= start) continue;
      passage.append(all.slice(at, start).join(""));
      const mark = made("mark", all.slice(start, end).join(""), `k${kind % KINDS}`);
      if (word) mark.append(made("small", word));
      passage.append(mark);
      at = end;
    }
    passage.append(all.slice(at).join(""));
    return passage;
  };

  const table = (heads, rows, words) => {
    const one = made("table");
    if (words) one.append(made("caption", words));
    const head = one.createTHead().insertRow();
    heads.forEach((name, column) => {
      const cell = made("th", name, rows.some((cells) => typeof cells[column] === "number") ? "number" : "");
      cell.scope = "col";
      head.append(cell);
    });
    const body = one.createTBody();
    rows.forEach((cells) => {
      const row = body.insertRow();
      cells.forEach((value) => row.append(made("td", typeof value === "number" ? number(value) : String(value ?? ""), typeof value === "number" ? "number" : "")));
    });
    return one;
  };

  const folded = (one) => {
    const details = made("details");
    details.append(made("summary", "As a table"), one);
    return details;
  };

  const several = (answer, keys, count) =>
    Array.from({ length: answer[count] }, (_, place) => keys.map((key) => answer[key][place]));

  const ranked = (names, scores) => names.map((name, place) => [name, scores[place]]).sort((a, b) => b[1] - a[1]);

  const SHOWN = [
    {
      fits: (keys) => keys.has("entity") || keys.has("tag"),
      show: (answer, row) => {
        const byWord = !("entity" in answer);
        const found = byWord
          ? several(answer, ["word", "tag", "score", "start", "end"], "word_count")
          : several(answer, ["entity", "type", "entity_score", "entity_start", "entity_end"], "entity_count");
        const kinds = [...new Set(found.map(([, kind]) => kind))];
        const spans = found.map(([, kind, , start, end]) => ({ start, end, word: kind, kind: kinds.indexOf(kind) }));
        const parts = [marked(row[0], spans)];
        if (!found.length) parts.push(made("p", "Nothing found.", "soft"));
        else parts.push(folded(table([byWord ? "word" : "entity", byWord ? "tag" : "type", "score"], found.map((each) => each.slice(0, 3)))));
        return parts;
      },
      line: (answer) => "entity" in answer
        ? several(answer, ["entity", "type"], "entity_count").map(([text, kind]) => `${text} (${kind})`).join(", ")
        : several(answer, ["word", "tag"], "word_count").map(([text, tag]) => `${text}/${tag}`).join(" "),
    },
    {
      fits: (keys) => keys.has("answer") && keys.has("margin"),
      show: (answer, row) => {
        const none = answer.start < 0;
        const said = none ? verdict("No answer in the context") : verdict(answer.answer, share(answer.score));
        return [said, marked(row[1], none ? [] : [{ start: answer.start, end: answer.end, word: "", kind: 0 }])];
      },
      line: (answer) => answer.answer,
    },
    {
      fits: (keys) => keys.has("sentence"),
      show: (answer, row) => {
        const found = several(answer, ["sentence", "score", "start", "end"], "sentence_count");
        const spans = found.map(([, , start, end]) => ({ start, end, word: "", kind: 1 }));
        return [marked(row[0], spans), folded(table(["sentence", "score"], found.map((each) => each.slice(0, 2))))];
      },
      line: (answer) => several(answer, ["sentence"], "sentence_count").join(" "),
    },
    {
      fits: (keys) => keys.has("predicted") && keys.has("label_names"),
      show: (answer) => {
        const chosen = answer.label_names.filter((_, place) => answer.predicted[place]);
        return [verdict(chosen.join(", ") || "None of the labels"), ...trust(answer),
          bars(ranked(answer.label_names, answer.scores), (name) => chosen.includes(name))];
      },
      line: (answer) => answer.label_names.filter((_, place) => answer.predicted[place]).join(", "),
    },
    {
      fits: (keys) => keys.has("label") && keys.has("scores"),
      show: (answer, row, task) => {
        const names = task.classes.length === answer.scores.length ? task.classes : answer.scores.map((_, i) => String(i));
        const best = Math.max(...answer.scores);
        const pairs = "rank" in answer ? names.map((name, place) => [name, answer.scores[place]]) : ranked(names, answer.scores);
        return [verdict(answer.label, share(best)), ...trust(answer), bars(pairs, (name) => name === answer.label)];
      },
      line: (answer) => answer.label,
    },
    {
      fits: (keys) => keys.has("labels") && keys.has("scores"),
      show: (answer) => [verdict(answer.labels[0], share(answer.scores[0])),
        bars(ranked(answer.labels, answer.scores), (_, place) => place === 0)],
      line: (answer) => answer.labels[0],
    },
    {
      fits: (keys) => keys.has("text") && keys.has("score"),
      show: (answer) => {
        const others = (answer.texts || []).map((text, place) => [text, answer.scores[place]]);
        const said = answer.text ? verdict(answer.text) : made("p", "An empty text.", "soft");
        said.classList.add("written");
        return others.length > 1 ? [said, table(["text", "score"], others)] : [said];
      },
      line: (answer) => answer.text,
    },
    {
      fits: (keys) => keys.has("score"),
      show: (answer) => [verdict(number(answer.score)), ...trust(answer)],
      line: (answer) => answer.score,
    },
  ];
  const OTHER = {
    show: (answer) => [made("pre", JSON.stringify(answer, null, 1))],
    line: (answer) => JSON.stringify(answer),
  };
  const shown = (task) => SHOWN.find((one) => one.fits(new Set(task.outputs))) || OTHER;
  const isVectors = (task) => task.outputs.includes("embedding");

  // Nearest texts: lines are compared with a text by the angle of their vectors.
  const nearest = async (task, text, lines) => {
    const vectors = [];
    for (const rows of inPieces([[text], ...lines.map((line) => [line])]))
      vectors.push(...(await predict(task.signature, rows)).map((each) => each.embedding));
    const length = (v) => Math.hypot(...v) || 1;
    const cosine = (a, b) => a.reduce((sum, x, i) => sum + x * b[i], 0) / (length(a) * length(b));
    return lines.map((line, place) => [line, cosine(vectors[0], vectors[place + 1])]).sort((a, b) => b[1] - a[1]);
  };

  const showNearest = (pairs) => {
    const list = bars(pairs, (_, place) => place === 0);
    list.classList.add("texts");
    [...list.querySelectorAll(".value")].forEach((one, place) => (one.textContent = pairs[place][1].toFixed(3)));
    return [list];
  };

  // The page --------------------------------------------------------------------------------------

  const fail = (error) => {
    $("failed").textContent = error ? error.message : "";
    $("failed").hidden = !error;
    if (error) $("status").textContent = "";
  };

  const clear = () => {
    fail(null);
    for (const id of ["answer", "many", "raw"]) $(id).hidden = true;
    $("status").textContent = "";
  };

  const fields = (task) => (isVectors(task) ? ["text", "texts to compare, one a line"] : task.inputs);

  const values = () => [...$("fields").querySelectorAll("textarea")].map((one) => one.value);

  const titled = (task) => (isVectors(task) ? "nearest texts" : task.signature === "serving_default" ? "the model" : task.signature);

  const choose = (task) => {
    state.task = task;
    state.run += 1;
    clear();
    [...$("tasks").children].forEach((one) => one.setAttribute("aria-pressed", String(one.textContent === titled(task))));
    const inputs = fields(task).map((name, place) => {
      const label = made("label", name.replaceAll("_", " "), "field");
      const area = document.createElement("textarea");
      area.rows = isVectors(task) ? 2 + 4 * place : /context|document/.test(name) ? 7 : 3;
      area.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("ask").requestSubmit();
      });
      label.append(area);
      return label;
    });
    $("fields").replaceChildren(...inputs);
    const others = isVectors(task) ? [state.told.tasks.flatMap((one) => one.examples)].filter((all) => all.length > 1)
      .map((all) => [all[0][0], all.slice(1).map((row) => row[0].replaceAll("\n", " ")).join("\n")]) : task.examples;
    const tries = others.map((row) => {
      const button = made("button", row[0]);
      button.type = "button";
      button.title = row.join("\n");
      button.addEventListener("click", () => {
        [...$("fields").querySelectorAll("textarea")].forEach((area, place) => (area.value = row[place]));
        $("ask").requestSubmit();
      });
      return button;
    });
    $("tries").replaceChildren($("tries-head"), ...tries);
    $("tries").hidden = !tries.length;
    $("file-words").textContent = `or choose or drop a file: ${state.told.files.join(", ")}`;
    $("drop").hidden = isVectors(task);
  };

  const showRaw = (signature, rows, found) => {
    const body = JSON.stringify(request(signature, rows));
    $("command").textContent = `curl -d '${body.replaceAll("'", "'\\''")}' ${location.origin}${path()}`;
    $("body").textContent = JSON.stringify(found, (_, v) => (Array.isArray(v) && v.length > 40 ? [...v.slice(0, 8), "..."] : v), 1);
    $("raw").hidden = false;
  };

  const ask = async () => {
    const run = (state.run += 1);
    const task = state.task;
    const row = values();
    clear();
    $("status").textContent = "Asking…";
    $("go").disabled = true;
    try {
      const parts = [];
      if (isVectors(task)) {
        const lines = row[1].split("\n").map((line) => line.trim()).filter(Boolean);
        if (!lines.length) throw new Error("Give texts to compare, one a line.");
        const pairs = await nearest(task, row[0], lines);
        if (run !== state.run) return;
        parts.push(...showNearest(pairs));
      } else {
        const found = await predict(task.signature, [row]);
        if (run !== state.run) return;
        parts.push(...shown(task).show(found[0], row, task));
        showRaw(task.signature, [row], found);
      }
      $("found").replaceChildren(...parts);
      $("answer").hidden = false;
      $("status").textContent = "Answered.";
    } catch (error) {
      if (run === state.run) fail(error);
    } finally {
      $("go").disabled = false;
    }
  };

  // Files -----------------------------------------------------------------------------------------

  const inPieces = (rows) =>
    Array.from({ length: Math.ceil(rows.length / ROWS_AT_ONCE) }, (_, i) => rows.slice(i * ROWS_AT_ONCE, (i + 1) * ROWS_AT_ONCE));

  const askFile = async (file) => {
    const run = (state.run += 1);
    const task = state.task;
    clear();
    try {
      if (file.size > state.told.body) throw new Error(`A file may hold ${state.told.body >> 20} MB; tfhub-transfer predict takes any.`);
      $("status").textContent = `Reading ${file.name}…`;
      const query = new URLSearchParams({ signature: task.signature, name: file.name });
      const read = await asked(`/rows?${query}`, { method: "POST", body: file });
      const answers = [];
      for (const rows of inPieces(read.texts)) {
        if (run !== state.run) return;
        $("status").textContent = `${answers.length} of ${read.texts.length} rows answered…`;
        answers.push(...(await predict(task.signature, rows)));
      }
      if (run !== state.run) return;
      state.answers = { ...read, answers, task, file: file.name };
      showMany(state.answers);
      $("status").textContent = `${answers.length} rows answered.`;
    } catch (error) {
      if (run === state.run) fail(error);
    }
  };

  // Answers beside the columns of the file; a name that the file has too gets another.
  const flat = ({ columns, rows, answers, task }) => {
    const keys = task.outputs.filter((key) => !(key === "scores" && task.classes.length));
    const free = (name) => (columns.includes(name) ? free(`predicted_${name}`) : name);
    const spread = task.outputs.includes("scores") ? task.classes : [];
    const heads = [...columns, free("prediction"), ...keys.map((key) => free(key)), ...spread.map((name) => free(`scores.${name}`))];
    const line = shown(task).line;
    return {
      heads,
      rows: rows.map((cells, place) => [
        ...cells, line(answers[place]), ...keys.map((key) => answers[place][key]), ...spread.map((_, i) => answers[place].scores[i]),
      ]),
    };
  };

  const showMany = (all) => {
    const { heads, rows } = flat(all);
    const count = all.columns.length;
    const best = all.task.outputs.includes("scores") && "label" in all.answers[0];
    const short = rows.slice(0, ROWS_SHOWN).map((cells, place) => [
      ...cells.slice(0, count + 1), ...(best ? [Math.max(...all.answers[place].scores)] : [])]);
    const made = table([...heads.slice(0, count + 1), ...(best ? ["score"] : [])], short, all.file);
    made.id = "table";
    $("table").replaceWith(made);
    $("more").textContent = rows.length > ROWS_SHOWN ? `The first ${ROWS_SHOWN} of ${rows.length} rows; files hold all.` : "";
    $("many").hidden = false;
  };

  const save = (words, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([words], { type: "text/plain;charset=utf-8" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const cell = (value) => {
    const words = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
    return /[",\r\n]/.test(words) ? `"${words.replaceAll('"', '""')}"` : words;
  };

  const stem = () => `${state.answers.file.replace(/\.[^.]*$/, "")}-answers`;

  $("as-csv").addEventListener("click", () => {
    const { heads, rows } = flat(state.answers);
    save([heads, ...rows].map((cells) => cells.map(cell).join(",")).join("\r\n") + "\r\n", `${stem()}.csv`);
  });
  $("as-jsonl").addEventListener("click", () => {
    const { heads, rows } = flat(state.answers);
    const line = (cells) => JSON.stringify(Object.fromEntries(heads.map((name, i) => [name, cells[i]])));
    save(rows.map((cells) => line(cells) + "\n").join(""), `${stem()}.jsonl`);
  });

  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  $("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) askFile(file);
  });
  // Anywhere on the page, for who misses the field would leave the page otherwise.
  const over = (is) => $("drop").classList.toggle("over", is);
  document.addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
  document.addEventListener("dragleave", () => over(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    const [file] = event.dataTransfer.files;
    if (file && !$("drop").hidden) askFile(file);
  });

  asked("/about.json").then((told) => {
    state.told = told;
    document.title = `Try ${told.name}`;
    $("title").textContent = `Try ${told.name}`;
    $("what").textContent = `Version ${told.version}. Texts go to this server alone, and it keeps none.`;
    $("tasks").append(...told.tasks.map((task) => {
      const button = made("button", titled(task));
      button.type = "button";
      button.addEventListener("click", () => choose(task));
      return button;
    }));
    $("tasks").hidden = told.tasks.length < 2;
    $("ask").hidden = false;
    choose(told.tasks[0]);
  }).catch((error) => {
    $("what").textContent = "";
    fail(error);
  });
})();

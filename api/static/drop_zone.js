// A file for a model: dropped or chosen, checked before it is sent, sent with its progress shown.
// Without this script the form works all the same.
"use strict";

(() => {
  const CHECKED_BYTES = 64 * 1024;
  const SHOWN_ROWS = 5;
  const SHOWN_COLUMNS = 50;
  const OTHER_FORMATS = /\.(parquet|pq|arrow|arrows|feather|ipc|ndjson|jsonl|json|gz)$/i;

  const form = document.getElementById("upload");
  const options = document.getElementById("upload-options");
  const zone = form.querySelector(".drop-zone");
  const input = form.elements.file;
  const button = document.getElementById("submit-file");
  const delimiters = options.elements.delimiter;
  const wanted = JSON.parse(form.dataset.columns);
  const maxBytes = Number(form.dataset.maxBytes);
  let checks = 0;

  document.documentElement.classList.add("scripted");

  // --- reading

  // Records of the first bytes of a CSV (RFC 4180), at most `limit`; the last may be cut off.
  function records(text, delimiter, limit) {
    const found = [];
    let record = [], field = "", isQuoted = false;
    const endField = () => { record.push(field); field = ""; };
    const endRecord = () => {
      endField();
      if (record.length > 1 || record[0] !== "") found.push(record);
      record = [];
    };
    for (let at = 0; at < text.length && found.length < limit; at++) {
      const char = text[at];
      if (isQuoted) {
        if (char !== '"') field += char;
        else if (text[at + 1] === '"') { field += char; at++; }
        else isQuoted = false;
      } else if (char === '"' && field === "") isQuoted = true;
      else if (char === delimiter) endField();
      else if (char === "\n" || char === "\r") {
        if (char === "\r" && text[at + 1] === "\n") at++;
        endRecord();
      } else field += char;
    }
    if (found.length < limit && (field !== "" || record.length)) endRecord();
    return found;
  }

  // The delimiter that finds most of the wanted columns; the chosen one if none finds more.
  function likelyDelimiter(text) {
    let best = chosenDelimiter(), most = hits(text, best);
    for (const option of delimiters.options) {
      const found = hits(text, option.dataset.delimiter);
      if (found > most) [best, most] = [option.dataset.delimiter, found];
    }
    return best;
  }

  function hits(text, delimiter) {
    const header = records(text, delimiter, 1)[0] ?? [];
    return wanted.filter((name) => header.includes(name)).length;
  }

  function chosenDelimiter() {
    return delimiters.selectedOptions[0].dataset.delimiter;
  }

  // --- checking

  function quoted(names) {
    const shown = names.slice(0, 20).map((name) => `“${name}”`).join(", ");
    return names.length > 20 ? `${shown} and ${names.length - 20} more` : shown;
  }

  function headerNotices(header) {
    const times = (name) => header.filter((column) => column === name).length;
    const missing = wanted.filter((name) => times(name) === 0);
    const doubled = wanted.filter((name) => times(name) > 1);
    const others = [...new Set(header)].filter((name) => !wanted.includes(name));
    const problems = [];
    if (missing.length) problems.push(`Missing: ${quoted(missing)}`);
    if (doubled.length) problems.push(`There more than once: ${quoted(doubled)}`);
    if (!problems.length) {
      const lines = others.length ? [`Not used: ${quoted(others)}`] : [];
      return notice("ok", "The file has all columns that the model needs", lines);
    }
    if (others.length) problems.push(`In the file, but unknown to the model: ${quoted(others)}`);
    return notice("bad", "The columns do not fit the model", problems);
  }

  function notice(kind, title, lines = []) {
    const box = element("div", { className: `notice notice-${kind}` });
    box.append(element("p", { className: "notice-title", textContent: title }));
    for (const line of lines) box.append(element("p", { textContent: line }));
    return box;
  }

  function element(name, properties) {
    return Object.assign(document.createElement(name), properties);
  }

  function showRows(found) {
    const table = element("table", {});
    found.forEach((record, number) => {
      const row = element("tr", {});
      for (const text of record.slice(0, SHOWN_COLUMNS)) {
        const cell = element(number ? "td" : "th", { textContent: text.slice(0, 100) });
        if (!number) cell.scope = "col";
        row.append(cell);
      }
      const section = number ? table.tBodies[0] ?? table.createTBody() : table.createTHead();
      section.append(row);
    });
    const preview = document.getElementById("file-preview");
    preview.querySelector("table").replaceWith(table);
    preview.hidden = false;
  }

  function showColumns(header) {
    const list = document.getElementById("file-columns");
    list.replaceChildren(...header.map((value) => element("option", { value })));
  }

  // The beginning of a file; null for what can't be read, such as a folder.
  async function head(file) {
    try {
      return (await file.slice(0, CHECKED_BYTES).text()).replace(/^\uFEFF/, "");
    } catch {
      return null;
    }
  }

  // Why a text is no CSV, whatever is in it; null if it may be one.
  function otherwise(text) {
    if (text.startsWith("PK\x03\x04")) {
      return notice("bad", "This is an Excel file or an archive", ["Save the table as CSV."]);
    }
    if (text.includes("\0")) {
      return notice("bad", "This is no text", ["Save the table as CSV in UTF-8."]);
    }
    return null;
  }

  // What a byte that is not UTF-8 is read as; the last one may be half a character.
  function isUtf8(text) {
    return !text.slice(0, -1).includes("\uFFFD");
  }

  async function check() {
    const number = ++checks;
    const shown = document.getElementById("file-check");
    document.getElementById("upload-problem").replaceChildren();
    document.getElementById("file-preview").hidden = true;
    shown.replaceChildren();
    const file = input.files[0];
    if (!file) return;
    if (file.size > maxBytes) {
      shown.append(notice("bad", "The file is too large", ["Split it into several files."]));
      return;
    }
    if (OTHER_FORMATS.test(file.name)) {
      shown.append(notice("info", `${file.name} is checked when it has been sent`));
      return;
    }
    const text = await head(file);
    // Meanwhile another one may have been chosen, or this one checked again.
    if (number !== checks) return;
    if (text === null) {
      shown.append(notice("bad", "The file can't be read", ["Choose a file, not a folder."]));
      return;
    }
    const other = otherwise(text);
    if (other) {
      shown.append(other);
      return;
    }
    if (!isUtf8(text)) {
      shown.append(notice("warn", "Some characters are not UTF-8", ["Rows with them will fail. Save the file as UTF-8."]));
    }
    const delimiter = likelyDelimiter(text);
    for (const option of delimiters.options) {
      option.selected = option.dataset.delimiter === delimiter;
    }
    const found = records(text, delimiter, SHOWN_ROWS + 1);
    if (!found.length) {
      shown.append(notice("bad", "The file is empty"));
      return;
    }
    shown.append(headerNotices(found[0]));
    showColumns(found[0]);
    showRows(found);
  }

  // --- sending

  function target() {
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(options)) if (value) query.set(name, value);
    return query.size ? `${form.dataset.action}?${query}` : form.dataset.action;
  }

  function showProgress(sent, total) {
    const progress = document.getElementById("upload-progress");
    const ratio = total ? sent / total : 0;
    progress.hidden = false;
    progress.querySelector("progress").value = ratio;
    progress.querySelector("span").textContent =
      ratio < 1 ? `${Math.floor(ratio * 100)} % sent` : "Sent; rows are being taken in …";
  }

  function showProblem(...nodes) {
    // What the server says of the file counts for more.
    if (nodes.length) document.getElementById("file-check").replaceChildren();
    document.getElementById("upload-problem").replaceChildren(...nodes);
    document.getElementById("upload-progress").hidden = true;
    button.disabled = false;
  }

  // What is said of an answer that is not the service's own, but that of a proxy before it.
  function refusal(status) {
    const why = status === 413 ? "It is larger than a proxy lets through." : `Status ${status}.`;
    return notice("bad", "The file was not taken", [why]);
  }

  function send() {
    const request = new XMLHttpRequest();
    request.open("POST", target());
    request.setRequestHeader("HX-Request", "true");
    request.upload.onprogress = (event) => showProgress(event.loaded, event.total);
    request.onerror = () => showProblem(notice("bad", "The upload broke off", ["Try it again."]));
    request.onload = () => {
      const path = request.getResponseHeader("HX-Redirect");
      if (path) {
        location.assign(path);
        return;
      }
      const answer = new DOMParser().parseFromString(request.responseText, "text/html");
      showProblem(answer.querySelector(".notice") ?? refusal(request.status));
    };
    document.getElementById("upload-problem").replaceChildren();
    button.disabled = true;
    showProgress(0, 0);
    const data = new FormData();
    data.set("file", input.files[0]);
    request.send(data);
  }

  input.addEventListener("change", check);
  delimiters.addEventListener("change", check);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  options.addEventListener("submit", (event) => event.preventDefault());

  // --- dropping

  for (const name of ["dragenter", "dragover"]) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.add("is-over");
    });
  }
  zone.addEventListener("dragleave", (event) => {
    if (!zone.contains(event.relatedTarget)) zone.classList.remove("is-over");
  });
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("is-over");
    const [file] = event.dataTransfer.files;
    if (!file) return;
    const dropped = new DataTransfer();
    dropped.items.add(file);
    input.files = dropped.files;
    check();
  });

  // Browsers keep a page, and a chosen file, for who goes back.
  addEventListener("pageshow", () => {
    showProblem();
    if (input.files.length) check();
  });
})();

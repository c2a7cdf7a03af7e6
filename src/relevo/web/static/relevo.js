// Progressive enhancement of the model page: posts the same form without leaving the page. Everything works without it.
//
//   pad | drop | paste | camera ─► #file ─► form ─ POST /submit ─► returned page ─► its #result replaces the current one
//   feedback form ─ PUT /predictions/{id}/label ─► thanks
//   <time> in UTC ─► the browser's time zone, with its name
"use strict";
(() => {
  // en-GB, since the server formats dates as "31 Jan 2026".
  const language = document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang;
  const written = new Intl.DateTimeFormat(language, {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
    hourCycle: "h23", timeZoneName: "short",
  });
  document.querySelectorAll("time[datetime]").forEach((time) => { time.textContent = written.format(new Date(time.dateTime)); });
})();
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const ask = find("#ask");
  const result = find("#result");
  if (!ask || !result) return;
  const file = find("#file");
  const waiting = find("#waiting");
  const language = document.documentElement.lang;
  all(".scripted").forEach((part) => { part.hidden = false; });

  // --- the answer -------------------------------------------------------------------------------------------------
  const show = (text, asked) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    const fresh = find("#result", page);
    if (!fresh) throw new Error("no result in the page");
    result.replaceChildren(...fresh.childNodes);
    const spoken = find("[data-spoken]", result);
    find("#spoken").textContent = spoken ? spoken.dataset.spoken : "";
    point(spoken && spoken.dataset.field);
    if (asked && result.getBoundingClientRect().top > window.innerHeight * 0.6) {
      result.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    }
  };
  const point = (field) => {
    all("[aria-invalid]", ask).forEach((control) => control.removeAttribute("aria-invalid"));
    const control = field ? ask.elements.namedItem(field) : null;
    if (control && control.setAttribute) { control.setAttribute("aria-invalid", "true"); control.focus(); }
  };
  // The session has ended: log in and return here. The form values are lost.
  const signIn = () => location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  const complain = (sentence) => { waiting.textContent = sentence; };
  let running = null;
  const send = async () => {
    if (running) running.abort();
    const mine = new AbortController();
    running = mine;
    const button = find(".primary", ask);
    button.setAttribute("aria-disabled", "true");
    result.classList.add("busy");
    waiting.textContent = ask.dataset.busy;
    try {
      const answer = await fetch(ask.action, { method: "POST", body: new FormData(ask), signal: mine.signal });
      if (answer.status === 401) return signIn();
      show(await answer.text(), true);
      waiting.textContent = "";
    } catch (trouble) {
      if (trouble.name !== "AbortError") complain(ask.dataset.offline);
    } finally {
      if (running === mine) {
        running = null;
        button.removeAttribute("aria-disabled");
        result.classList.remove("busy");
      }
    }
  };
  ask.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (drawing() && !(await keepDrawing())) return complain(ask.dataset.emptyPad);
    send();
  });

  // --- feedback ---------------------------------------------------------------------------------------------------
  result.addEventListener("submit", async (event) => {
    const form = event.target;
    const feedback = form.closest(".feedback");
    if (!feedback) return;
    event.preventDefault();
    const sent = new FormData(form);
    const said = find(".kept", feedback);
    try {
      const answer = await fetch(`/predictions/${encodeURIComponent(sent.get("query_id"))}/label?lang=${language}`, {
        method: "PUT",
        headers: { "Content-Type": "application/json", ...(sent.has("csrf") ? { "X-CSRF-Token": sent.get("csrf") } : {}) },
        body: JSON.stringify({ value: sent.get("value") }),
      });
      if (answer.status === 401) return signIn();
      const body = await answer.json();
      said.classList.toggle("failed", !answer.ok);
      said.textContent = answer.ok ? `${feedback.dataset.thanks}. ${feedback.dataset.kept} ${body.value}` : body.error;
    } catch {
      said.classList.add("failed");
      said.textContent = feedback.dataset.failed;
    }
  });

  // --- records ----------------------------------------------------------------------------------------------------
  const fill = find("#fill");
  if (fill) fill.addEventListener("click", (event) => {
    event.preventDefault();
    all("[data-example]", ask).forEach((control) => { control.value = control.dataset.example; });
  });

  // --- images -----------------------------------------------------------------------------------------------------
  const preview = find("#preview");
  const drop = find("#drop");
  const take = (files, now) => {
    const image = [...files].find((one) => one.type.startsWith("image/"));
    if (!image) return complain(ask.dataset.noImage);
    const carrier = new DataTransfer();
    carrier.items.add(image);
    file.files = carrier.files;
    look(image);
    way("file");
    waiting.textContent = "";
    if (now) send();
  };
  const look = async (image) => {
    try {
      const picture = await createImageBitmap(image);
      const shrink = Math.min(1, 640 / Math.max(picture.width, picture.height));
      preview.width = Math.max(1, Math.round(picture.width * shrink));
      preview.height = Math.max(1, Math.round(picture.height * shrink));
      preview.getContext("2d").drawImage(picture, 0, 0, preview.width, preview.height);
      preview.hidden = false;
    } catch {
      preview.hidden = true; // the server reports the error
    }
  };
  if (file) {
    file.addEventListener("change", () => { if (file.files.length) look(file.files[0]); });
    find("#photo").addEventListener("change", (event) => { if (event.target.files.length) take(event.target.files, true); });
    if (!matchMedia("(pointer: coarse)").matches) find("#camera").hidden = true;
    for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
    document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      take(event.dataTransfer.files, true);
    });
    document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) take(event.clipboardData.files, true); });
  }

  // --- the drawing pad --------------------------------------------------------------------------------------------
  const draw = find("#draw");
  const pad = find("#pad");
  const drawing = () => Boolean(draw) && !draw.hidden;
  const way = (wanted) => {
    if (!draw) return;
    draw.hidden = wanted !== "draw";
    drop.hidden = wanted === "draw";
    file.required = wanted !== "draw"; // a hidden required control would block the form without a message
    all("[data-way]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.way === wanted)));
  };
  if (!draw) return;
  const width = Number(draw.dataset.width);
  const height = Number(draw.dataset.height);
  pad.height = Math.round((pad.width * height) / width);

  const brush = pad.getContext("2d", { willReadFrequently: true });
  const mini = find("#mini").getContext("2d");
  let erasing = false;
  let last = null;
  const wipe = () => {
    brush.fillStyle = "#000";
    brush.fillRect(0, 0, pad.width, pad.height);
    mini.fillStyle = "#000";
    mini.fillRect(0, 0, width, height);
  };
  const place = (event) => {
    const box = pad.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * pad.width, y: ((event.clientY - box.top) / box.height) * pad.height };
  };
  const stroke = (from, to) => {
    brush.strokeStyle = erasing ? "#000" : "#fff";
    brush.lineWidth = pad.width * (erasing ? 0.12 : 0.085);
    brush.lineCap = brush.lineJoin = "round";
    brush.beginPath();
    brush.moveTo(from.x, from.y);
    brush.lineTo(to.x, to.y + 0.01); // so that a click draws a dot
    brush.stroke();
  };
  pad.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pad.setPointerCapture(event.pointerId);
    last = place(event);
    stroke(last, last);
    event.preventDefault();
  });
  pad.addEventListener("pointermove", (event) => {
    if (!last) return;
    for (const step of event.getCoalescedEvents ? event.getCoalescedEvents() : [event]) {
      const next = place(step);
      stroke(last, next);
      last = next;
    }
  });
  for (const kind of ["pointerup", "pointercancel"]) pad.addEventListener(kind, () => { if (last) { last = null; small(); } });
  const choose = (rubber) => {
    erasing = rubber;
    find("#pen").setAttribute("aria-pressed", String(!rubber));
    find("#eraser").setAttribute("aria-pressed", String(rubber));
  };
  find("#pen").addEventListener("click", () => choose(false));
  find("#eraser").addEventListener("click", () => choose(true));
  find("#clear").addEventListener("click", () => { wipe(); choose(false); waiting.textContent = ""; });
  all("[data-way]").forEach((button) => button.addEventListener("click", () => way(button.dataset.way)));

  // Bounding box of the drawing, or null for an empty pad.
  const inked = () => {
    const { data } = brush.getImageData(0, 0, pad.width, pad.height);
    let [left, top, right, bottom] = [pad.width, pad.height, -1, -1];
    for (let y = 0, at = 0; y < pad.height; y += 1) {
      for (let x = 0; x < pad.width; x += 1, at += 4) {
        if (data[at] > 40) {
          if (x < left) left = x;
          if (x > right) right = x;
          if (y < top) top = y;
          bottom = y;
        }
      }
    }
    return right < 0 ? null : { left, top, width: right - left + 1, height: bottom - top + 1 };
  };
  // Preprocesses the drawing like common small-image data sets: crop, scale to fill, centre, area average. Tiny images have no margin.
  const small = () => {
    const box = inked();
    mini.fillStyle = "#000";
    mini.fillRect(0, 0, width, height);
    if (!box) return false;
    const margin = Math.min(width, height) > 16 ? 1 / 7 : 0;
    const fit = Math.min((width * (1 - 2 * margin)) / box.width, (height * (1 - 2 * margin)) / box.height);
    const [w, h] = [box.width * fit, box.height * fit];
    const [x0, y0] = [(width - w) / 2, (height - h) / 2];
    // Area average in JavaScript: some browsers skip pixels when a canvas shrinks this far in one step.
    const ink = brush.getImageData(0, 0, pad.width, pad.height).data;
    const out = mini.createImageData(width, height);
    const grain = 12;
    for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) {
      let sum = 0;
      for (let j = 0; j < grain; j += 1) for (let i = 0; i < grain; i += 1) {
        const sx = Math.floor(box.left + (x + (i + 0.5) / grain - x0) / fit);
        const sy = Math.floor(box.top + (y + (j + 0.5) / grain - y0) / fit);
        if (sx >= 0 && sy >= 0 && sx < pad.width && sy < pad.height) sum += ink[(sy * pad.width + sx) * 4];
      }
      const value = Math.round(sum / (grain * grain));
      out.data.set([value, value, value, 255], (y * width + x) * 4);
    }
    mini.putImageData(out, 0, 0);
    return true;
  };
  const keepDrawing = async () => {
    if (!small()) return false;
    const png = await new Promise((done) => mini.canvas.toBlob(done, "image/png"));
    const carrier = new DataTransfer();
    carrier.items.add(new File([png], "drawing.png", { type: "image/png" }));
    file.files = carrier.files;
    return true;
  };
  wipe();
  find(".ways").hidden = false;
  way("draw");
})();

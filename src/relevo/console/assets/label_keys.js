// A key press or click on the label page belongs to the picture that was on the screen when it was made.
//
//   key held down (repeat) · a second press before the next picture · a press before anybody can have seen the picture ─► ignored
//
// Streamlit listens on the document; this listens on the window before it. .rv-ask carries the number of the drawing and the keys.
(() => {
  if (window.relevoLabelKeys) return;
  window.relevoLabelKeys = true;

  const SEEN_AFTER_MS = 200;
  // A drawing that never comes, as after a lost connection, must not lock the keys for ever.
  const WAITS_AT_MOST_MS = 5000;
  const BUTTONS = '[class*="st-key-choices"] button, .st-key-ways button';
  let drawing = "";
  let drawnAt = 0;
  let used = "";
  let usedAt = 0;

  const asked = () => {
    const question = document.querySelector(".rv-ask");
    const shown = question?.dataset.drawing ?? "";
    if (shown !== drawing) {
      drawing = shown;
      drawnAt = performance.now();
    }
    return question;
  };
  const isEarly = (question) => {
    const now = performance.now();
    const picture = question.querySelector("img");
    const waiting = used === drawing && now - usedAt < WAITS_AT_MOST_MS;
    return waiting || now - drawnAt < SEEN_AFTER_MS || (picture !== null && !picture.complete);
  };
  const ignore = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  const use = (event, question) => {
    if (isEarly(question)) {
      ignore(event);
      return;
    }
    used = drawing;
    usedAt = performance.now();
  };

  window.addEventListener(
    "keydown",
    (event) => {
      const question = asked();
      if (!question || event.ctrlKey || event.metaKey || event.altKey) return;
      const key = event.key.toLowerCase();
      if (event.target.closest?.("input, textarea, [contenteditable='true']") && key !== "enter") return;
      const ours = (question.dataset.keys ?? "").split(" ").includes(key);
      if (event.repeat && (ours || key === "enter" || key === " ")) ignore(event);
      else if (ours) use(event, question);
    },
    true,
  );
  window.addEventListener(
    "click",
    (event) => {
      const question = asked();
      if (question && event.target.closest?.(BUTTONS)) use(event, question);
    },
    true,
  );
  new MutationObserver(asked).observe(document.body, { subtree: true, childList: true });
  asked();
})();

// Makes each key press or click on the label page apply to the input that was on the screen at that moment.
//
//   key held down (repeat) · second press before the next input · press too soon for a person to have seen the input ─► ignored
//
// Streamlit listens on the document; this script listens on the window, before it. .rv-ask has the number of the drawing and the keys.
(() => {
  if (window.relevoLabelKeys) return;
  window.relevoLabelKeys = true;

  const MIN_VIEW_MS = 200;
  // A drawing that never arrives, for example after a lost connection, must not block the keys forever.
  const MAX_WAIT_MS = 5000;
  const BUTTONS = '[class*="st-key-choices"] button, .st-key-ways button';
  let drawing = "";
  let drawnAt = 0;
  let answered = "";
  let answeredAt = 0;

  const currentItem = () => {
    const item = document.querySelector(".rv-ask");
    const number = item?.dataset.drawing ?? "";
    if (number !== drawing) {
      drawing = number;
      drawnAt = performance.now();
    }
    return item;
  };
  const isEarly = (item) => {
    const now = performance.now();
    const picture = item.querySelector("img");
    const waiting = answered === drawing && now - answeredAt < MAX_WAIT_MS;
    return waiting || now - drawnAt < MIN_VIEW_MS || (picture !== null && !picture.complete);
  };
  const ignore = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  const accept = (event, item) => {
    if (isEarly(item)) {
      ignore(event);
      return;
    }
    answered = drawing;
    answeredAt = performance.now();
  };

  window.addEventListener(
    "keydown",
    (event) => {
      const item = currentItem();
      if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
      const key = event.key.toLowerCase();
      if (event.target.closest?.("input, textarea, [contenteditable='true']") && key !== "enter") return;
      const isShortcut = (item.dataset.keys ?? "").split(" ").includes(key);
      if (event.repeat && (isShortcut || key === "enter" || key === " ")) ignore(event);
      else if (isShortcut) accept(event, item);
    },
    true,
  );
  window.addEventListener(
    "click",
    (event) => {
      const item = currentItem();
      if (item && event.target.closest?.(BUTTONS)) accept(event, item);
    },
    true,
  );
  new MutationObserver(currentItem).observe(document.body, { subtree: true, childList: true });
  currentItem();
})();

// Keeps what somebody has opened, focused on and typed while a part of the page is drawn anew.
"use strict";
(() => {
  const FOCUSABLE = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]";
  const TYPED = "input:not([type=hidden]), select, textarea";
  let kept = null;

  // What an element is, and not where it stands: two of the same name do the same.
  const nameOf = (each) => JSON.stringify([
    each.tagName, each.id, each.getAttribute("href"), each.name, each.getAttribute("aria-label"),
    each.matches("button, summary") ? each.textContent.trim() : "",
    each.form ? [...new FormData(each.form)].filter(([name]) => name !== "csrf" && !isTyped(each.form, name)) : "",
    each.matches("summary") && each.parentElement ? each.parentElement.id : "",
  ]);
  const isChanged = (field) => field.options
    ? [...field.options].some((each) => each.selected !== each.defaultSelected)
    : field.value !== field.defaultValue;
  const isTyped = (form, name) => [...form.querySelectorAll(TYPED)].some((field) => field.name === name);
  const alike = (part, selector, name) => [...part.querySelectorAll(selector)].filter((each) => nameOf(each) === name);

  const keep = (part) => {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const name = focused && nameOf(focused);
    const typed = [...part.querySelectorAll(TYPED)].filter(isChanged);
    return {
      id: part.id, name,
      place: focused && alike(part, FOCUSABLE, name).indexOf(focused),
      cursor: focused && focused.matches("input, textarea") ? [focused.selectionStart, focused.selectionEnd] : null,
      typed: typed.map((field) => [nameOf(field), field.value]),
      open: [...part.querySelectorAll("details[id]")].map((each) => [each.id, each.open]),
    };
  };

  const restore = (part, { name, place, cursor, typed, open }) => {
    for (const [id, wasOpen] of open) {
      const details = document.getElementById(id);
      if (details && part.contains(details)) details.open = wasOpen;
    }
    for (const [name, value] of typed) {
      const [field] = alike(part, TYPED, name);
      if (field) field.value = value;
    }
    const focused = name && alike(part, FOCUSABLE, name)[place];
    if (!focused) return;
    focused.focus({ preventScroll: true });
    if (cursor && cursor[0] !== null) focused.setSelectionRange(...cursor);
  };

  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.shouldSwap && detail.target.id) kept = keep(detail.target);
  });
  document.addEventListener("htmx:afterSwap", () => {
    const part = kept && document.getElementById(kept.id);
    if (part) restore(part, kept);
    kept = null;
  });
})();

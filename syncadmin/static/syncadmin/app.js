// Small behaviours asked for by data attributes; no page has script of its own.
(() => {
  const each = (selector, action) => document.querySelectorAll(selector).forEach(action);
  const typing = (target) => target.matches("input, textarea, select, [contenteditable]");

  // Sidebar on narrow screens: a button opens it, Escape, a link or a press beside it closes it.
  const side = document.getElementById("nav");
  const burger = document.querySelector("[data-nav-open]");
  const openSide = (open) => {
    if (!side || !burger) return;
    side.classList.toggle("open", open);
    burger.setAttribute("aria-expanded", String(open));
    if (open) side.querySelector("a")?.focus();
  };
  burger?.addEventListener("click", () => openSide(!side.classList.contains("open")));
  document.addEventListener("click", (event) => {
    if (side?.classList.contains("open") && !side.contains(event.target) && !burger.contains(event.target)) openSide(false);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && side?.classList.contains("open")) {
      openSide(false);
      burger.focus();
    }
    const find = document.querySelector("[data-find]");
    if (find && ((event.key === "k" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && !typing(event.target)))) {
      event.preventDefault();
      find.focus();
      find.select();
    }
    // data-key="j": a single key that presses this button or link, unless somebody is typing.
    if (!event.ctrlKey && !event.metaKey && !event.altKey && !typing(event.target)) {
      const target = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
      if (target) {
        event.preventDefault();
        target.click();
      }
    }
  });

  const enhance = (root) => {
    // data-copy="#id": copies that element's text.
    root.querySelectorAll("[data-copy]").forEach((button) =>
      button.addEventListener("click", async () => {
        const source = document.querySelector(button.dataset.copy);
        await navigator.clipboard.writeText(source.value ?? source.textContent.trim());
        button.querySelector("[data-copied]")?.removeAttribute("hidden");
      }),
    );
    // data-show-if="field=value" or "field=one|other": shown and enabled only while that field has such a value; a box
    // that is not ticked has none.
    root.querySelectorAll("[data-show-if]").forEach((part) => {
      const [name, value] = part.dataset.showIf.split("=");
      const field = part.closest("form")?.elements[name];
      if (!field) return;
      const update = () => {
        const given = field.type === "checkbox" && !field.checked ? "" : field.value;
        part.hidden = !value.split("|").includes(given);
        part.querySelectorAll("input, select, textarea").forEach((input) => (input.disabled = part.hidden));
      };
      (field instanceof RadioNodeList ? [...field] : [field]).forEach((input) => input.addEventListener("change", update));
      update();
    });
    // data-autosubmit: a filter's form is sent when the choice changes.
    root.querySelectorAll("[data-autosubmit]").forEach((input) =>
      input.addEventListener("change", () => input.form.requestSubmit()),
    );
    // data-dialog="#id": opens a dialog that asks first; its own form does the deed.
    root.querySelectorAll("[data-dialog]").forEach((button) =>
      button.addEventListener("click", () => document.querySelector(button.dataset.dialog)?.showModal()),
    );
    root.querySelectorAll("[data-dialog-close]").forEach((button) =>
      button.addEventListener("click", () => button.closest("dialog").close()),
    );
    // data-enables="#id" on an input: that button works once the input holds data-word (or anything, without it).
    root.querySelectorAll("[data-enables]").forEach((input) => {
      const button = document.querySelector(input.dataset.enables);
      const update = () => {
        button.disabled = input.dataset.word ? input.value.trim() !== input.dataset.word : !input.value.trim();
      };
      input.addEventListener("input", update);
      update();
    });
    // data-check-all="name": ticks all boxes of that name in the form.
    root.querySelectorAll("[data-check-all]").forEach((box) =>
      box.addEventListener("change", () =>
        [...box.form.elements].filter((one) => one.name === box.dataset.checkAll).forEach((one) => {
          one.checked = box.checked;
          one.dispatchEvent(new Event("change", { bubbles: true }));
        }),
      ),
    );
    // data-fills="#id": enters what its group proposes (data-fill="input", data-value), then presses that button.
    root.querySelectorAll("[data-fills]").forEach((button) =>
      button.addEventListener("click", () => {
        button.closest("fieldset").querySelectorAll("[data-fill]").forEach((one) => {
          const input = document.getElementById("section").elements[one.dataset.fill];
          input.value = one.dataset.value;
          input.closest("details")?.setAttribute("open", "");
        });
        document.querySelector(button.dataset.fills).click();
      }),
    );
  };
  enhance(document);
  document.addEventListener("htmx:load", (event) => {
    if (event.target !== document.body) enhance(event.target);
  });

  // Tabs that do not fit are scrolled to the current one.
  each(".tabs [aria-current]", (tab) => {
    const strip = tab.parentElement;
    strip.scrollLeft = tab.offsetLeft - (strip.clientWidth - tab.offsetWidth) / 2;
  });

  // Live parts that stop answering say so: what is on the page may be old.
  const stale = document.getElementById("stale");
  document.addEventListener("htmx:sendError", () => stale?.removeAttribute("hidden"));
  document.addEventListener("htmx:responseError", () => stale?.removeAttribute("hidden"));
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) stale?.setAttribute("hidden", "");
  });
  // A form is sent once: a double press is one press.
  each("form[method=post]", (form) =>
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "1";
      setTimeout(() => delete form.dataset.sent, 3000);
    }),
  );
})();

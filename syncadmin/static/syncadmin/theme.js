// Light or dark before the first paint. ?theme=dark in the address sets it for one view; the switch remembers it.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => new URLSearchParams(location.search).get("theme") || localStorage.getItem("theme");
  const apply = () => {
    const theme = chosen();
    if (theme) root.dataset.theme = theme;
    const isDark = theme ? theme === "dark" : dark.matches;
    root.classList.toggle("dark", isDark); // unfold's own stylesheet asks for this class
  };
  apply();
  dark.addEventListener("change", apply);
  addEventListener("DOMContentLoaded", () => {
    const button = document.querySelector("[data-theme-switch]");
    if (!button) return;
    button.setAttribute("aria-pressed", String(root.classList.contains("dark")));
    button.addEventListener("click", () => {
      const next = root.classList.contains("dark") ? "light" : "dark";
      root.dataset.theme = next;
      root.classList.toggle("dark", next === "dark");
      localStorage.setItem("theme", next);
      button.setAttribute("aria-pressed", String(next === "dark"));
    });
  });
})();

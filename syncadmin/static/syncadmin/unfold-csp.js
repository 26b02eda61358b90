// Lets unfold's model forms and lists run on Alpine's CSP build: registers the functions its templates call and
// rewrites the four attributes that hold real JavaScript. Only unfold's own pages load it.
document.addEventListener("alpine:init", () => {
  for (const name of ["theme", "searchForm", "searchDropdown", "searchCommand"]) {
    if (typeof window[name] === "function") Alpine.data(name, window[name]);
  }
  const body = document.body;
  const init = body.getAttribute("x-init") || "";
  const tabs = init.match(/activeTab = getCurrentTab\(\) \|\| '([^']*)'/);
  Alpine.data("uBody", () => ({
    activeTab: tabs ? getCurrentTab() || tabs[1] : "",
    get formAction() {
      const { pathname, search } = window.location;
      return pathname + search + (this.activeTab && this.activeTab !== "general" ? "#" + this.activeTab : "");
    },
    moveRecords: (event) => window.moveRecords(event),
    sortRecords: (event) => window.sortRecords(event),
  }));
  body.setAttribute("x-data", "uBody");
  body.removeAttribute("x-init");
  const rewrite = (attribute, part, value) =>
    document.querySelectorAll("*").forEach((element) => {
      if (element.getAttribute(attribute)?.includes(part)) element.setAttribute(attribute, value);
    });
  rewrite("x-bind:action", "window.location", "formAction");
  rewrite("x-on:keydown.enter.prevent", "$event.metaKey", "selectItem(true, false)");
});

// Keys of the conflict page: 0 to 4 answer the field in focus, else the first one not answered; Enter saves.
document.addEventListener("keydown", (event) => {
  const target = event.target;
  const typing = target.matches("input:not([type=radio]), textarea, select");
  if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
  const questions = [...document.querySelectorAll("[data-question]")];
  const open = questions.find((one) => !one.querySelector("input:checked"));
  const question = target.closest("[data-question]") ?? open ?? questions[0];
  const take = { 0: "base", 1: "left", 2: "right", 3: "restore-0", 4: "ignore" }[event.key];
  const wanted = take && `[value=${take}]${event.key === "3" ? ", [value=value]" : ""}`;
  const radio = wanted && question?.querySelector(`input[type=radio]:is(${wanted})`);
  if (radio) {
    event.preventDefault();
    radio.click();
    question.scrollIntoView({ block: "nearest" });
  }
  const save = document.querySelector("[data-save]");
  if (event.key === "Enter" && save && !target.closest("a, button, summary")) {
    event.preventDefault();
    save.click();
  }
});

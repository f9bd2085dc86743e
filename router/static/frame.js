// The theme switch and the copy buttons, both hidden until this runs; and what is open at the end of a row, closed by a click elsewhere or Escape.
const root = document.documentElement;
const theme = () => root.getAttribute("data-bs-theme");
const switches = document.querySelectorAll("[data-theme-switch]");

function label() {
  switches.forEach((button) => {
    button.textContent = theme() === "dark" ? "Light" : "Dark";
    button.title = "Change to the " + button.textContent.toLowerCase() + " theme";
  });
}

switches.forEach((button) => {
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = theme() === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("theme", next);
    } catch {
      /* it lasts for this page */
    }
    root.setAttribute("data-bs-theme", next);
    label();
  });
});
label();

document.querySelectorAll("[data-copy]").forEach((button) => {
  if (!navigator.clipboard) return;
  const said = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("pre").textContent);
    button.textContent = "Copied";
    setTimeout(() => {
      button.textContent = said;
    }, 2000);
  });
});

const OPEN = ".rarer[open], .confirm[open]";
document.addEventListener("click", (event) => {
  document.querySelectorAll(OPEN).forEach((one) => {
    if (!one.contains(event.target)) one.open = false;
  });
});
document.addEventListener("keydown", (event) => {
  const one = event.key === "Escape" && event.target.closest(OPEN);
  if (!one) return;
  one.open = false;
  one.querySelector("summary").focus();
});

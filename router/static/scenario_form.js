// Rows that can be added and removed, and the preview of the display format. Without it, the form has empty rows and works.
const fields = (row) => row.querySelectorAll("input");

function renumber(rows) {
  rows.querySelectorAll("[data-row]").forEach((row, index) => {
    fields(row).forEach((field) => { field.name = field.name.replace(/\.\d+\./, `.${index}.`); field.id = field.name; });
    row.querySelectorAll("label").forEach((label) => { label.htmlFor = label.htmlFor.replace(/\.\d+\./, `.${index}.`); });
    const first = rows.dataset.rows === "destinations" && row.querySelector("label");
    if (first) first.textContent = index ? "Then ring" : "First ring";
  });
  const count = rows.querySelectorAll("[data-row]").length;
  rows.querySelector("[data-add]").hidden = count >= Number(rows.dataset.most);
}

function emptied(row) {
  row.querySelectorAll(".invalid-feedback").forEach((said) => said.remove());
  fields(row).forEach((field) => { field.value = ""; field.classList.remove("is-invalid"); field.removeAttribute("aria-invalid"); field.removeAttribute("aria-describedby"); });
  return row;
}

document.querySelectorAll("[data-rows]").forEach((rows) => {
  const add = rows.querySelector("[data-add]");
  if (!add) return;
  const shape = emptied(rows.querySelector("[data-row]").cloneNode(true));
  const blank = [...rows.querySelectorAll("[data-row]")].filter((row) => [...fields(row)].every((field) => !field.value));
  blank.slice(blank.length === rows.querySelectorAll("[data-row]").length ? 1 : 0).forEach((row) => row.remove());
  const show = () => rows.querySelectorAll("[data-remove]").forEach((button) => { button.hidden = false; });
  rows.addEventListener("click", (event) => {
    const row = event.target.closest("[data-remove]")?.closest("[data-row]");
    if (!row) return;
    if (rows.querySelectorAll("[data-row]").length > 1) row.remove(); else emptied(row);
    renumber(rows);
    add.focus();
  });
  add.addEventListener("click", () => {
    const row = shape.cloneNode(true);
    add.before(row);
    renumber(rows);
    show();
    fields(row)[0].focus();
  });
  renumber(rows);
  show();
});

const format = document.querySelector("[data-preview-of]");
let asked;
format?.addEventListener("input", () => {
  clearTimeout(asked);
  asked = setTimeout(async () => {
    const query = new URLSearchParams({ format: format.value, number: format.dataset.previewOf });
    const answer = await fetch(`${format.dataset.previewUrl}?${query}`);
    if (answer.ok) document.getElementById("preview").textContent = (await answer.json()).shown;
  }, 200);
});

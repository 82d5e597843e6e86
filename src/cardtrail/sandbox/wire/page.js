const form = document.querySelector("form"), rows = [...document.querySelectorAll("details")];
const given = new URLSearchParams(location.search);
for (const name of ["hop", "card"]) if (given.get(name)) form.elements[name].value = given.get(name);
function show() {
  const hop = form.elements.hop.value, card = form.elements.card.value.trim(), struck = form.elements.struck.checked;
  let shown = 0;
  for (const row of rows) {
    const fits = (!hop || row.dataset.hop === hop) && (!struck || row.dataset.faults) &&
      (!card || row.dataset.cards.split(" ").some((each) => each.startsWith(card)));
    row.hidden = !fits;
    shown += fits;
  }
  document.querySelector("output").textContent = `${shown} of ${rows.length} shown`;
}
form.addEventListener("input", show);
form.addEventListener("submit", (event) => event.preventDefault());
show();

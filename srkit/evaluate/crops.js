"use strict";
// Each article gets a slider between any two of its pictures; the menus above, if there are any, set all of them.
const shows = [];

for (const article of document.querySelectorAll("article")) {
  const compare = article.querySelector(".compare");
  const buttons = [...article.querySelectorAll(".strip button")];
  const title = article.querySelector("h3").textContent;
  const labels = buttons.map((button) => button.querySelector(".name").textContent);
  const last = labels.length - 1;
  compare.innerHTML = `<div class=box><img class=under alt=""><img class=over alt=""><i class=line></i>
    <span class=l></span><span class=r></span></div>
    <input type=range min=0 max=100 step=0.5 value=50>
    <div class=both><label>left <select></select></label><label>right <select></select></label></div>`;
  const box = compare.querySelector(".box");
  const slider = compare.querySelector("input");
  const selects = [...compare.querySelectorAll("select")];
  const [under, over] = compare.querySelectorAll("img");
  for (const select of selects) select.append(...labels.map((label) => new Option(label)));

  const move = () => {
    over.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
    box.querySelector(".line").style.left = `${slider.value}%`;
    slider.setAttribute("aria-valuetext", `${slider.value} % ${labels[selects[0].selectedIndex]}`);
  };
  const show = (side, i) => {
    if (i < 0 || i > last) return;
    selects[side].selectedIndex = i;
    (side ? under : over).src = buttons[i].querySelector("img").src;
    box.querySelector(side ? ".r" : ".l").textContent = labels[i];
    const shown = selects.map((select) => select.selectedIndex);
    buttons.forEach((button, n) => button.classList.toggle("shown", shown.includes(n)));
    move();
  };

  slider.setAttribute("aria-label", `${title}: how much of the left picture is seen`);
  slider.addEventListener("input", move);
  selects.forEach((select, side) => select.addEventListener("change", () => show(side, select.selectedIndex)));
  buttons.forEach((button, i) => button.addEventListener("click", (event) => show(event.shiftKey ? 0 : 1, i)));
  article.addEventListener("keydown", (event) => {
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
    if (!digit || event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === "SELECT") return;
    show(event.shiftKey ? 0 : 1, digit[1] - 1);
    event.preventDefault();
  });
  const drag = (event) => {
    const { left, width } = box.getBoundingClientRect();
    slider.value = (100 * (event.clientX - left)) / width;
    move();
  };
  box.addEventListener("pointerdown", (event) => { box.setPointerCapture(event.pointerId); drag(event); });
  box.addEventListener("pointermove", (event) => { if (event.buttons) drag(event); });
  compare.hidden = false;
  show(0, Math.min(2, last));
  show(1, last);
  shows.push((side, label) => show(side, labels.indexOf(label)));
}

["all-left", "all-right"].forEach((id, side) => {
  const select = document.getElementById(id);
  if (!select) return;
  select.selectedIndex = side ? select.options.length - 1 : Math.min(2, select.options.length - 1);
  select.addEventListener("change", () => shows.forEach((show) => show(side, select.value)));
});
for (const id of ["controls", "for-all"]) document.getElementById(id)?.removeAttribute("hidden");

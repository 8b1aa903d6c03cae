// What the lists of products and changes do by themselves.
"use strict";

{
  // A picture that can't be had leaves its place empty.
  const blank = (image) => image.replaceWith(Object.assign(document.createElement("span"), { className: `${image.className} none` }));
  const isPicture = (element) => element instanceof HTMLImageElement && element.closest("main");
  document.addEventListener("error", (event) => { if (isPicture(event.target)) blank(event.target); }, true);
  for (const image of document.querySelectorAll("main img")) if (image.complete && !image.naturalWidth) blank(image);

  // The choice of columns closes when something else is pressed, or on Escape.
  const choosers = () => document.querySelectorAll(".chooser[open]");
  document.addEventListener("click", (event) => { for (const one of choosers()) if (!one.contains(event.target)) one.open = false; });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const one of choosers()) {
      one.open = false;
      one.querySelector("summary").focus();
    }
  });

  // What is new in a feed is marked for a moment.
  const latest = () => Math.max(0, ...[...document.querySelectorAll("[data-entry]")].map((entry) => Number(entry.dataset.entry)));
  let seen = latest();
  document.addEventListener("refreshed", () => {
    for (const entry of document.querySelectorAll("[data-entry]")) entry.classList.toggle("fresh", Number(entry.dataset.entry) > seen);
    seen = latest();
  });
  document.addEventListener("htmx:afterSwap", () => { seen = latest(); });
}

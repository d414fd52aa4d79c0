// What the page does on its own: live parts are fetched again, forms are sent, keys move through a list.
// It shows only what the server has escaped; without it, everything can still be read.
"use strict";

const EVERY = 2000; // milliseconds

// One fetch brings all parts of an address; a part is left alone while somebody's hand is on it.
async function refresh(address, parts) {
  try {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of parts) {
      const now = page.getElementById(part.id);
      if (now && !part.contains(document.activeElement)) part.replaceWith(now);
    }
    document.body.classList.remove("gone");
  } catch {
    document.body.classList.add("gone");
  }
}

function beat() {
  const parts = document.hidden ? [] : [...document.querySelectorAll("[data-live]")];
  const all = new Map();
  for (const part of parts) all.set(part.dataset.live, [...(all.get(part.dataset.live) ?? []), part]);
  Promise.all([...all].map(([address, those]) => refresh(address, those))).finally(() => setTimeout(beat, EVERY));
}

// A form is sent as a request of the script, since with one the browser always tells the origin.
async function send(event) {
  const form = event.target;
  if (form.method !== "post" || form.enctype === "multipart/form-data") return;
  event.preventDefault();
  const body = new URLSearchParams(new FormData(form, event.submitter));
  const answer = await fetch(form.action, { method: "POST", body });
  if (answer.redirected) location.assign(answer.url);
  else document.body.replaceWith(new DOMParser().parseFromString(await answer.text(), "text/html").body);
}

function follow(rel) {
  document.querySelector(`a[rel=${rel}]`)?.click();
}

function move(by) {
  const all = [...document.querySelectorAll("[data-item]")];
  const at = all.indexOf(document.activeElement);
  all[at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by]?.focus();
}

const KEYS = {
  "/": () => document.getElementById("search")?.focus(),
  j: () => move(1),
  k: () => move(-1),
  n: () => follow("next"),
  p: () => follow("prev"),
  u: () => follow("up"),
};

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  const act = KEYS[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
}

document.addEventListener("submit", send);
document.addEventListener("keydown", press);
setTimeout(beat, EVERY);

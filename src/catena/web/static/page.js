// What the page does on its own: live parts are fetched again, forms are sent, keys move through a list.
// It reads and changes only what the server has escaped; without it, everything can still be read.
"use strict";

const EVERY = 2000; // milliseconds

async function refresh(part) {
  if (document.hidden || part.contains(document.activeElement)) return;
  try {
    const answer = await fetch(part.dataset.live, { headers: { "x-live": "1" } });
    if (!answer.ok) throw new Error(answer.statusText);
    const text = await answer.text();
    const now = new DOMParser().parseFromString(text, "text/html").getElementById(part.id);
    if (now && !part.contains(document.activeElement)) part.replaceWith(now);
    document.body.classList.remove("gone");
  } catch {
    document.body.classList.add("gone");
  }
}

function beat() {
  Promise.all([...document.querySelectorAll("[data-live]")].map(refresh)).finally(() => setTimeout(beat, EVERY));
}

// A form is sent as a request of the script, since with it the browser always tells the origin.
async function send(event) {
  const form = event.target;
  if (form.method !== "post" || form.enctype === "multipart/form-data") return;
  event.preventDefault();
  const data = new URLSearchParams(new FormData(form, event.submitter));
  const answer = await fetch(form.action, { method: "POST", body: data });
  if (answer.redirected) location.assign(answer.url);
  else {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.body.replaceWith(page.body);
  }
}

document.addEventListener("submit", send);
setTimeout(beat, EVERY);

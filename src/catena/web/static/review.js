// Labels by keyboard: keys press the buttons that are there, and the next item comes without the page loading anew.
// It adds no content of its own; without it the forms work by themselves.
"use strict";

let sending = false;

function part() {
  return document.getElementById("review");
}

function keysOn() {
  return sessionStorage.getItem("keys") !== "off";
}

function put(page) {
  const now = page.getElementById("review");
  if (!now) return document.body.replaceWith(page.body);
  part().replaceWith(now);
  document.getElementById("keys-on")?.toggleAttribute("checked", keysOn());
  if (sessionStorage.getItem("help") === "on") document.getElementById("keys")?.removeAttribute("hidden");
  document.querySelector("#review [autofocus], #text")?.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

async function say(event) {
  const form = event.target;
  if (!form.closest("#review")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (sending) return;
  sending = true;
  try {
    const data = new URLSearchParams(new FormData(form, event.submitter));
    const to = event.submitter?.hasAttribute("formaction") ? event.submitter.formAction : form.action;
    const answer = await fetch(to, { method: "POST", body: data });
    put(new DOMParser().parseFromString(await answer.text(), "text/html"));
    document.body.classList.remove("gone");
  } catch {
    document.body.classList.add("gone");
  } finally {
    sending = false;
  }
}

function filter(text) {
  const wanted = text.trim().toLowerCase();
  for (const choice of document.querySelectorAll(".choice")) {
    choice.hidden = !choice.value.toLowerCase().includes(wanted);
  }
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return;
  const at = document.activeElement;
  if (event.key === "Escape") {
    if (at?.id === "filter") filter((at.value = ""));
    return at?.blur();
  }
  if (at?.id === "filter" && event.key === "Enter") {
    event.preventDefault();
    return document.querySelector(".choice:not([hidden])")?.click();
  }
  if (at?.matches("input:not([type=checkbox]), textarea, select") || !keysOn()) return;
  if (event.key === "Enter" && at?.matches("button, a, summary")) return;
  const target = event.key === "n" ? "note" : event.key === "/" ? "filter" : null;
  if (target && document.getElementById(target)) {
    event.preventDefault();
    return document.getElementById(target).focus();
  }
  const button = document.querySelector(`#review [data-press="${CSS.escape(event.key)}"]`);
  if (button) {
    event.preventDefault();
    button.click();
  }
}

function help() {
  const keys = document.getElementById("keys");
  keys.hidden = !keys.hidden;
  sessionStorage.setItem("help", keys.hidden ? "off" : "on");
}

document.addEventListener("submit", say, true);
document.addEventListener("keydown", key);
document.addEventListener("click", (event) => event.target.closest("#keys-help") && help());
document.addEventListener("input", (event) => event.target.id === "filter" && filter(event.target.value));
document.addEventListener("change", (event) => {
  if (event.target.id === "keys-on") sessionStorage.setItem("keys", event.target.checked ? "on" : "off");
});

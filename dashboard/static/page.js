"use strict";

// Parts of a page that move: asked for as often as they say, never while nobody looks.
const PART = { headers: { "X-Part": "1" }, redirect: "manual" };

async function renew(part) {
  const answer = await fetch(part.dataset.part, PART);
  if (!answer.ok) {
    return;
  }
  const words = await answer.text();
  const held = part.contains(document.activeElement) ? document.activeElement.id || document.activeElement.getAttribute("href") : null;
  const made = new DOMParser().parseFromString(words, "text/html");
  part.replaceChildren(...made.body.childNodes);
  if (held) {
    const again = [...part.querySelectorAll("a, button, input, summary")].find(
      (one) => one.id === held || one.getAttribute("href") === held,
    );
    again?.focus();
  }
}

async function keepNew(part) {
  const pause = Number(part.dataset.seconds || 0) * 1000;
  if (!pause) {
    await renew(part).catch(() => {});
    return;
  }
  if (!part.children.length || part.querySelector("noscript")) {
    await renew(part).catch(() => {});
  }
  for (;;) {
    await new Promise((done) => setTimeout(done, pause));
    if (!document.hidden) {
      // A page that is away for a moment comes back by itself.
      await renew(part).catch(() => {});
    }
  }
}

for (const part of document.querySelectorAll("[data-part]")) {
  keepNew(part);
}

// Keys press the buttons that name them, but not while somebody writes.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) {
    return;
  }
  if (event.target.closest("input, select, textarea, summary")) {
    return;
  }
  if (event.key === "Enter" && event.target.closest("a, button")) {
    return;
  }
  const button = [...document.querySelectorAll("button[data-key]")].find(
    (one) => one.dataset.key === event.key && !one.disabled,
  );
  if (button) {
    event.preventDefault();
    button.click();
  }
});

// Pressed twice, it is sent once.
document.addEventListener("submit", (event) => {
  if (event.target.method === "post") {
    if (event.target.dataset.sent) {
      event.preventDefault();
    }
    event.target.dataset.sent = "1";
  }
});
window.addEventListener("pageshow", () => {
  for (const form of document.forms) {
    delete form.dataset.sent;
  }
});

"use strict";

// What a browser may refuse to remember is forgotten when the page is left.
function remembered(storage, name) {
  try {
    return window[storage].getItem(name);
  } catch {
    return null;
  }
}

function remember(storage, name, value) {
  try {
    window[storage].setItem(name, value);
  } catch {
    // A browser that keeps nothing still switches.
  }
}

// Switches stand under the heading of the page, and only where they switch something.
function addSwitch(name, isOn, change) {
  const button = document.createElement("button");
  button.type = "button";
  // The name stays as it is: whether it is on is read aloud from its state.
  const state = document.createElement("span");
  state.setAttribute("aria-hidden", "true");
  button.append(name, state);
  const show = (on) => {
    button.setAttribute("aria-pressed", String(on));
    state.textContent = on ? ": on" : ": off";
  };
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    show(on);
    change(on);
  });
  show(isOn);
  let place = document.querySelector(".switches");
  if (!place) {
    place = document.createElement("div");
    place.className = "switches";
    document.querySelector("h1").after(place);
  }
  place.append(button);
  return button;
}

// Parts of a page that move: asked for as often as they say, never while nobody looks, never while
// they are paused, and no more once an element in them has the attribute data-final.
const LONGEST_ANSWER_MS = 30_000;
// What comes once, such as a picture, is asked for again as long as it does not come.
const AGAIN_MS = 5_000;

// A browser that goes to another page breaks off what is asked: that is no failure.
const LEAVING_MS = 2_000;
let leavingAt = 0;
window.addEventListener("beforeunload", () => {
  leavingAt = Date.now();
});

let paused = remembered("sessionStorage", "paused") === "1";

function rest(milliseconds) {
  return new Promise((done) => {
    const woken = new AbortController();
    const end = () => {
      clearTimeout(timer);
      woken.abort();
      done();
    };
    const timer = setTimeout(end, milliseconds);
    document.addEventListener("resumed", end, { signal: woken.signal });
    document.addEventListener("visibilitychange", end, { signal: woken.signal });
  });
}

function nameOf(element) {
  return element.id || element.getAttribute("href") || element.getAttribute("aria-label");
}

class Part {
  constructor(element) {
    this.element = element;
    this.pause = Number(element.dataset.seconds || 0) * 1000;
    this.isFilled = element.children.length > 0 && !element.querySelector("noscript");
    this.words = element.innerHTML.trim();
    this.renewedAt = new Date();
    this.stale = null;
  }

  get isOver() {
    return this.isFilled && (!this.pause || this.element.querySelector("[data-final]") !== null);
  }

  async keepNew() {
    if (!this.isFilled) {
      await this.renew();
    }
    while (!this.isOver) {
      await rest(this.pause || AGAIN_MS);
      if (!document.hidden && !(paused && this.isFilled)) {
        await this.renew();
      }
    }
  }

  async renew() {
    const words = await this.ask();
    if (words !== null) {
      if (!paused || !this.isFilled) {
        this.show(words);
      }
    } else if (Date.now() - leavingAt > LEAVING_MS) {
      // A page that is away for a moment comes back by itself; until then it says so.
      this.tellStale();
    }
  }

  async ask() {
    try {
      const answer = await fetch(this.element.dataset.part, {
        headers: { "X-Part": "1" },
        redirect: "manual",
        signal: AbortSignal.timeout(LONGEST_ANSWER_MS),
      });
      return answer.ok ? await answer.text() : null;
    } catch {
      return null;
    }
  }

  show(given) {
    const body = new DOMParser().parseFromString(given, "text/html").body;
    const words = body.innerHTML.trim();
    this.renewedAt = new Date();
    this.stale?.remove();
    this.stale = null;
    // What stays as it is is not replaced: nothing is read aloud twice.
    if (words !== this.words) {
      this.replace(body);
      this.words = words;
    }
    this.isFilled = true;
  }

  replace(body) {
    const active = this.element.contains(document.activeElement) ? document.activeElement : null;
    const held = active && nameOf(active);
    const scrolled = [...this.element.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    const unfolded = [...this.element.querySelectorAll("details[open]")].map((one) => one.id);
    this.element.replaceChildren(...body.childNodes);
    this.element.querySelectorAll("details").forEach((one) => {
      one.open = unfolded.includes(one.id);
    });
    if (held) {
      const again = [...this.element.querySelectorAll("a, button, input, summary, [tabindex]")].find(
        (one) => nameOf(one) === held,
      );
      again?.focus({ preventScroll: true });
    }
    this.element.querySelectorAll(".scroll").forEach((one, place) => {
      one.scrollLeft = scrolled[place] ?? 0;
    });
  }

  tellStale() {
    if (this.stale) {
      return;
    }
    const since = `${this.renewedAt.toISOString().slice(11, 19)} UTC`;
    this.stale = document.createElement("p");
    this.stale.className = "stale";
    this.stale.setAttribute("role", "status");
    this.stale.textContent = this.isFilled
      ? `Not renewed since ${since}: the page does not answer. It is asked again.`
      : `Not here yet, asked for since ${since}: the page does not answer. It is asked again.`;
    if (!this.isFilled) {
      for (const child of this.element.children) {
        child.hidden = true;
      }
    }
    this.element.prepend(this.stale);
  }
}

const parts = [...document.querySelectorAll("[data-part]")].map((element) => new Part(element));
const renewing = parts.filter((part) => part.pause && !part.isOver);
const pauseSwitch =
  renewing.length > 0 &&
  addSwitch("Pause", paused, (on) => {
    paused = on;
    remember("sessionStorage", "paused", on ? "1" : "0");
    if (!on) {
      document.dispatchEvent(new Event("resumed"));
    }
  });

for (const part of parts) {
  part.keepNew().then(() => {
    if (pauseSwitch && renewing.every((one) => one.isOver) && pauseSwitch !== document.activeElement) {
      pauseSwitch.hidden = true;
    }
  });
}

// Keys press the buttons that name them, but not while somebody writes, and not once they are off.
const keyed = [...document.querySelectorAll("button[data-key]")];
let keysAreOn = remembered("localStorage", "keys") !== "off";

function showKeys() {
  document.body.classList.toggle("keys-off", !keysAreOn);
  for (const button of keyed) {
    if (keysAreOn) {
      button.setAttribute("aria-keyshortcuts", button.dataset.key);
    } else {
      button.removeAttribute("aria-keyshortcuts");
    }
  }
}

if (keyed.length > 0) {
  addSwitch("Keys", keysAreOn, (on) => {
    keysAreOn = on;
    remember("localStorage", "keys", on ? "on" : "off");
    showKeys();
  });
  showKeys();
}

document.addEventListener("keydown", (event) => {
  if (!keysAreOn || event.ctrlKey || event.altKey || event.metaKey || event.repeat) {
    return;
  }
  if (event.target.closest("input, select, textarea, summary")) {
    return;
  }
  if (event.key === "Enter" && event.target.closest("a, button")) {
    return;
  }
  const button = keyed.find((one) => one.dataset.key === event.key && !one.disabled);
  if (button) {
    event.preventDefault();
    button.click();
  }
});

// What a page wants to be read first, such as the next row after an answer.
const first = document.querySelector("[data-focus]");
if (first) {
  if (!first.hasAttribute("tabindex")) {
    first.tabIndex = -1;
  }
  first.focus();
}

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

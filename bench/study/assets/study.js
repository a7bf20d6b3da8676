// @ts-check
// A rater's page: shows one item after the other and sends the answers. What is next is always asked of the server, so
// that closing the page, going back, or a second tab can lose or double nothing.
"use strict";

(() => {
  /** Milliseconds that an item must be seen before an answer counts: a second press of a key is no answer. */
  const SETTLE = 300;

  /** @type {<K extends keyof StudyElements>(id: K) => StudyElements[K]} */
  const element = (id) => /** @type {any} */ (document.getElementById(id));
  const sections = [element("welcome"), element("work"), element("end")];
  const choices = [element("choose-left"), element("choose-tie"), element("choose-right")];

  /** A failure with a sentence for the rater. */
  class Trouble extends Error {}

  /** @type {StudyTransport} */
  const server = {
    state: () => request("/state"),
    consent: () => request("/consent", {}),
    vote: (answer) => request("/vote", answer),
    picture: (handle) => `${document.body.dataset.path}/picture/${handle}`,
  };
  const transport = window.studyLocal ?? server;

  /**
   * @param {string} path
   * @param {object} [body]
   * @returns {Promise<any>}
   */
  async function request(path, body) {
    const token = document.querySelector('meta[name="study-token"]')?.getAttribute("content") ?? "";
    /** @type {RequestInit} */
    const options = { cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer" };
    if (body) {
      options.method = "POST";
      options.headers = { "Content-Type": "application/json", "X-Study-Token": token };
      options.body = JSON.stringify(body);
    }
    let response;
    try {
      response = await fetch(document.body.dataset.path + path, options);
    } catch {
      throw new Trouble("The server cannot be reached. Nothing that you answered before is lost.");
    }
    /** @type {any} */
    const data = await response.json().catch(() => ({}));
    if (!response.ok) throw new Trouble(data.error ?? "The server has a fault: please try again later.");
    return data;
  }

  /** @type {StudyItem | null} */
  let item = null;
  let busy = false;
  let ready = false;
  let round = 0; // of several calls of `show` at a time, only the last one goes on
  let seen = 0; // milliseconds that the item was visible before `since`
  let since = 0;
  /** @type {(() => Promise<void>) | null} */
  let retry = null;
  /** Pictures of the next items, held so that the browser does not drop them. @type {Set<HTMLImageElement>} */
  const ahead = new Set();

  /** @param {HTMLElement} section */
  function only(section) {
    for (const one of sections) one.hidden = one !== section;
  }

  /** @param {string} text @param {(() => Promise<void>) | null} [then] */
  function say(text, then = null) {
    element("status").textContent = text;
    retry = then;
    element("again").hidden = then === null;
    if (then) element("again").focus();
  }

  /** @param {boolean} on */
  function enable(on) {
    ready = on;
    for (const button of choices) button.disabled = !on;
    element("pair").classList.toggle("ready", on);
  }

  /** Load and decode a picture before it is shown. @param {string} handle */
  async function loaded(handle) {
    const image = new Image();
    image.src = transport.picture(handle);
    await image.decode();
    return image.src;
  }

  /** @param {StudyState} state */
  async function show(state) {
    const mine = ++round;
    if (!state.consented) return only(element("welcome"));
    if (!state.item) return finish(state);
    const next = state.item;
    item = null;
    enable(false);
    only(element("work"));
    describe(state, next);
    for (const id of /** @type {const} */ (["left", "right"])) element(id).removeAttribute("src");
    const slow = window.setTimeout(() => say("The pictures are loading ..."), 700);
    try {
      const [left, right] = await Promise.all([loaded(next.left), loaded(next.right)]);
      if (mine !== round) return;
      element("left").src = left;
      element("right").src = right;
      await Promise.all([element("left").decode(), element("right").decode()]);
    } catch {
      if (mine === round) say("A picture could not be loaded.", () => show(state));
      return;
    } finally {
      window.clearTimeout(slow);
    }
    if (mine !== round) return;
    say("");
    item = next;
    seen = 0;
    since = performance.now();
    window.setTimeout(() => {
      if (item === next && !busy) enable(true);
    }, SETTLE);
    ahead.clear();
    for (const handle of state.ahead) ahead.add(Object.assign(new Image(), { src: transport.picture(handle) }));
  }

  /** @param {StudyState} state @param {StudyItem} next */
  function describe(state, next) {
    const thing = next.set ? "Set" : "Picture";
    element("count").textContent = `${state.done + 1} of ${state.total}`;
    element("bar").max = state.total;
    element("bar").value = state.done;
    element("practice").hidden = !next.practice;
    element("question").textContent = next.question;
    element("prompt").textContent = next.prompt;
    element("left").alt = `${thing} 1`;
    element("right").alt = `${thing} 2`;
    element("left-name").textContent = element("left-label").textContent = `${thing} 1`;
    element("right-name").textContent = element("right-label").textContent = `${thing} 2`;
    element("question").focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }

  /** @param {StudyState} state */
  function finish(state) {
    item = null;
    ahead.clear();
    only(element("end"));
    element("code").textContent = state.code ?? "";
    element("code-line").hidden = !state.code;
    element("save-line").hidden = !transport.save;
    element("stored-line").hidden = Boolean(transport.save);
    element("thanks").focus({ preventScroll: true });
  }

  /** Seconds for which the item was on a visible page. */
  const seconds = () => (seen + (document.hidden ? 0 : performance.now() - since)) / 1000;

  /** @param {StudyChoice} choice */
  async function choose(choice) {
    if (!item || !ready || busy) return;
    await send({ item: item.id, choice, seconds: Math.round(seconds() * 1000) / 1000 });
  }

  /** @param {StudyAnswer} answer */
  async function send(answer) {
    busy = true;
    enable(false);
    say("");
    try {
      const { stored, state } = await transport.vote(answer);
      busy = false;
      await show(state);
      if (!stored && state.item) say("That one was answered before, perhaps in another tab: the first answer stands.");
    } catch (error) {
      busy = false;
      say(error instanceof Error ? error.message : String(error), () => send(answer));
    }
  }

  async function start() {
    try {
      say("");
      await show(await transport.state());
    } catch (error) {
      say(error instanceof Error ? error.message : String(error), start);
    }
  }

  /** Another tab, or a page taken back from the browser's memory: is this item still the one to answer? */
  async function refresh() {
    if (busy || retry || !item) return;
    const shown = item;
    const state = await transport.state().catch(() => null);
    if (state && !busy && item === shown && state.item?.id !== shown.id) await show(state);
  }

  element("agree").addEventListener("change", () => {
    element("begin").disabled = !element("agree").checked;
  });
  element("begin").addEventListener("click", async () => {
    try {
      await show(await transport.consent());
    } catch (error) {
      say(error instanceof Error ? error.message : String(error), start);
    }
  });
  element("choose-left").addEventListener("click", () => choose("left"));
  element("choose-tie").addEventListener("click", () => choose("tie"));
  element("choose-right").addEventListener("click", () => choose("right"));
  element("left").addEventListener("click", () => choose("left"));
  element("right").addEventListener("click", () => choose("right"));
  element("save").addEventListener("click", () => transport.save?.());
  element("again").addEventListener("click", () => {
    const then = retry;
    say("");
    then?.();
  });
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || !item) return;
    const onButton = event.target instanceof HTMLButtonElement;
    const choice = { ArrowLeft: "left", ArrowRight: "right", " ": onButton ? "" : "tie" }[event.key];
    if (!choice) return;
    event.preventDefault();
    choose(/** @type {StudyChoice} */ (choice));
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) seen += performance.now() - since;
    else {
      since = performance.now();
      refresh();
    }
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) refresh();
  });
  window.addEventListener("focus", refresh);
  start();
})();

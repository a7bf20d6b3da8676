// @ts-check
// A study without a server: what the page asks of a server is answered from the data in this file, and answers are kept
// in the browser until the rater saves them as a file.
"use strict";

(() => {
  /** @type {StudyBundle} */
  const bundle = JSON.parse(document.getElementById("bundle")?.textContent ?? "{}");
  const key = `bench-study/${bundle.study}/${bundle.rater}`;

  /** @type {{consented: boolean, answers: StudyAnswer[]}} */
  const kept = { consented: false, answers: [] };

  /** Take in what other tabs, or an earlier sitting, have kept: the first answer to an item stands. */
  function read() {
    try {
      const found = JSON.parse(window.localStorage.getItem(key) ?? "null");
      kept.consented ||= found?.consented === true;
      const own = new Set(bundle.items.map((one) => one.id));
      /** @type {StudyAnswer[]} */
      const before = Array.isArray(found?.answers) ? found.answers.filter((/** @type {any} */ one) => own.has(one?.item)) : [];
      const known = new Set(before.map((one) => one.item));
      kept.answers = [...before, ...kept.answers.filter((one) => !known.has(one.item))];
    } catch {
      // No storage, or what is there is damaged: what this page has goes on, and must be done in one go.
    }
  }

  function keep() {
    try {
      window.localStorage.setItem(key, JSON.stringify(kept));
    } catch {
      // As above; the answers are still in this page.
    }
  }

  /** @returns {StudyState} */
  function state() {
    const answered = new Set(kept.answers.map((one) => one.item));
    const waiting = bundle.items.filter((one) => !answered.has(one.id));
    return {
      consented: kept.consented,
      done: bundle.items.length - waiting.length,
      total: bundle.items.length,
      item: kept.consented ? (waiting[0] ?? null) : null,
      ahead: [],
      code: null,
    };
  }

  window.studyLocal = {
    state: async () => {
      read();
      return state();
    },
    consent: async () => {
      read();
      kept.consented = true;
      keep();
      return state();
    },
    vote: async (answer) => {
      read();
      const stored = !kept.answers.some((one) => one.item === answer.item);
      if (stored) kept.answers.push(answer);
      keep();
      return { stored, state: state() };
    },
    picture: (handle) => bundle.pictures[handle],
    save: () => {
      read();
      const { study, rater } = bundle;
      const text = JSON.stringify({ bench_study: 1, study, rater, answers: kept.answers }, null, 1);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
      link.download = `answers-${rater}.json`;
      link.click();
      window.setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    },
  };
})();

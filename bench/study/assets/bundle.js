// @ts-check
// A study without a server: what the page asks of a server is answered from the data in this file, and answers are kept
// in the browser until the rater saves them as a file.
"use strict";

(() => {
  /** @type {StudyBundle} */
  const bundle = JSON.parse(document.getElementById("bundle")?.textContent ?? "{}");
  const key = `bench-study/${bundle.study}/${bundle.rater}`;

  /** @type {{consented: boolean, answers: StudyAnswer[]}} */
  let kept = { consented: false, answers: [] };
  try {
    const text = window.localStorage.getItem(key);
    if (text) kept = JSON.parse(text);
  } catch {
    // No storage, or what is there is damaged: this sitting begins anew, and must be done in one go.
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
    state: async () => state(),
    consent: async () => {
      kept.consented = true;
      keep();
      return state();
    },
    vote: async (answer) => {
      const stored = !kept.answers.some((one) => one.item === answer.item);
      if (stored) kept.answers.push(answer);
      keep();
      return { stored, state: state() };
    },
    picture: (handle) => bundle.pictures[handle],
    save: () => {
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

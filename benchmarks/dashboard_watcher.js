// Runs in the page before anything else and notes what benchmarks/dashboard.py asks for.

const watched = {
  tasks: [], // of 50 ms and more
  redraws: [], // ms from the start of the drawing, or of a frame's work, to after it was painted
  front: undefined, // ms after the navigation began until the front is drawn
  forget() {
    watched.tasks.length = watched.redraws.length = 0;
  },
  opening() {
    const [navigation] = performance.getEntriesByType("navigation");
    const paint = performance.getEntriesByName("first-contentful-paint")[0];
    return {
      answered_ms: navigation.responseEnd,
      first_paint_ms: paint.startTime,
      front_ms: watched.front,
      tasks: watched.tasks,
    };
  },
};

new PerformanceObserver((list) => {
  for (const each of list.getEntries()) watched.tasks.push({ at: each.startTime, ms: each.duration });
}).observe({ type: "longtask", buffered: true });

const usual = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = (act) =>
  usual((now) => {
    // Where the page said so, it was drawn before the frame in which it is shown.
    const start = performance.getEntriesByName("redraw", "mark")[0]?.startTime ?? performance.now();
    act(now);
    const painted = new MessageChannel();
    painted.port1.onmessage = () => watched.redraws.push(performance.now() - start);
    painted.port2.postMessage(undefined);
  });

new MutationObserver((_, observer) => {
  if (!document.querySelector("#front svg")) return;
  usual(() => setTimeout(() => (watched.front = performance.now())));
  observer.disconnect();
}).observe(document, { childList: true, subtree: true });

window.watched = watched;

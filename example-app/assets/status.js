// Fills the footer's line with how this page was answered. A stored page cannot contain it,
// so it travels in the Server-Timing header; where a browser does not show that, we are silent.
addEventListener("load", () => {
  const line = document.getElementById("answered");
  const [navigation] = performance.getEntriesByType("navigation");
  const metrics = new Map((navigation?.serverTiming ?? []).map((metric) => [metric.name, metric]));
  const total = metrics.get("total");
  if (!line || !total) return;

  const cache = metrics.get("cache")?.description;
  const age = metrics.get("age");
  const who = {
    undefined: "the handler",
    hit: age ? `the cache, stored ${ago(age.duration / 1000)}` : "the cache",
    shared: "the handler, together with another request",
    miss: "the handler, the cache had nothing",
  }[cache] ?? `the handler (${cache})`;
  line.textContent = `answered by: ${who}, in ${total.duration} ms`;
  line.dataset.hit = String(cache === "hit");
  line.hidden = false;
});

function ago(seconds) {
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (seconds >= length) {
      const count = Math.floor(seconds / length);
      return `${count} ${unit}${count === 1 ? "" : "s"} ago`;
    }
  }
  return `${Math.round(seconds)} s ago`;
}

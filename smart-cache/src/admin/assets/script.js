// Makes the numbers of the overview move. Everything else works without it.
"use strict";

const live = document.querySelector("[data-live]");

// Changes what differs and nothing else, so that focus, selection and scrolling stay.
function update(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const [were, are] = [[...old.childNodes], [...fresh.childNodes]];
  are.forEach((node, at) => (at < were.length ? update(were[at], node) : old.append(node)));
  were.slice(are.length).forEach((node) => node.remove());
}

if (live) {
  let source;
  const listen = () => {
    source = new EventSource(live.dataset.live);
    source.addEventListener("live", (event) => {
      const fresh = live.cloneNode(false);
      // The server has escaped everything; nothing in it is executed under this page's policy.
      fresh.innerHTML = event.data;
      update(live, fresh);
      live.dataset.moves = Number(live.dataset.moves ?? 0) + 1;
    });
  };
  // A page that nobody sees asks for nothing.
  document.addEventListener("visibilitychange", () => {
    source?.close();
    if (!document.hidden) listen();
  });
  listen();
}

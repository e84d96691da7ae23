// Says which protocol brought this page, from what the browser itself measured (Navigation Timing, Level 2).

const NAMES = { "velocity/1": "Velocity/1", h3: "HTTP/3", h2: "HTTP/2", "http/1.1": "HTTP/1.1" };
const EXPLANATIONS = {
  h3: "QUIC all the way: one handshake for transport and TLS, and no packet waits for another stream’s.",
  h2: "TLS over TCP. The answer named HTTP/3 in Alt-Svc: reload, and your browser may move there.",
  "http/1.1": "The oldest of the four. Your client, or something between us, speaks nothing newer.",
};

const milliseconds = (from, to) => `${Math.max(0, to - from).toFixed(1)} ms`;

function show(id, text) {
  const element = document.getElementById(id);
  if (element) element.textContent = text;
}

function report() {
  const page = performance.getEntriesByType("navigation")[0];
  const alpn = page?.nextHopProtocol;
  if (alpn) {
    document.documentElement.dataset.protocol = alpn;
    show("protocol", NAMES[alpn] ?? alpn);
    show("explanation", EXPLANATIONS[alpn] ?? "");
    show("alpn", alpn);
    show("connection", page.connectEnd > page.connectStart ? milliseconds(page.connectStart, page.connectEnd) : "reused");
    show("first-byte", milliseconds(page.requestStart, page.responseStart));
    show("size", `${page.transferSize.toLocaleString()} bytes`);
    document.getElementById("facts")?.removeAttribute("hidden");
    document.querySelector(`[data-alpn="${alpn}"]`)?.classList.add("current");
  }
  for (const element of document.querySelectorAll("[data-origin]")) element.textContent = location.origin;
  for (const element of document.querySelectorAll("[data-host]")) element.textContent = location.host;
}

// After load, so that the sizes and times are final.
addEventListener("load", () => setTimeout(report));

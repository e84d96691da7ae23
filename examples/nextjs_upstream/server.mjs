// What a Next.js server looks like from outside, in one file without dependencies: pages that are rendered on the
// server and sent as they are rendered, chunks whose names are hashes of their content, an API, and draft mode.
//
//   PORT=3000 node server.mjs
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const script = 'document.querySelector("#hydrated").textContent = "hydrated";\n';
const chunk = `/_next/static/chunks/main-${createHash("sha256").update(script).digest("hex").slice(0, 16)}.js`;
let rendered = 0;

const escaped = text => text.replace(/[&<>"']/g, found => `&#${found.charCodeAt(0)};`);

// A page is a shell at once, and the rest when it is known.
async function page(request, response) {
  const draft = request.headers.cookie?.includes("__prerender_bypass=");
  response.writeHead(200, {
    "content-type": "text/html; charset=utf-8",
    "cache-control": draft ? "private, no-store" : "s-maxage=60, stale-while-revalidate=600",
    "x-powered-by": "Next.js",
    vary: "rsc, next-router-state-tree",
  });
  const seen = `${request.headers["x-forwarded-proto"]}://${request.headers["x-forwarded-host"]}`;
  response.write(`<!doctype html><html lang="en"><title>Rendered</title><link rel="icon" href="data:,">
<script src="${chunk}" defer></script><h1>Rendered ${++rendered}</h1><p>Loading…</p>`);
  await sleep(200);
  response.end(`<p id="seen">${escaped(seen)}${draft ? " (draft)" : ""}</p><p id="hydrated"></p></html>\n`);
}

async function api(request, response) {
  let length = 0;
  for await (const piece of request) length += piece.length;
  response.writeHead(200, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(JSON.stringify({ method: request.method, length, rendered }));
}

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://next");
  if (pathname === chunk) {
    response.writeHead(200, {
      "content-type": "application/javascript; charset=UTF-8",
      "cache-control": "public, max-age=31536000, immutable",
      etag: `"${chunk.slice(-19, -3)}"`,
    });
    response.end(script);
  } else if (pathname === "/") await page(request, response);
  else if (pathname.startsWith("/api/")) await api(request, response);
  else response.writeHead(404, { "content-type": "text/plain" }).end("This page could not be found.\n");
});
server.listen(Number(process.env.PORT ?? 3000), "127.0.0.1", () => console.log(server.address().port));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => server.close(() => process.exit(0)));

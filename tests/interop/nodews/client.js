// A client of `ws`, told on stdin what to do with the URL of its first argument: one line of JSON for each WebSocket, and
// one line back of what came of it. The second argument is a file with the certificate to trust.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { WebSocket } from "ws";

const [, , url, trusted] = process.argv;
const ca = readFileSync(trusted);
const noise = length => Buffer.from(Array.from({ length }, (_, at) => (at * 7 + (at >> 8)) & 255));

function talk({ path, protocols = [], options = {}, send = [], until = send.length, close }) {
  return new Promise(resolve => {
    const socket = new WebSocket(`${url}${path}`, protocols, { ca, ...options });
    const heard = { messages: [], pongs: [] };
    socket.on("unexpected-response", (_, response) => resolve({ ...heard, status: response.statusCode }));
    socket.on("error", error => { heard.error = error.message; });
    socket.on("pong", data => heard.pongs.push(data.toString()));
    socket.on("open", () => {
      Object.assign(heard, { protocol: socket.protocol, extensions: socket.extensions });
      for (const one of send) {
        if (one.text !== undefined) socket.send(one.text);
        if (one.bytes !== undefined) socket.send(noise(one.bytes));
        if (one.ping !== undefined) socket.ping(one.ping);
        // One message in several frames, and a ping between them (RFC 6455 section 5.4).
        (one.pieces ?? []).forEach((piece, at) => {
          socket.send(piece, { fin: at === one.pieces.length - 1 });
          if (at === 0) socket.ping("between");
        });
      }
    });
    socket.on("message", (data, binary) => {
      const isNoise = binary && data.equals(noise(data.length));
      heard.messages.push(binary ? { bytes: isNoise ? data.length : -1 } : { text: data.length > 99 ? data.length : `${data}` });
      if (heard.messages.length === until && close) socket.close(...close);
    });
    socket.on("close", (code, reason) => resolve({ ...heard, code, reason: reason.toString() }));
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await talk(JSON.parse(line))));
}
process.exit(0);

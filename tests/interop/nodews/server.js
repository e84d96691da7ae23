// WebSockets by `ws`: what comes is sent back; "close" is answered with a close frame, "burst" with a thousand messages.
import { WebSocketServer } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
server.on("listening", () => console.log(server.address().port));
server.on("connection", (socket, request) => {
  socket.send(JSON.stringify({ path: request.url, for: request.headers["x-forwarded-for"] }));
  socket.on("message", (data, binary) => {
    const text = binary ? "" : data.toString();
    if (text === "close") socket.close(4001, "as you wish");
    else if (text === "burst") for (let n = 0; n < 1000; n++) socket.send(`${n}`);
    else socket.send(data, { binary });
  });
});
process.stdin.on("end", () => process.exit(0)).resume();

/* rplx 1.0.0, MIT licence. Built from src/ by build.mjs. */

// src/transports/stream.js
function markBlock(mark, names) {
  const cursors = /* @__PURE__ */ Object.create(null);
  const ids = /* @__PURE__ */ Object.create(null);
  for (const item of mark.split(",")) {
    const [cursor, name] = item.split(":");
    cursors[name] = cursor;
  }
  for (const name of names) ids[name] = cursors[name] ?? cursors["*"];
  return { ids, isMark: true };
}

// src/transports/websocket.js
var left = /* @__PURE__ */ new WeakMap();
function endOf(code, reason) {
  const { text, retry: retryAfter } = /^{/.test(reason) ? JSON.parse(reason) : {};
  if (!(code >= 4e3 && code < 4200)) return { status: 0, text: "The WebSocket ended", retryAfter };
  const status = (code < 4100 ? 400 : 500) + code % 100;
  return { status, text: `HTTP ${status}: ${text}`, retryAfter };
}
function answerOf({ open, gap, gaps = gap, at, ids, data, refused, expires }, names) {
  const blocks = at ? [markBlock(at, names)] : ids ? [{ ids, data }] : [];
  return { blocks, position: open, gaps, refused, expires, asks: !!open, more: true };
}
var websocket = (options, { cursors, grant }) => ({
  tail: "&client=" + options.client,
  ask({ url, body }, accepted, give) {
    const names = Object.keys(cursors);
    const before = left.get(options);
    const socket = before ? before.socket : new WebSocket(url.replace(/^http/, "ws"), "rplx.1");
    let isOpen = false;
    const listen = () => socket.send(JSON.stringify({ stop: before ? before.names.filter((name) => !(name in cursors)) : [], listen: cursors, grant }));
    left.delete(options);
    if (before) listen();
    socket.onopen = () => {
      accepted();
      if (body) listen();
    };
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      isOpen ||= !!frame.open;
      if (isOpen) give(answerOf(frame, names));
    };
    socket.onclose = ({ code, reason }) => {
      left.delete(options);
      give(endOf(code, reason));
    };
    return () => {
      if (isOpen) left.set(options, { socket, names });
      Promise.resolve().then(() => {
        if (isOpen && left.get(options)?.socket !== socket) return;
        left.delete(options);
        socket.close();
      });
    };
  }
});
export {
  websocket
};

/**
 * WebSockets (protocol page, part 11). A request that follows another one at once goes on over the same socket: the server is told which
 * channels to stop and, for all others, from where to go on.
 *
 * The build makes this a part of its own, for pages that ask for it.
 */
import { markBlock } from './stream.js';

/** The open sockets that a request has just left, {socket, names}, by their clients' options. */
const left = new WeakMap();

/** Returns what a close tells, as an answer without blocks. The last two digits of its code are those of a status. */
function endOf(code, reason) {
  const { text, retry: retryAfter } = /^{/.test(reason) ? JSON.parse(reason) : {};
  if (!(code >= 4000 && code < 4200)) return { status: 0, text: 'The WebSocket ended', retryAfter };
  const status = (code < 4100 ? 400 : 500) + (code % 100);
  return { status, text: `HTTP ${status}: ${text}`, retryAfter };
}

/** Returns the answer that a frame is. One that is unknown moves nothing. */
function answerOf({ open, gap, gaps = gap, at, ids, data, refused, expires }, names) {
  const blocks = at ? [markBlock(at, names)] : ids ? [{ ids, data }] : [];
  return { blocks, position: open, gaps, refused, expires, asks: !!open, more: true };
}

/** Returns the transport of one request, as transports/stream.js does. */
export const websocket = (options, { cursors, grant }) => ({
  tail: '&client=' + options.client,
  ask({ url, body }, accepted, give) {
    const names = Object.keys(cursors);
    const before = left.get(options);
    const socket = before ? before.socket : new WebSocket(url.replace(/^http/, 'ws'), 'rplx.1');
    let isOpen = false;
    const listen = () => socket.send(JSON.stringify({ stop: before ? before.names.filter((name) => !(name in cursors)) : [], listen: cursors, grant }));
    left.delete(options);
    if (before) listen();
    socket.onopen = () => {
      accepted();
      if (body) listen(); // else the address has said so
    };
    socket.onmessage = ({ data }) => {
      const frame = JSON.parse(data);
      isOpen ||= !!frame.open; // what comes before it belongs to the request before, and comes again
      if (isOpen) give(answerOf(frame, names));
    };
    socket.onclose = ({ code, reason }) => {
      left.delete(options);
      give(endOf(code, reason));
    };
    return () => {
      if (isOpen) left.set(options, { socket, names });
      Promise.resolve().then(() => {
        if (isOpen && left.get(options)?.socket !== socket) return; // the next request has it
        left.delete(options);
        socket.close();
      });
    };
  },
});

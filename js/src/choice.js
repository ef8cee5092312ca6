/**
 * Which transport a client takes: the first of the page's list that works. A poll works everywhere.
 *
 * A transport does not fit where it brings no first event in time, as behind a proxy that holds bytes back, where it is answered as a poll
 * is, by a server that does not know it, or where it ends at once, three times. After a failure the next request is a poll that asks for the
 * position. Only where that is answered was the transport at fault, and is left out for ten minutes, also by the next page of the session.
 */
import { QUICK } from './pace.js';
import { stream } from './transports/stream.js';
import { world } from './world.js';

/** How often in a row a transport may end at once. */
const ENDS_MAX = 3;
/** Milliseconds until a transport that did not fit is tried again. */
const AGAIN_AFTER = 600_000;
/** Seconds within which the first event has to come, the last of them once the page has had time to see it. */
const OPEN_PATIENCE = 2.7;
const LAST_LOOK = 0.3;
/** Seconds without an event after which a stream is given up: more than two of the server's heartbeats. */
const SILENCE = 60;

/** What of the browser's each transport needs. */
const NEEDS = { stream: 'ReadableStream', websocket: 'WebSocket' };
const KNOWN = { stream };
let load;

/** Has WebSockets loaded by `how(options, callback)`, which calls back with the transport if it comes. */
export function loadBy(how) {
  load = how;
}

/** Returns a function as `poll` (transports/poll.js), by the transport of its choice. */
export function choosing(options, poll) {
  const left = {}; // until when transports that did not fit are left out
  let last; // the name of the last that failed
  let ends = 0; // its failures in a row
  let isUnsure = false; // the last request failed

  /** Returns until when that transport is left out; with a `time` until then. */
  function until(name, time) {
    const key = `rplx ${name} ${options.url}`;
    if (time) left[key] = time;
    try {
      if (time) world.sessionStorage[key] = time;
      return left[key] || world.sessionStorage[key];
    } catch {
      return left[key]; // there is no storage, or none for this page
    }
  }

  /** Takes note of what has become of a request by the transport `by`, undefined for a poll. */
  function note({ blocks, position, status, waited, by, more, isHeld }) {
    if (blocks) {
      isUnsure = false;
      if (more) return;
      if (position === null) options.transports = [];
      if (by || ends >= ENDS_MAX) {
        ends = 0;
        until(by || last, Date.now() + AGAIN_AFTER);
      }
    } else {
      isUnsure = !(waited > QUICK);
      last = by;
      ends = isHeld ? ENDS_MAX : by && isUnsure && status !== 503 && status !== 401 ? ends + 1 : 0;
    }
  }

  return (_, request, hooks) => {
    const name = isUnsure || options.transports.find((name) => name === 'poll' || (world[NEEDS[name]] && !(Date.now() < until(name))));
    const isOther = NEEDS[name];
    let timer;
    let isOver = false;
    let end = () => {};
    const after = (seconds, action) => {
      clearTimeout(timer);
      timer = setTimeout(action, seconds * 1000);
    };
    const done = (response) => {
      clearTimeout(timer);
      if (response.more) after(SILENCE, silent);
      response.by = isOther && name;
      note(response);
      hooks.done(response);
    };
    const silent = () => {
      isUnsure = true;
      hooks.silent(SILENCE);
    };
    const held = () => {
      stop();
      done({ status: 0, text: 'No answer has come', isHeld: true });
    };
    const begin = () => {
      const by = isOther && KNOWN[name](options, request, () => clearTimeout(timer));
      end = poll(options, by ? { ...request, asks: true } : request, { ...hooks, done }, by);
    };
    const stop = () => {
      isOver = true;
      clearTimeout(timer);
      end();
    };
    if (isOther && !KNOWN[name]) {
      load(options, (transport) => {
        KNOWN[name] = transport;
        if (!isOver) begin();
      });
    } else {
      begin();
    }
    // A page that was busy may find a timer that is due before the bytes that have come.
    if (isOther) after(OPEN_PATIENCE, () => after(LAST_LOOK, held));
    return stop;
  };
}

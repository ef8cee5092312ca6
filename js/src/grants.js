/**
 * Grants: signed texts that say which channels a page may hear (protocol page, part 12).
 *
 * The page gives one, or a function that returns one, which is asked again 10 to 25 s before its end, at random, so that not all pages ask at
 * once. It is asked by the tab that leads alone. Requests wait for it. If the server does not take a grant, one more is asked for; if that is not
 * taken either, or there is none any more, the client stops.
 */
import { QUICK } from './pace.js';

/** Seconds before the end of a grant in which another one is asked for. */
const AHEAD_MIN = 10;
const AHEAD_MORE = 15;
/** Milliseconds: until a grant is asked for again that could not be had while the present one counts, and within which it has to come. */
const AGAIN_AFTER = 5000;
const PATIENCE = 10_000;
const UNAUTHORIZED = 401;
const FORM = /^[\w-]+\.[\w-]+\.[\w-]+$/;

const errorOf = (text, status) => Object.assign(new Error(text), { status });

/** Returns what a page's function gave: a text, or the Response of a fetch. Throws where there is none now, with status 401 where there is none any more. */
async function textOf(given) {
  const isResponse = given && typeof given.text === 'function';
  if (isResponse && !given.ok && (given.status > 499 || given.status === 429)) throw errorOf(`No grant: HTTP ${given.status}`);
  const text = String((isResponse ? given.ok && (await given.text()) : given) || '').trim();
  if (!FORM.test(text)) throw errorOf('There is no grant', UNAUTHORIZED);
  return text;
}

/** Returns the seconds for which a grant counts that has just been made, NaN if it does not say so. */
function lifetimeOf(token) {
  try {
    const { exp, iat } = JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')));
    return exp - iat;
  } catch {
    return NaN;
  }
}

/** Returns a function as `poll` (transports/poll.js) whose requests bring a grant, if the page has given one. */
export function granting({ grant }, poll) {
  if (!grant) return poll;
  const canAsk = typeof grant === 'function';
  let token; // the present grant
  let ends; // when it does
  let timer;
  let asking = null; // while another one is asked for
  let running = null; // the request that runs: goes over to the present grant

  function endsIn(seconds) {
    ends = Date.now() + seconds * 1000;
    if (canAsk) wait((seconds - Math.min(seconds / 2, AHEAD_MIN + Math.random() * AHEAD_MORE)) * 1000);
  }

  function wait(delay) {
    clearTimeout(timer);
    timer = setTimeout(renew, delay);
    timer.unref?.();
  }

  /** Asks for a grant, unless that is being done. */
  function ask() {
    const late = new Promise((_, reject) => setTimeout(() => reject(errorOf('No grant has come')), PATIENCE));
    asking ||= Promise.race([Promise.resolve().then(canAsk ? grant : () => grant), late])
      .then(textOf)
      .then((text) => {
        token = text;
        ends = Infinity;
        const seconds = lifetimeOf(text);
        if (seconds > 0) endsIn(seconds);
      })
      .finally(() => (asking = null));
    return asking;
  }

  /** Asks for the next grant before the end of the present one. Without a request nobody needs it. */
  function renew() {
    if (!running) ends = 0;
    else ask().then(() => running?.(), ({ status }) => status || Date.now() >= ends || wait(AGAIN_AFTER));
  }

  return (options, request, hooks) => {
    let end = () => {};
    let isOver = false;
    let goesOn = false;
    let isSecond = false;
    let used;

    const begin = () => {
      if (isOver) return;
      used = token;
      goesOn = false;
      end = poll(options, { ...request, grant: token }, { ...hooks, done });
    };
    const give = (response) => {
      if (isOver) return;
      if (!response.more) leave();
      hooks.done(response);
    };
    const fail = ({ message: text, status = 0 }) => give({ status, text, asks: request.asks });
    const done = (response) => {
      const { status, expires, blocks, more } = response;
      if (expires) endsIn(+expires);
      if (status === UNAUTHORIZED) {
        ends = 0;
        if (canAsk && !isSecond) {
          isSecond = true;
          return ask().then(begin, fail);
        }
      }
      goesOn = more;
      // What ends with its grant has waited as long as it could.
      if (blocks && !more && used !== token) response.waited = QUICK;
      give(response);
    };
    const next = () => {
      if (!goesOn || used === token) return;
      end();
      begin();
    };
    const leave = () => {
      isOver = true;
      if (running === next) running = null;
    };

    running = next;
    if (token && Date.now() < ends) begin();
    else ask().then(begin, fail);
    return () => {
      leave();
      end();
    };
  };
}

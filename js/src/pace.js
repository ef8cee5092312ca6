/**
 * How long a client waits: for an answer, and until its next request. What the path and the server allow is learned from what becomes
 * of the requests.
 */
import { isHidden } from './world.js';

/** Seconds that a poll may stay silent past the time that it may wait before its connection counts as dead. */
const SILENCE_MARGIN = 10;
/** Milliseconds: what ends sooner was no wait. */
export const QUICK = 5000;
/** How many cuts in a row show what the path allows, and milliseconds until it is tried whether it allows more. */
const CUTS_TO_LEARN = 3;
const LEARNED_FOR = 3_600_000;
/** Milliseconds: the most that a client waits between two polls, and between two tries of a server that is away. */
const DELAY_MAX = 60_000;
const RETRY_MAX = 1000;
/** Milliseconds: a shorter pause is none in a hidden page, where browsers run timers once a second. */
const SHORT = 100;
/** Milliseconds: the most that a server may have a client wait by Retry-After. */
const RETRY_AFTER_MAX = 300_000;

/** Returns the pace of one client. */
export function paceOf(options) {
  let bounces = 0; // early answers without a message, and failures, in a row
  let cuts = 0; // polls in a row that waited and were cut
  let learned; // seconds that polls ask for on this path, until the time `relearns`
  let relearns = 0;
  let notBefore = 0; // when the server's Retry-After is over

  /** Returns the seconds after which polls ask the server to end them; 0: they leave it to the server. */
  const timeout = () => (Date.now() < relearns ? Math.min(options.timeout || Infinity, learned) : options.timeout);

  /** Returns the seconds that a poll may wait. A server that gives no position, `isOld`, knows no `timeout` either. */
  const mayWait = (isOld) => Math.min((!isOld && timeout()) || Infinity, options.waitTimeout || Infinity);

  /** Returns milliseconds until the next poll: `usual`, or past the bounces allowed 1 s + k² / 2 s. Jitter only shortens it. */
  const delay = (usual) => {
    const k = bounces - options.maxBounces + 2;
    return (k > 2 ? Math.min(DELAY_MAX, 1000 + 500 * k * k) : usual) * (0.75 + Math.random() / 4);
  };

  return {
    timeout,

    /** Returns the milliseconds of silence after which a poll is given up. */
    patience: (asks, isOld) => ((asks ? 0 : mayWait(isOld)) + SILENCE_MARGIN) * 1000,

    /** Takes note of an answer. One that is empty and came too soon for a poll that waited is a bounce. */
    answered({ blocks, asks, waited, more }, isOld) {
      const isBounce = !blocks.length && (more || waited < Math.min(QUICK, mayWait(isOld) * 500));
      if (!asks) cuts = 0;
      if (!isBounce) bounces = 0;
      else if (!asks && !more) bounces++;
    },

    /** Takes note of a failure after `waited` milliseconds. */
    failed(waited) {
      if (!(waited >= QUICK)) bounces++;
    },

    /** Takes note that a request which waited was cut. A path that cuts is asked for less, unless it said when to come back. */
    cut(waited, after) {
      bounces = 0;
      if (after || ++cuts % CUTS_TO_LEARN) return;
      learned = Math.floor(waited / 2000);
      relearns = Date.now() + LEARNED_FOR;
    },

    /** Takes note that all may be different now. The network may be another one. */
    renew() {
      bounces = relearns = 0;
    },

    /** Whether so much has failed in a row that it needs no further proof. */
    isBad: () => bounces >= options.maxBounces,

    /** Takes note of the server's Retry-After, in seconds, and returns it in milliseconds. */
    holdFor(seconds) {
      const after = Math.min(RETRY_AFTER_MAX, (seconds || 0) * 1000);
      notBefore = Date.now() + after;
      return after;
    },

    /** Whether the server is still to be spared, by its Retry-After. */
    isHeld: () => Date.now() < notBefore,

    /** Returns milliseconds until a server is tried again that refuses or is away: longer each time. With `isGone` the longest. */
    retryDelay: (isGone) => delay(Math.min(RETRY_MAX, isGone ? RETRY_MAX : options.reconnectDelay * 1000 * 2 ** Math.min(bounces, 20))),

    /** Returns milliseconds between an answer and the next poll. */
    pause() {
      const pause = delay(options.reconnectDelay * 1000);
      return pause < SHORT && isHidden() ? 0 : pause;
    },
  };
}

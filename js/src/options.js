/** The options of a client, with their defaults and checks, and the address of the server. */

import { world } from './world.js';

/** A server that serves this file puts its options in place of the dollar names. Elsewhere the default holds. */
const served = (text, otherwise) => (/^(\$|undefined-)/.test(text) ? otherwise : text);

const SERVED_PATH = CLASSIC ? served('$JS_WAIT_URI', '/') : '/';
const DEFAULTS = {
  namespace: '',
  login: '',
  identifier: CLASSIC ? served('$IDENTIFIER', 'identifier') : 'identifier',
  timeout: 25,
  waitTimeout: CLASSIC ? +served('$WAIT_TIMEOUT', 300) : 300,
  reconnectDelay: CLASSIC ? +served('$JS_WAIT_RECONNECT_DELAY', 0.01) : 0.01,
  maxBounces: CLASSIC ? +served('$JS_MAX_BOUNCES', 10) : 10,
  debug: !!(CLASSIC && +served('$JS_DEBUG', 0)),
  credentials: 'same-origin',
  shared: null, // by the class
  transports: null, // by the class
  grant: null,
};
const NAMES = Object.keys(DEFAULTS);
const FORMS = {
  identifier: /^\w[\w.-]*$/,
  credentials: /^(omit|same-origin|include)$/,
  transports: /^((poll|stream|websocket)(,|$))+$/,
  grant: /^[\w-]+\.[\w-]+\.[\w-]+$|^function$/,
};

/** Whether `value` is text, or a number, of that form. What String() makes of undefined, null or NaN is nobody's name. */
export function has(form, value) {
  return (typeof value === 'number' ? isFinite(value) : /^(string|bigint)$/.test(typeof value)) && form.test(String(value));
}

function option(name, value) {
  const usual = DEFAULTS[name];
  if (NAMES.indexOf(name) < 0) {
    throw new TypeError(`Unknown option "${name}"; there are ${NAMES.join(', ')}`);
  }
  if (value == null) return usual;
  const isOdd = typeof usual === 'number' ? !(typeof value === 'number' && value >= 0) : FORMS[name] && !has(FORMS[name], Array.isArray(value) ? value.join() : typeof value === 'function' ? 'function' : value);
  if (isOdd) throw new TypeError(`Option "${name}" cannot be "${value}"`);
  return value;
}

/**
 * Returns all options, those that are `given` checked, and a name for the `client` that nobody else can guess, by which the server
 * knows whose older poll to end (protocol page, part 9.9). Throws TypeError for an option that is unknown or cannot be.
 */
export function optionsFrom(given) {
  const options = { client: [].join.call(world.crypto?.getRandomValues(new Uint32Array(4)) || [], '') };
  for (const name of NAMES) options[name] = DEFAULTS[name];
  for (const name of Object.keys(given)) options[name] = option(name, given[name]);
  return options;
}

function resolved(address, base) {
  if (!CLASSIC || typeof URL === 'function') return new URL(address, base).href;
  if (base && /^\/(?!\/)/.test(address)) return /^\w+:\/\/[^/]*/.exec(base)[0] + address;
  const link = document.createElement('a');
  link.href = address;
  return link.href;
}

/** Returns the WAIT line's address, absolute and without a fragment. Throws TypeError for one that cannot be polled. */
export function addressOf(fullUrl) {
  const given = fullUrl || SERVED_PATH;
  let url;
  try {
    url = resolved(given, world.location && world.location.href);
    if (CLASSIC && SERVED_PATH !== '/') url = resolved(SERVED_PATH, url);
  } catch {
    // It is relative, and no page completes it.
  }
  if (!/^https?:\/\/[^/@]+(\/|$)/.test(url)) throw new TypeError(`Address must be http://HOST/ or https://HOST/, "${given}" given`);
  return url.replace(/#.*/, '');
}

/** Writes to the console what a client does, if its options say so. */
export function log({ debug }, what, detail) {
  if (debug) console.log('Realplexor:', what, detail);
}

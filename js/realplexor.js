/**
 * Browser client of a Realplexor server: long polling by fetch, also across origins.
 *
 *   const realplexor = new Realplexor('https://rpl.example.com/', { namespace: 'shop_' });
 *   realplexor.subscribe('cart', (data, id, cursor) => { ... });
 *   await realplexor.ready;      // what is sent from now on will arrive
 *
 * This file is the ES module. The build makes the classic script from it, in the syntax of ES5, which defines the
 * globals Realplexor and Dklab_Realplexor. Old browsers run that script, so nothing here but `ready` takes more of them than
 * ES5 has: arrays and plain objects instead of Map and Set, no promise but fetch's own, and XMLHttpRequest without fetch.
 */

/** Seconds that a poll may stay silent past the server's own timeout before its connection counts as dead. */
const SILENCE_MARGIN = 5;
/** Milliseconds within which a server answers a poll that only asks for its position. */
const POSITION_TIMEOUT = 10_000;
/** Characters from which on the list of channels travels in a POST body: proxies cut longer addresses. */
const POST_FROM = 1700;
/** Milliseconds: the most that a client waits between two polls, and between two tries of a server that is away. */
const DELAY_MAX = 60_000;
const RETRY_MAX = 1000;
/** Milliseconds: the longest that a browser's timer can wait. */
const TIMER_MAX = 2 ** 31 - 1;
/** Seconds for a wait.timeout of none, where half of it tells what is early. */
const WAIT_ANY = 300;
/** Milliseconds between two looks at the clock, and the leaps of it that mean sleep: hidden pages get slow timers. */
const TICK = 5000;
const LEAP_VISIBLE = 35_000;
const LEAP_HIDDEN = 120_000;

const CLOSED = 'Realplexor is closed';
const ID = /^\w+$/;
const NAME = /^\w*$/;
const CURSOR = /^\d+(\.\d+)?$/;
const EVENTS = ['connected', 'disconnected', 'gap', 'error', 'message'];

const world = typeof globalThis === 'undefined' ? window : globalThis;

/** A server that serves this file puts its options in place of the dollar names; elsewhere the default holds. */
const served = (text, otherwise) => (/^(\$|undefined-)/.test(text) ? otherwise : text);

const SERVED_PATH = served('$JS_WAIT_URI', '/');
const DEFAULTS = {
  namespace: '',
  login: '',
  identifier: served('$IDENTIFIER', 'identifier'),
  waitTimeout: +served('$WAIT_TIMEOUT', 300),
  reconnectDelay: +served('$JS_WAIT_RECONNECT_DELAY', 0.01),
  maxBounces: +served('$JS_MAX_BOUNCES', 10),
  debug: !!+served('$JS_DEBUG', 0),
  credentials: 'same-origin',
};
const FORMS = { identifier: /^\w[\w.-]*$/, credentials: /^(omit|same-origin|include)$/ };

/** Negative, 0 or positive as cursor a is below, at or above b. Exact: a float would merge cursors that differ. */
export function compareCursors(a, b) {
  const [wholeA, partA = ''] = a.replace(/^0+(?=\d)/, '').split('.');
  const [wholeB, partB = ''] = b.replace(/^0+(?=\d)/, '').split('.');
  const byLength = wholeA.length - wholeB.length;
  if (byLength) return byLength;
  const [x, y] = [`${wholeA}.${partA.replace(/0+$/, '')}`, `${wholeB}.${partB.replace(/0+$/, '')}`];
  return x < y ? -1 : x > y ? 1 : 0;
}

/** Whether this is text, or a number, of that form: what String() makes of undefined, null or NaN is nobody's name. */
function has(form, value) {
  return (typeof value === 'number' ? isFinite(value) : /^(string|bigint)$/.test(typeof value)) && form.test(String(value));
}

function option(name, value) {
  const usual = DEFAULTS[name];
  if (Object.keys(DEFAULTS).indexOf(name) < 0) {
    throw new TypeError(`Unknown option "${name}"; there are ${Object.keys(DEFAULTS).join(', ')}`);
  }
  if (value == null) return usual;
  const isOdd = typeof usual === 'number' ? !(typeof value === 'number' && value >= 0) : FORMS[name] && !has(FORMS[name], value);
  if (isOdd) throw new TypeError(`Option "${name}" cannot be "${value}"`);
  return value;
}

function resolved(address, base) {
  if (typeof URL === 'function') return new URL(address, base).href;
  if (base && /^\/(?!\/)/.test(address)) return /^\w+:\/\/[^/]*/.exec(base)[0] + address;
  const link = document.createElement('a');
  link.href = address;
  return link.href;
}

/** The WAIT line's address, without a fragment. */
function addressOf(fullUrl) {
  const page = world.location && world.location.href;
  let url;
  try {
    url = resolved(fullUrl || SERVED_PATH, page);
    if (SERVED_PATH !== '/') url = resolved(SERVED_PATH, url);
  } catch {
    throw new TypeError(`Address must be absolute where no page completes it, "${fullUrl || SERVED_PATH}" given`);
  }
  if (!/^https?:\/\/[^/@]+(\/|$)/.test(url)) throw new TypeError(`Address must be http://HOST/ or https://HOST/, "${fullUrl}" given`);
  return url.replace(/#.*/, '');
}

/**
 * Asks by fetch or, where there is none, by XMLHttpRequest. `done` gets {status, statusText, text, header(name)}, `failed` an
 * Error. Gives a function that ends the request; neither is called then.
 */
function ask(url, body, credentials, done, failed) {
  const method = body ? 'POST' : 'GET';
  let isEnded = false;
  const unlessEnded = (action) => (value) => isEnded || action(value);
  let abort;
  if (typeof fetch === 'function') {
    const controller = typeof AbortController === 'function' && new AbortController();
    const signal = controller ? controller.signal : undefined;
    abort = () => controller && controller.abort();
    fetch(url, { method, body, credentials, signal, cache: 'no-store' })
      .then((response) =>
        response.text().then((text) => {
          const { status, statusText, headers } = response;
          return { status, statusText, text, header: (name) => headers.get(name) };
        }),
      )
      .then(unlessEnded(done), unlessEnded(failed));
  } else {
    const request = new XMLHttpRequest();
    abort = () => request.abort();
    request.open(method, url, true);
    if (credentials === 'include') request.withCredentials = true;
    if (body) request.setRequestHeader('Content-Type', 'text/plain;charset=UTF-8');
    const answer = unlessEnded(() => {
      const { status, statusText, responseText } = request;
      if (status) done({ status, statusText, text: responseText, header: (name) => request.getResponseHeader(name) });
      else failed(new TypeError('Failed to fetch'));
    });
    request.onreadystatechange = () => request.readyState === 4 && answer();
    request.send(body);
  }
  return () => {
    isEnded = true;
    abort();
  };
}

/** What the answer to a poll says: blocks [{ids, data}], the position header (null: none) and ids with a gap. */
function readAnswer({ status, statusText, text, header }) {
  if (status < 200 || status > 299) {
    const error = new Error(`HTTP ${status}: ${text.trim() || statusText}`);
    error.status = status;
    throw error;
  }
  const blocks = readBlocks(text.trim());
  if (!Array.isArray(blocks) || !blocks.every((block) => block && block.ids)) throw new Error('Answer is no list of messages');
  return {
    blocks,
    position: header('X-Realplexor-Cursor'),
    gaps: (header('X-Realplexor-Gap') || '').split(',').map((name) => name.trim()),
  };
}

/**
 * A server that does not check its messages may send one that is no JSON, and that costs no other: where the whole, if it
 * came to its end, cannot be parsed, each block is parsed by itself, and that one has an error in place of its data.
 */
function readBlocks(text) {
  if (!text) return [];
  try {
    return JSON.parse(text);
  } catch (broken) {
    if (!/^\[\n[^]*\n  \}\n\]$/.test(text)) throw broken;
    return text
      .slice(1, -1)
      .split(/,(?=\n  \{\n    "ids": \{)/)
      .map((block) => {
        try {
          return JSON.parse(block);
        } catch (error) {
          const ids = /^\s*\{\s*"ids": (\{[^}]*\})/.exec(block);
          if (!ids) throw broken;
          return { ids: JSON.parse(ids[1]), error };
        }
      });
  }
}

/**
 * One listener: any number of channels over at most one request at a time.
 *
 * A channel is {id, cursor, callbacks, ready, told}: cursor null means "from now", ready that the server has answered a
 * poll which named it, told is the cursor at which its gap was told, until it is behind. A request is {end, timer, since,
 * channels by their name on the wire, asks}, where asks means that it only asks for the position.
 */
export class Realplexor {
  #url;
  #options = {};
  #channels = Object.create(null);
  #listeners = {};
  #waiting = [];
  #request = null;
  #retry = null;
  #refusal = '';
  #ticker;
  #lastTick = Date.now();
  #bounces = 0;
  #changed = false;
  #moved = false;
  #connected = false;
  #fresh = false;
  #asleep = false;
  #closed = false;
  #delivering = false;
  #givesPosition = null; // null: not known yet

  constructor(fullUrl, namespaceOrOptions) {
    const given = namespaceOrOptions && typeof namespaceOrOptions === 'object' ? namespaceOrOptions : { namespace: namespaceOrOptions };
    for (const name of Object.keys(DEFAULTS)) this.#options[name] = DEFAULTS[name];
    for (const name of Object.keys(given)) this.#options[name] = option(name, given[name]);
    this.#accepts('Namespace must be alphanumeric', NAME, this.#options.namespace);
    this.logon(this.#options.login);
    this.#url = addressOf(fullUrl);
    this.#watchPage(world.addEventListener);
    this.#ticker = setInterval(() => this.#tick(), TICK);
    this.#ticker.unref?.();
  }

  /** Whether the server answered last; false while it is out of reach and while there is nothing to listen to. */
  get connected() {
    return this.#connected;
  }

  /**
   * Resolves when the server has taken notice of all channels subscribed so far: later messages will arrive. Stays as it is
   * when the client is closed meanwhile: who closes it does not wait for it any more, and has no error to handle.
   */
  get ready() {
    return new Promise((resolve, reject) => {
      if (this.#closed) reject(new Error(CLOSED));
      this.#waiting.push(resolve);
      this.#settle();
    });
  }

  /** A function that is subscribed to an id more than once is called once, until it is unsubscribed as often. */
  subscribe(ids, callback) {
    if (this.#closed) throw new Error(CLOSED);
    if (typeof callback !== 'function') return this.#refuse(`Callback must be a function, "${callback}" given`);
    for (const id of this.#accepted(ids)) {
      const { callbacks } = this.#channel(id);
      if (!this.#isOld() || callbacks.indexOf(callback) < 0) callbacks.push(callback);
    }
    return this.#change();
  }

  /** The cursor of the channel stays: subscribed again, it goes on from there. */
  unsubscribe(ids, callback) {
    for (const id of this.#accepted(ids)) {
      const { callbacks } = this.#channel(id);
      const at = callbacks.indexOf(callback);
      if (callback == null) callbacks.length = 0;
      else if (at >= 0) callbacks.splice(at, 1);
    }
    return this.#change();
  }

  /** Messages behind this cursor are wanted; null: from now on. */
  setCursor(ids, cursor) {
    const wanted = cursor == null ? null : String(cursor);
    if (wanted !== null) this.#accepts('Cursor must be numeric', CURSOR, cursor);
    for (const id of this.#accepted(ids)) {
      const channel = this.#channel(id);
      this.#moved ||= channel.cursor !== wanted && channel.callbacks.length > 0;
      channel.cursor = wanted;
      if (wanted === null) channel.ready = false;
    }
    return this.#change();
  }

  /** The channel's cursor, null if it has none yet; kept by a page, it is where the next page goes on. */
  getCursor(id) {
    return this.#channels[id]?.cursor ?? null;
  }

  logon(login) {
    const wanted = login ?? '';
    this.#accepts('Login must be alphanumeric', NAME, wanted);
    this.#moved ||= wanted !== this.#options.login;
    this.#options.login = wanted;
    return this.#change();
  }

  /** Applies what was changed at once instead of at the end of the running task. */
  execute() {
    if (this.#closed) throw new Error(CLOSED);
    this.#apply();
  }

  /** Ends the request and forgets all callbacks, for good. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#ticker);
    this.#watchPage(world.removeEventListener);
    for (const channel of this.#known()) channel.callbacks = [];
    this.#rest('closed');
    this.#listeners = {};
    this.#waiting = [];
  }

  on(type, listener) {
    if (typeof listener !== 'function') throw new TypeError(`Listener must be a function, "${listener}" given`);
    const listeners = this.#heard(type);
    if (listeners.indexOf(listener) < 0) listeners.push(listener);
    return this;
  }

  off(type, listener) {
    const listeners = this.#heard(type);
    const at = listeners.indexOf(listener);
    if (at >= 0) listeners.splice(at, 1);
    return this;
  }

  #heard(type) {
    if (EVENTS.indexOf(type) < 0) throw new TypeError(`Unknown event "${type}"; there are ${EVENTS.join(', ')}`);
    return (this.#listeners[type] ||= []);
  }

  #isOld() {
    return this instanceof Dklab_Realplexor;
  }

  /** Throws for what cannot be. For old pages it is left out, and what is right goes on. */
  #refuse(text) {
    if (!this.#isOld()) throw new TypeError(text);
    console.error('Realplexor: left out:', text);
    return this;
  }

  #accepts(what, form, value) {
    if (has(form, value)) return true;
    this.#refuse(`${what}, "${String(value)}" given`);
    return false;
  }

  #accepted(ids) {
    return [].concat(ids).filter((id) => this.#accepts('Identifier must be alphanumeric', ID, id));
  }

  #channel(id) {
    return (this.#channels[id] ||= { id: String(id), cursor: null, callbacks: [], ready: false, told: undefined });
  }

  #known() {
    return valuesOf(this.#channels);
  }

  /** The channels to poll, by their full names on the wire. What the wire has no form for, old pages alone can have named. */
  #wanted() {
    const { login, namespace } = this.#options;
    const prefix = (login && login + '_') + namespace;
    const wanted = Object.create(null);
    for (const channel of this.#known()) {
      const { cursor, id } = channel;
      if (channel.callbacks.length && ID.test(prefix + id) && (cursor === null || CURSOR.test(cursor))) wanted[prefix + id] = channel;
    }
    return wanted;
  }

  #change() {
    if (!this.#changed && this.#known().length) {
      this.#changed = true;
      const apply = () => this.#changed && this.#apply();
      if (world.queueMicrotask) queueMicrotask(apply);
      else setTimeout(apply, 0);
    }
    return this;
  }

  /** Polls anew if the running request does not ask for what is wanted now. */
  #apply() {
    const wanted = this.#wanted();
    const request = this.#request;
    const moved = this.#moved;
    this.#changed = this.#moved = false;
    for (const channel of this.#known()) channel.ready &&= channel.callbacks.length > 0;
    if (!Object.keys(wanted).length) {
      this.#rest('idle');
    } else if (!request) {
      if (!this.#retry || this.#connected) this.#poll();
    } else if (moved || (!request.asks && !sameKeys(wanted, request.channels))) {
      // A request for the position is let through: its answer is near, and without it the position would be lost.
      this.#end();
      this.#poll();
    }
    this.#settle();
  }

  #poll() {
    clearTimeout(this.#retry);
    this.#retry = null;
    const channels = this.#wanted();
    const asked = valuesOf(channels);
    if (this.#request || this.#delivering || this.#closed || this.#asleep || !asked.length) return;
    const asks = this.#givesPosition !== false && (!this.#fresh || asked.some((channel) => !channel.ready));
    const { waitTimeout } = this.#options;
    const patience = asks ? POSITION_TIMEOUT : (waitTimeout + SILENCE_MARGIN) * 1000;
    const request = { channels, asks, since: Date.now(), end() {} };
    this.#request = request;
    if (asks || waitTimeout) request.timer = setTimeout(() => this.#silent(request), Math.min(patience, TIMER_MAX));
    try {
      request.end = this.#ask(request);
    } catch (error) {
      this.#failed(request, error);
    }
  }

  #ask(request) {
    const { channels, asks } = request;
    const items = Object.keys(channels).map((name) => {
      const { cursor } = channels[name];
      return cursor === null ? name : `${cursor}:${name}`;
    });
    const marker = `${this.#options.identifier}=${items.join()}`;
    const isPost = marker.length >= POST_FROM;
    const query = `${isPost ? '' : marker + '&'}ncrnd=${Date.now()}&json${asks ? '&position' : ''}`;
    this.#log(isPost ? 'POST' : 'GET', query);
    return ask(
      this.#url + (this.#url.indexOf('?') < 0 ? '?' : '&') + query,
      isPost ? marker + '\n' : undefined, // text/plain: no preflight across origins
      this.#options.credentials,
      (response) => {
        let answer;
        try {
          answer = readAnswer(response);
        } catch (error) {
          return this.#failed(request, error);
        }
        return this.#answered(request, answer);
      },
      (error) => this.#failed(request, error),
    );
  }

  /** Forgets the running request; what it may still bring is not looked at. */
  #end() {
    if (!this.#request) return;
    clearTimeout(this.#request.timer);
    this.#request.end();
    this.#request = null;
  }

  /** No request and none to come. */
  #rest(reason) {
    this.#end();
    clearTimeout(this.#retry);
    this.#retry = null;
    this.#lost(reason);
  }

  #answered(request, { blocks, position, gaps }) {
    clearTimeout(request.timer);
    this.#request = null;
    this.#refusal = '';
    this.#log('answer', blocks);
    if (position !== null || !request.asks) this.#givesPosition = position !== null;
    this.#fresh = true;
    this.#delivering = true; // a callback's execute() must not poll from cursors that are about to grow
    if (!this.#connected) {
      this.#connected = true;
      this.#emit('connected', {});
    }
    const asked = valuesOf(request.channels);
    const missed = gaps.map((name) => request.channels[name]).filter(Boolean);
    const news = missed.filter((channel) => channel.told !== channel.cursor);
    for (const channel of asked) channel.told = undefined;
    for (const channel of missed) channel.told = channel.cursor;
    for (const channel of asked) {
      channel.ready = true;
      channel.cursor ??= position;
    }
    // A cursor ahead of the server's clock, which was set back: messages come from below it.
    for (const channel of position ? missed : []) {
      if (compareCursors(channel.cursor, position) > 0) channel.cursor = position;
    }
    if (news.length) this.#emit('gap', { ids: news.map((channel) => channel.id) });
    for (const block of blocks) this.#deliver(request, block);
    for (const channel of missed) {
      if (channel.cursor !== channel.told || !position) continue;
      // With no message behind its gap the channel goes on from the present. Beside others' messages the answer may have
      // been cut at the server's limit: asked once more, it says so at once.
      if (blocks.length) channel.ready = false;
      else if (compareCursors(position, channel.cursor) > 0) channel.cursor = position;
    }
    this.#delivering = false;
    if (blocks.length || !this.#isEarly(request)) this.#bounces = 0;
    else if (!request.asks) this.#bounces++;
    this.#next(request.asks ? 0 : this.#delay(this.#options.reconnectDelay * 1000));
    this.#settle();
  }

  #deliver({ channels }, { ids, data, error }) {
    const reached = [];
    for (const name of Object.keys(ids)) {
      const channel = channels[name];
      const cursor = String(ids[name]);
      if (!channel?.callbacks.length || (channel.cursor !== null && compareCursors(cursor, channel.cursor) <= 0)) continue;
      channel.cursor = cursor;
      reached.push(channel.id);
      if (error) continue;
      const callbacks = channel.callbacks.filter((callback, at, all) => all.indexOf(callback) === at);
      for (const callback of callbacks) {
        if (channel.callbacks.indexOf(callback) >= 0) guarded(() => callback(data, channel.id, cursor));
      }
      this.#emit('message', { data, id: channel.id, cursor });
    }
    if (error && reached.length) this.#emit('error', { error, ids: reached });
  }

  /** The server refused, is away, or its answer cannot be read. */
  #failed(request, error) {
    this.#end();
    if (this.#isEarly(request)) this.#bounces++;
    this.#log('failed', error);
    // Why a server refuses is for whoever builds the page to read: once, until it answers or says something else.
    if (error.status && error.message !== this.#refusal) console.error(`Realplexor: ${error.message}`);
    this.#refusal = error.status ? error.message : this.#refusal;
    this.#lost('error');
    this.#emit('error', { error });
    const tries = Math.min(this.#bounces, 20);
    this.#next(this.#delay(Math.min(RETRY_MAX, this.#options.reconnectDelay * 1000 * 2 ** tries)));
  }

  /** The connection died without a word, or the server does not know how to answer with its position alone. */
  #silent(request) {
    this.#end();
    this.#log('silence', request);
    if (request.asks && this.#givesPosition === null) this.#givesPosition = false;
    this.#lost('silence');
    this.#next(0);
  }

  #lost(reason) {
    this.#fresh = false;
    for (const channel of this.#known()) channel.told = undefined;
    if (!this.#connected) return;
    this.#connected = false;
    this.#emit('disconnected', { reason });
  }

  #isEarly(request) {
    return Date.now() - request.since < (this.#options.waitTimeout || WAIT_ANY) * 500;
  }

  /** Milliseconds until the next poll: `usual`, past the bounces allowed 1 s + k² / 2 s; with jitter, never longer. */
  #delay(usual) {
    const k = this.#bounces - this.#options.maxBounces + 2;
    const delay = k > 2 ? Math.min(DELAY_MAX, 1000 + 500 * k * k) : usual;
    return delay * (0.75 + Math.random() / 4);
  }

  #next(delay) {
    if (this.#request || this.#closed) return; // a callback has polled or closed meanwhile
    clearTimeout(this.#retry);
    if (delay) this.#retry = setTimeout(() => this.#poll(), delay);
    else this.#poll();
  }

  /** The connection may be dead, or the wait for it over: ask the server now. */
  #wake() {
    this.#end();
    this.#bounces = 0;
    this.#fresh = false;
    this.#poll();
  }

  #tick() {
    const hidden = world.document?.visibilityState === 'hidden';
    const leap = Date.now() - this.#lastTick;
    this.#lastTick = Date.now();
    if (leap > (hidden ? LEAP_HIDDEN : LEAP_VISIBLE)) this.#wake();
  }

  #onPage = ({ type }) => {
    if (type === 'pagehide') {
      this.#asleep = true;
      this.#rest('hidden');
    } else if (type === 'offline') {
      this.#end();
      this.#lost('offline');
      this.#bounces++;
      this.#next(this.#delay(RETRY_MAX));
    } else if (type === 'visibilitychange') {
      this.#tick();
      if (this.#retry && !this.#connected && document.visibilityState === 'visible') this.#wake();
    } else if (type === 'online' || this.#asleep) {
      this.#asleep = false;
      this.#wake();
    }
  };

  #watchPage(change) {
    if (!change) return;
    for (const type of ['online', 'offline', 'pagehide', 'pageshow']) change.call(world, type, this.#onPage);
    if (world.document) change.call(world.document, 'visibilitychange', this.#onPage);
  }

  #settle() {
    if (this.#changed || valuesOf(this.#wanted()).some((channel) => !channel.ready)) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #emit(type, detail) {
    detail.type = type;
    for (const listener of (this.#listeners[type] || []).slice()) guarded(() => listener(detail));
  }

  #log(what, detail) {
    if (this.#options.debug) console.log('Realplexor:', what, detail);
  }
}

/**
 * The class of old pages. As of old it throws for no id, cursor, namespace, login or callback: what cannot be is left out,
 * with a line on the console, and the rest goes on. The same function twice in one id is kept once.
 */
export class Dklab_Realplexor extends Realplexor {}

function valuesOf(object) {
  return Object.keys(object).map((key) => object[key]);
}

function sameKeys(a, b) {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => key in b);
}

/** Calls what the page gave us: its exception is logged and stops nobody else. */
function guarded(call) {
  try {
    call();
  } catch (error) {
    console.error('Realplexor: exception in a callback:', error);
  }
}

export default Realplexor;

/**
 * Browser client of a Realplexor server: long polling by fetch, also across origins.
 *
 *   const realplexor = new Dklab_Realplexor('https://rpl.example.com/', 'shop_');
 *   realplexor.subscribe('cart', (data, id, cursor) => { ... });
 *   await realplexor.ready;      // what is sent from now on will arrive
 *
 * This file is the ES module. The build makes the classic script from it, which defines the global Dklab_Realplexor.
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
/** Milliseconds between two looks at the clock, and the leaps of it that mean sleep: hidden pages get slow timers. */
const TICK = 5000;
const LEAP_VISIBLE = 35_000;
const LEAP_HIDDEN = 120_000;

const CLOSED = 'Realplexor is closed';
const ID = /^\w+$/;
const CURSOR = /^\d+(\.\d+)?$/;

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

/** Negative, 0 or positive as cursor a is below, at or above b. Exact: a float would merge cursors that differ. */
export function compareCursors(a, b) {
  const [wholeA, partA = ''] = a.replace(/^0+(?=\d)/, '').split('.');
  const [wholeB, partB = ''] = b.replace(/^0+(?=\d)/, '').split('.');
  const byLength = wholeA.length - wholeB.length;
  if (byLength) return byLength;
  const digits = Math.max(partA.length, partB.length);
  const [x, y] = [wholeA + partA.padEnd(digits, '0'), wholeB + partB.padEnd(digits, '0')];
  return x < y ? -1 : x > y ? 1 : 0;
}

function checked(what, pattern, value) {
  const text = String(value);
  if (!pattern.test(text)) throw new TypeError(`${what}, "${text}" given`);
  return text;
}

/** What the answer to a poll says: blocks [{ids, data}], the position header (null: none) and ids with a gap. */
async function readAnswer(response) {
  const text = await response.text();
  if (!response.ok) throw new Error(`HTTP ${response.status}: ${text.trim() || response.statusText}`);
  const blocks = text.trim() ? JSON.parse(text) : [];
  if (!Array.isArray(blocks) || !blocks.every((block) => block && block.ids)) throw new Error('Answer is no list of messages');
  return {
    blocks,
    position: response.headers.get('X-Realplexor-Cursor'),
    gaps: (response.headers.get('X-Realplexor-Gap') || '').split(',').map((name) => name.trim()),
  };
}

/**
 * One listener: any number of channels over at most one request at a time.
 *
 * A channel is {id, cursor, callbacks, ready}: cursor null means "from now", ready that the server has answered a
 * poll which named it. A request is {controller, timer, since, channels by their name on the wire, asks}, where
 * asks means that it only asks for the position.
 */
export class Dklab_Realplexor {
  #url;
  #options;
  #channels = new Map();
  #listeners = new Map();
  #waiting = [];
  #request = null;
  #retry = null;
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
  #told = new Map(); // channel -> the cursor at which its gap was told, until it is behind

  constructor(fullUrl, namespaceOrOptions) {
    const given = typeof namespaceOrOptions === 'object' ? namespaceOrOptions : { namespace: namespaceOrOptions };
    this.#options = { ...DEFAULTS, ...given };
    this.#options.namespace = checked('Namespace must be alphanumeric', /^\w*$/, this.#options.namespace ?? '');
    this.logon(this.#options.login);
    const page = globalThis.location?.href;
    this.#url = new URL(fullUrl || SERVED_PATH, page);
    if (SERVED_PATH !== '/') this.#url = new URL(SERVED_PATH, this.#url);
    this.#url.hash = '';
    this.#watchPage(globalThis.addEventListener);
    this.#ticker = setInterval(() => this.#tick(), TICK);
    this.#ticker.unref?.();
  }

  /** Whether the server answered last; false while it is out of reach and while there is nothing to listen to. */
  get connected() {
    return this.#connected;
  }

  /** Resolves when the server has taken notice of all channels subscribed so far: later messages will arrive. */
  get ready() {
    return new Promise((resolve, reject) => {
      if (this.#closed) reject(new Error(CLOSED));
      this.#waiting.push({ resolve, reject });
      this.#settle();
    });
  }

  subscribe(ids, callback) {
    if (this.#closed) throw new Error(CLOSED);
    if (typeof callback !== 'function') throw new TypeError(`Callback must be a function, "${callback}" given`);
    for (const id of this.#checkedIds(ids)) this.#channel(id).callbacks.add(callback);
    return this.#change();
  }

  /** The cursor of the channel stays: subscribed again, it goes on from there. */
  unsubscribe(ids, callback) {
    for (const id of this.#checkedIds(ids)) {
      const channel = this.#channel(id);
      if (callback == null) channel.callbacks.clear();
      else channel.callbacks.delete(callback);
    }
    return this.#change();
  }

  /** Messages behind this cursor are wanted; null: from now on. */
  setCursor(ids, cursor) {
    const wanted = cursor == null ? null : checked('Cursor must be numeric', CURSOR, cursor);
    for (const id of this.#checkedIds(ids)) {
      const channel = this.#channel(id);
      this.#moved ||= channel.cursor !== wanted && channel.callbacks.size > 0;
      channel.cursor = wanted;
      if (wanted === null) channel.ready = false;
    }
    return this.#change();
  }

  /** The channel's cursor, null if it has none yet; kept by a page, it is where the next page goes on. */
  getCursor(id) {
    return this.#channels.get(String(id))?.cursor ?? null;
  }

  logon(login) {
    const wanted = checked('Login must be alphanumeric', /^\w*$/, login ?? '');
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
    this.#watchPage(globalThis.removeEventListener);
    for (const channel of this.#channels.values()) channel.callbacks.clear();
    this.#rest('closed');
    this.#listeners.clear();
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(CLOSED));
  }

  on(type, listener) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set());
    this.#listeners.get(type).add(listener);
    return this;
  }

  off(type, listener) {
    this.#listeners.get(type)?.delete(listener);
    return this;
  }

  #checkedIds(ids) {
    return [].concat(ids).map((id) => checked('Identifier must be alphanumeric', ID, id));
  }

  #channel(id) {
    let channel = this.#channels.get(id);
    if (!channel) this.#channels.set(id, (channel = { id, cursor: null, callbacks: new Set(), ready: false }));
    return channel;
  }

  /** The channels to poll, by their full names on the wire. */
  #wanted() {
    const { login, namespace } = this.#options;
    const prefix = (login && login + '_') + namespace;
    const wanted = new Map();
    for (const channel of this.#channels.values()) {
      if (channel.callbacks.size) wanted.set(prefix + channel.id, channel);
    }
    return wanted;
  }

  #change() {
    if (!this.#changed && this.#channels.size) {
      this.#changed = true;
      queueMicrotask(() => this.#changed && this.#apply());
    }
    return this;
  }

  /** Polls anew if the running request does not ask for what is wanted now. */
  #apply() {
    const wanted = this.#wanted();
    const request = this.#request;
    const moved = this.#moved;
    this.#changed = this.#moved = false;
    for (const channel of this.#channels.values()) channel.ready &&= channel.callbacks.size > 0;
    if (!wanted.size) {
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
    if (this.#request || this.#delivering || this.#closed || this.#asleep || !channels.size) return;
    const isNew = [...channels.values()].some((channel) => !channel.ready);
    const asks = this.#givesPosition !== false && (!this.#fresh || isNew);
    const controller = new AbortController();
    const request = { controller, channels, asks, since: Date.now() };
    const patience = asks ? POSITION_TIMEOUT : (this.#options.waitTimeout + SILENCE_MARGIN) * 1000;
    request.timer = setTimeout(() => this.#silent(request), patience);
    this.#request = request;
    this.#fetch(request)
      .then(readAnswer)
      .then(
        (answer) => this.#request === request && this.#answered(request, answer),
        (error) => this.#request === request && this.#failed(request, error),
      );
  }

  async #fetch({ channels, asks, controller }) {
    const items = [...channels].map(([name, { cursor }]) => (cursor === null ? name : `${cursor}:${name}`));
    const marker = `${this.#options.identifier}=${items.join()}`;
    const isPost = marker.length >= POST_FROM;
    const query = `${isPost ? '' : marker + '&'}ncrnd=${Date.now()}${asks ? '&position' : ''}`;
    this.#log(isPost ? 'POST' : 'GET', query);
    return fetch(this.#url + (this.#url.search ? '&' : '?') + query, {
      method: isPost ? 'POST' : 'GET',
      body: isPost ? marker + '\n' : undefined, // text/plain: no preflight across origins
      cache: 'no-store',
      credentials: this.#options.credentials,
      signal: controller.signal,
    });
  }

  /** Forgets the running request; what it may still bring is not looked at. */
  #end() {
    if (!this.#request) return;
    clearTimeout(this.#request.timer);
    this.#request.controller.abort();
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
    this.#log('answer', blocks.length, 'messages, position', position);
    if (position !== null || !request.asks) this.#givesPosition = position !== null;
    this.#fresh = true;
    this.#delivering = true; // a callback's execute() must not poll from cursors that are about to grow
    if (!this.#connected) {
      this.#connected = true;
      this.#emit('connected', {});
    }
    const missed = gaps.map((name) => request.channels.get(name)).filter(Boolean);
    const news = missed.filter((channel) => this.#told.get(channel) !== channel.cursor);
    this.#told = new Map(missed.map((channel) => [channel, channel.cursor]));
    for (const channel of request.channels.values()) {
      channel.ready = true;
      channel.cursor ??= position;
    }
    // A cursor ahead of the server's clock, which was set back: messages come from below it.
    for (const channel of position ? missed : []) {
      if (compareCursors(channel.cursor, position) > 0) channel.cursor = position;
    }
    if (news.length) this.#emit('gap', { ids: news.map((channel) => channel.id) });
    for (const block of blocks) this.#deliver(request, block);
    for (const [channel, cursor] of this.#told) {
      if (channel.cursor !== cursor || !position) continue;
      // With no message behind its gap the channel goes on from the present. Beside others' messages the answer may have
      // been cut at the server's limit: asked once more, it says so at once.
      if (blocks.length) channel.ready = false;
      else if (compareCursors(position, cursor) > 0) channel.cursor = position;
    }
    this.#delivering = false;
    if (blocks.length || !this.#isEarly(request)) this.#bounces = 0;
    else if (!request.asks) this.#bounces++;
    this.#next(request.asks ? 0 : this.#delay(this.#options.reconnectDelay * 1000));
    this.#settle();
  }

  #deliver({ channels }, { ids, data }) {
    for (const name of Object.keys(ids)) {
      const channel = channels.get(name);
      const cursor = String(ids[name]);
      if (!channel?.callbacks.size || (channel.cursor !== null && compareCursors(cursor, channel.cursor) <= 0)) continue;
      channel.cursor = cursor;
      for (const callback of [...channel.callbacks]) {
        if (channel.callbacks.has(callback)) guarded(callback, data, channel.id, cursor);
      }
      this.#emit('message', { data, id: channel.id, cursor });
    }
  }

  /** The server refused, is away, or its answer cannot be read. */
  #failed(request, error) {
    this.#end();
    if (this.#isEarly(request)) this.#bounces++;
    this.#log('failed', error);
    this.#lost('error');
    this.#emit('error', { error });
    const tries = Math.min(this.#bounces, 20);
    this.#next(this.#delay(Math.min(RETRY_MAX, this.#options.reconnectDelay * 1000 * 2 ** tries)));
  }

  /** The connection died without a word, or the server does not know how to answer with its position alone. */
  #silent(request) {
    this.#end();
    this.#log('silence');
    if (request.asks && this.#givesPosition === null) this.#givesPosition = false;
    this.#lost('silence');
    this.#next(0);
  }

  #lost(reason) {
    this.#fresh = false;
    this.#told.clear();
    if (!this.#connected) return;
    this.#connected = false;
    this.#emit('disconnected', { reason });
  }

  #isEarly(request) {
    return Date.now() - request.since < this.#options.waitTimeout * 500;
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
    const hidden = globalThis.document?.visibilityState === 'hidden';
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
    for (const type of ['online', 'offline', 'pagehide', 'pageshow']) change.call(globalThis, type, this.#onPage);
    if (globalThis.document) change.call(globalThis.document, 'visibilitychange', this.#onPage);
  }

  #settle() {
    if (this.#changed || [...this.#wanted().values()].some((channel) => !channel.ready)) return;
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }

  #emit(type, detail) {
    for (const listener of [...(this.#listeners.get(type) || [])]) guarded(listener, { type, ...detail });
  }

  #log(...what) {
    if (this.#options.debug) console.debug('Realplexor:', ...what);
  }
}

function sameKeys(a, b) {
  return a.size === b.size && [...a.keys()].every((key) => b.has(key));
}

/** Calls what the page gave us: its exception is logged and stops nobody else. */
function guarded(callback, ...values) {
  try {
    callback(...values);
  } catch (error) {
    console.error('Realplexor: exception in a callback:', error);
  }
}

export { Dklab_Realplexor as Realplexor, Dklab_Realplexor as default };

/**
 * Browser client of a Realplexor server: it listens to channels, also across origins.
 *
 *   const realplexor = new Realplexor('https://rpl.example.com/', { namespace: 'shop_' });
 *   realplexor.subscribe('cart', (data, id, cursor) => { ... });
 *   await realplexor.ready;      // what is sent from now on will arrive
 *
 * The build makes the ES module of these modules, and the classic script in the syntax of ES5, which defines the globals
 * Realplexor and Dklab_Realplexor. Old browsers run that script, so nothing here but `ready` takes more of them than ES5 has:
 * arrays and plain objects instead of Map and Set, no promise but fetch's own, and XMLHttpRequest without fetch.
 */
import { advance, compareCursors, newChannel, passGaps, takeHead } from './cursors.js';
import { addressOf, canShare, has, log, optionsFrom, world } from './options.js';
import { ASKING, ASLEEP, CLOSED, DELIVERING, IDLE, PAUSING, RETRYING, WAITING } from './phases.js';
import { poll, readAnswer } from './transports/poll.js';

/** Seconds that a poll may stay silent past the time that it may wait before its connection counts as dead. */
const SILENCE_MARGIN = 10;
/** Milliseconds: what ends sooner was no wait. */
const QUICK = 5000;
/** Statuses by which proxies end a poll that has waited for long; 0: a reset, or an end that is none. */
const CUT = /^(0|2..|408|502|504|52[0-4])$/;
/** How many such cuts in a row show what the path allows, and milliseconds until it is tried whether it allows more. */
const CUTS_TO_LEARN = 3;
const LEARNED_FOR = 3_600_000;
/** Milliseconds: the most that a client waits between two polls, and between two tries of a server that is away. */
const DELAY_MAX = 60_000;
const RETRY_MAX = 1000;
/** Milliseconds: a shorter pause is none in a hidden page, where browsers run timers once a second. */
const SHORT = 100;
/** Milliseconds: the most that a server may have a client wait by Retry-After. */
const RETRY_AFTER_MAX = 300_000;
/** Milliseconds: the longest that a browser's timer can wait. */
const TIMER_MAX = 2 ** 31 - 1;
/** Milliseconds between two looks at the clock, and the leaps of it that mean sleep: hidden pages get slow timers. */
const TICK = 5000;
const LEAP_VISIBLE = 35_000;
const LEAP_HIDDEN = 120_000;

const IS_CLOSED = 'Realplexor is closed';
const ID = /^\w[\w.-]*$/;
const OLD_ID = /^\w+$/; // also of a number, since 1.5 is nobody's name
const NAME = /^\w*$/;
const CURSOR = /^\d+(\.\d+)?$/;
const isHidden = () => world.document?.visibilityState === 'hidden';
const EVENTS = ['connected', 'disconnected', 'gap', 'error', 'message', 'stalled'];

/** Calls back with `sharing` (transports/shared.js) where a page has a way to it, at once or later. */
let loadSharing = () => {};

/** Has new clients load what lets tabs share one poll by `load(options, callback)`. Without it each tab polls by itself. */
export function shareBy(load) {
  loadSharing = load;
}

/**
 * One listener: any number of channels over at most one request at a time.
 *
 * What it is doing is its `#phase` (phases.js), which owns `#end`, the function that ends the request, and `#timer`. A request is
 * begun and a timer is started only by #poll and #next.
 */
export class Realplexor {
  #options; // and the server's address, `url`
  #shared = null; // the transport that all tabs share; null: this page polls by itself
  #channels = Object.create(null);
  #listeners = {};
  #settling = [];
  #phase = IDLE;
  #timer;
  #end = () => {};
  #asked; // the channels of the last request, by their names on the wire
  #ticker;
  #lastTick = Date.now();
  #bounces = 0; // early answers without a message, and failures, in a row
  #cuts = 0; // polls in a row that waited and were cut
  #learned; // seconds that polls ask for on this path, until the time #relearns
  #relearns = 0;
  #notBefore = 0; // when the server's Retry-After is over
  #isAccepted; // whether the head of the answer has come
  #refusal = ''; // the last reason that the console has been told
  #changed = false; // the page has made a change that is not applied yet
  #moved = false; // that change makes the running request ask for the wrong cursors
  #connected = false;
  #givesPosition = null; // whether the server gives its position; null: not known yet

  constructor(fullUrl, namespaceOrOptions) {
    const given = namespaceOrOptions && typeof namespaceOrOptions === 'object' ? namespaceOrOptions : { namespace: namespaceOrOptions };
    this.#options = optionsFrom(given);
    this.#accepts('Namespace must be alphanumeric', NAME, this.#options.namespace);
    this.logon(this.#options.login);
    this.#options.url = addressOf(fullUrl);
    if ((this.#options.shared ?? !this.#isOld()) && canShare()) loadSharing(this.#options, (sharing) => this.#share(sharing));
    this.#watchPage(world.addEventListener);
    this.#ticker = setInterval(() => this.#tick(), TICK);
    this.#ticker.unref?.();
  }

  /** Whether the server answered last. It is false while the server is out of reach, and while there is nothing to listen to. */
  get connected() {
    return this.#connected;
  }

  /**
   * A promise that resolves when the server has taken notice of all channels subscribed so far, so that later messages will
   * arrive. If the client is closed meanwhile, the promise never settles: nobody waits for it any more, and nobody would
   * handle an error.
   */
  get ready() {
    return new Promise((resolve, reject) => {
      if (this.#phase === CLOSED) reject(new Error(IS_CLOSED));
      this.#settling.push(resolve);
      this.#settle();
    });
  }

  /**
   * Calls back for each message. A function that is subscribed to an id more than once is called once, until it is unsubscribed
   * as often.
   */
  subscribe(ids, callback) {
    if (this.#phase === CLOSED) throw new Error(IS_CLOSED);
    if (typeof callback !== 'function') return this.#refuse(`Callback must be a function, "${callback}" given`);
    for (const id of this.#accepted(ids)) {
      const { callbacks } = this.#channel(id);
      if (!this.#isOld() || callbacks.indexOf(callback) < 0) callbacks.push(callback);
    }
    return this.#change();
  }

  /** Takes off one callback, or all. The channel keeps its cursor: subscribed again, it goes on from there. */
  unsubscribe(ids, callback) {
    for (const id of this.#accepted(ids)) {
      const { callbacks } = this.#channel(id);
      const at = callbacks.indexOf(callback);
      if (callback == null) callbacks.length = 0;
      else if (at >= 0) callbacks.splice(at, 1);
    }
    return this.#change();
  }

  /** Has the channels go on behind this cursor; null means from now on. */
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

  /** Returns the channel's cursor, or null if it has none yet. A page may keep it, for the next page to go on from. */
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
    if (this.#phase === CLOSED) throw new Error(IS_CLOSED);
    this.#apply();
  }

  /** Ends the request and forgets all callbacks, for good. */
  close() {
    if (this.#phase === CLOSED) return;
    clearInterval(this.#ticker);
    this.#watchPage(world.removeEventListener);
    for (const channel of this.#known()) channel.callbacks.length = 0;
    this.#rest(CLOSED, 'closed');
    this.#listeners = {};
    this.#settling = [];
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

  #share(sharing) {
    if (this.#phase === CLOSED) return;
    this.#shared = sharing(this.#options, { poll, readAnswer, compareCursors });
    if (this.#phase === WAITING) this.#poll();
  }

  #isOld() {
    return this instanceof Dklab_Realplexor;
  }

  /** Throws TypeError for input that cannot be. On old pages such input is left out, and the rest goes on. */
  #refuse(text) {
    if (!this.#isOld()) throw new TypeError(text);
    console.error('Realplexor: left out:', text);
    return this;
  }

  #accepts(what, form, value) {
    if (has(form, value)) return true;
    this.#refuse(`${what}, ${JSON.stringify(String(value))} given`);
    return false;
  }

  #accepted(ids) {
    const form = (id) => (this.#isOld() || typeof id !== 'string' ? OLD_ID : ID);
    return [].concat(ids).filter((id) => this.#accepts(`Identifier must match ${form(id)}`, form(id), id));
  }

  #channel(id) {
    return (this.#channels[id] ||= newChannel(id));
  }

  #known() {
    return valuesOf(this.#channels);
  }

  /**
   * Returns the channels to poll by their full names on the wire. Those that the wire has no form for are left out: only old
   * pages can have named such.
   */
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

  /** Applies what the page has changed: begins a request if none runs, or if the running one asks for something else. */
  #apply() {
    const phase = this.#phase;
    const isMoved = this.#moved;
    const wanted = this.#wanted();
    this.#changed = this.#moved = false;
    for (const channel of this.#known()) channel.ready &&= channel.callbacks.length > 0;
    this.#settle();
    if (phase === DELIVERING || phase === ASLEEP || phase === CLOSED) return;
    if (!Object.keys(wanted).length) this.#rest(IDLE, 'idle');
    // A request for the position is let through: its answer is near, and without it the position would be lost.
    else if (phase === IDLE || phase === PAUSING) this.#poll();
    else if (phase !== RETRYING && (isMoved || (phase === WAITING && !sameKeys(wanted, this.#asked)))) this.#poll();
  }

  /**
   * Begins a request for the channels wanted now. It asks for the position, unless the last answer has told it or the server
   * gives none.
   */
  #poll(isKnown = this.#phase === WAITING || this.#phase === PAUSING) {
    const channels = this.#wanted();
    const asked = valuesOf(channels);
    if (!asked.length) return this.#rest(IDLE, 'idle');
    const asks = this.#givesPosition !== false && !(isKnown && asked.every((channel) => channel.ready));
    this.#enter(asks ? ASKING : WAITING);
    this.#asked = channels;
    const request = { cursors: cursorsOf(channels), asks, seconds: this.#timeout() };
    const hooks = {
      began: (asksNow) => this.#began(asksNow),
      waits: () => clearTimeout(this.#timer),
      accepted: () => (this.#isAccepted = true),
      silent: (seconds) => {
        this.#isAccepted = false;
        this.#silent(seconds);
      },
      done: (response) => this.#responded(response),
    };
    try {
      this.#end = this.#shared ? this.#shared.poll(request, hooks) : poll(this.#options, request, hooks);
    } catch (error) {
      this.#failed(error, {});
    }
  }

  /** Gives up the request that has begun if it stays silent for too long. */
  #began(asks) {
    const patience = Math.min(((asks ? 0 : this.#mayWait()) + SILENCE_MARGIN) * 1000, TIMER_MAX);
    this.#isAccepted = false;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#silent(patience / 1000), patience);
  }

  /** Returns the seconds after which polls ask the server to end them; 0: they leave it to the server. */
  #timeout() {
    const { timeout } = this.#options;
    return Date.now() < this.#relearns ? Math.min(timeout || Infinity, this.#learned) : timeout;
  }

  /** Returns the seconds that a poll may wait. A server that gives no position knows no `timeout` either. */
  #mayWait() {
    return Math.min((this.#givesPosition !== false && this.#timeout()) || Infinity, this.#options.waitTimeout || Infinity);
  }

  /**
   * Spends `delay` milliseconds in `phase`, then polls. Listeners hear of `reason` and `error` first, and may have the client do
   * something else.
   */
  #next(phase, delay, reason, error) {
    this.#enter(phase);
    if (delay) this.#timer = setTimeout(() => this.#poll(), delay);
    if (reason) this.#lost(reason);
    if (error) this.#emit('error', { error });
    if (!delay && this.#phase === phase) this.#poll();
  }

  /** Stays without a request and without a timer. */
  #rest(phase, reason) {
    this.#enter(phase);
    this.#shared?.leave();
    this.#lost(reason);
  }

  /** Leaves the present phase, with its request and its timer. */
  #enter(phase) {
    if (PHASE_CHECK) PHASE_CHECK(this.#phase, phase);
    clearTimeout(this.#timer);
    this.#end();
    this.#phase = phase;
  }

  #responded(response) {
    let answer;
    try {
      answer = readAnswer(response);
    } catch (error) {
      return this.#failed(error, response);
    }
    this.#answered(answer, response);
  }

  #answered({ blocks, position, gaps }, { asks, waited }) {
    const channels = this.#asked;
    const isBounce = !blocks.length && this.#isEarly(waited);
    this.#enter(DELIVERING);
    this.#refusal = '';
    log(this.#options, 'answer', blocks);
    if (position !== null || !asks) this.#givesPosition = position !== null;
    if (!this.#connected) {
      this.#connected = true;
      this.#emit('connected', {});
    }
    const missed = (gaps.indexOf('*') < 0 ? gaps : Object.keys(channels)).map((name) => channels[name]).filter(Boolean);
    const untold = takeHead(valuesOf(channels), missed, position);
    if (untold.length) this.#emit('gap', { ids: untold.map((channel) => channel.id) });
    for (const block of blocks) this.#deliver(channels, block);
    passGaps(missed, position, blocks.length);
    this.#settle();
    if (!asks) this.#cuts = 0;
    if (!isBounce) this.#bounces = 0;
    else if (!asks) this.#bounces++;
    if (this.#phase !== DELIVERING) return; // a callback has closed the client, or the page has gone
    const isOver = asks || !Object.keys(this.#wanted()).length;
    this.#next(PAUSING, isOver ? 0 : this.#pause());
  }

  /** Hands a message to those of the channels that have not had it. */
  #deliver(channels, { ids, data, error }) {
    const reached = [];
    for (const name of Object.keys(ids)) {
      const channel = channels[name];
      const cursor = String(ids[name]);
      if (!channel || !channel.callbacks.length || !advance(channel, cursor)) continue;
      reached.push(channel.id);
      if (!error) this.#call(channel, data, cursor);
    }
    if (error && reached.length) this.#emit('error', { error, ids: reached });
  }

  #call({ id, callbacks }, data, cursor) {
    callbacks
      .filter((callback, at) => callbacks.indexOf(callback) === at)
      .forEach((callback) => callbacks.indexOf(callback) >= 0 && guarded(() => callback(data, id, cursor)));
    this.#emit('message', { data, id, cursor });
  }

  /** The server refuses or is away, its answer cannot be read, or something on the path has cut a poll that waited. */
  #failed(error, { status, retryAfter, waited }) {
    log(this.#options, 'failed', error);
    const after = Math.min(RETRY_AFTER_MAX, (retryAfter || 0) * 1000);
    this.#notBefore = Date.now() + after;
    if (this.#phase === WAITING && waited > QUICK && (after || CUT.test(status))) return this.#cut(waited, after);
    // A browser ends its requests when its network changes. The next one asks for the position, and so shows what became of the server.
    const isUnsure = this.#phase === WAITING && status === 0 && this.#givesPosition && this.#bounces < this.#options.maxBounces;
    if (!(waited >= QUICK)) this.#bounces++;
    if (isUnsure) return this.#next(RETRYING, this.#pause());
    // The reason of a refusal is for whoever builds the page: it is shown once, until the server answers or says something else.
    if (error.status && error.message !== this.#refusal) console.error(`Realplexor: ${error.message}`);
    this.#refusal = error.status ? error.message : this.#refusal;
    const tries = Math.min(this.#bounces, 20);
    const delay = this.#delay(Math.min(RETRY_MAX, this.#options.reconnectDelay * 1000 * 2 ** tries));
    this.#next(RETRYING, Math.max(delay, after), 'error', error);
  }

  /** Goes on behind a cut as behind an answer: nobody is told, since the cursors lose nothing. A path that cuts is asked for less. */
  #cut(waited, after) {
    this.#bounces = 0;
    if (after) return this.#next(RETRYING, after);
    if (++this.#cuts % CUTS_TO_LEARN === 0) {
      this.#learned = Math.floor(waited / 2000);
      this.#relearns = Date.now() + LEARNED_FOR;
    }
    this.#next(PAUSING, this.#pause());
  }

  /** The connection died without a word, or the server does not know how to answer with its position alone. */
  #silent(seconds) {
    const phase = this.#phase;
    log(this.#options, 'silence', this.#asked);
    this.#shared?.silent(seconds);
    if (!this.#isAccepted) this.#emit('stalled', { seconds });
    if (this.#phase !== phase) return; // a listener has closed the client
    if (phase === ASKING && (this.#isAccepted || !this.#shared)) this.#givesPosition ??= false;
    if (this.#givesPosition === false) this.#shared?.split();
    this.#next(RETRYING, 0, 'silence');
  }

  #lost(reason) {
    for (const channel of this.#known()) channel.told = undefined;
    if (!this.#connected) return;
    this.#connected = false;
    this.#emit('disconnected', { reason });
  }

  /** Whether an answer came so soon, after `waited` milliseconds, that the poll cannot have waited. */
  #isEarly(waited) {
    return waited < Math.min(QUICK, this.#mayWait() * 500);
  }

  /** Returns milliseconds until the next poll: `usual`, or past the bounces allowed 1 s + k² / 2 s. Jitter only shortens it. */
  #delay(usual) {
    const k = this.#bounces - this.#options.maxBounces + 2;
    const delay = k > 2 ? Math.min(DELAY_MAX, 1000 + 500 * k * k) : usual;
    return delay * (0.75 + Math.random() / 4);
  }

  /** Returns milliseconds between an answer and the next poll. */
  #pause() {
    const delay = this.#delay(this.#options.reconnectDelay * 1000);
    return delay < SHORT && isHidden() ? 0 : delay;
  }

  /** Asks the server now: the connection may be dead, or the wait for it over. The network may be another one. */
  #wake() {
    if (this.#phase === DELIVERING) return; // an answer has just come
    this.#bounces = this.#relearns = 0;
    if (this.#phase === RETRYING && Date.now() < this.#notBefore) return;
    this.#poll(false);
  }

  #tick() {
    const leap = Date.now() - this.#lastTick;
    this.#lastTick = Date.now();
    this.#shared?.look();
    if (leap > (isHidden() ? LEAP_HIDDEN : LEAP_VISIBLE) && this.#phase !== ASLEEP) this.#wake();
  }

  #onPage = ({ type }) => {
    const phase = this.#phase;
    if (type === 'pagehide') {
      this.#rest(ASLEEP, 'hidden');
    } else if (type === 'offline') {
      if (phase === IDLE || phase === ASLEEP) return;
      this.#bounces++;
      this.#next(RETRYING, this.#delay(RETRY_MAX), 'offline');
    } else if (type === 'visibilitychange') {
      this.#tick();
      if (this.#phase === RETRYING && document.visibilityState === 'visible') this.#wake();
    } else if (type === 'online' || phase === ASLEEP) {
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
    for (const resolve of this.#settling.splice(0)) resolve();
  }

  #emit(type, detail) {
    detail.type = type;
    this.#heard(type).slice().forEach((listener) => guarded(() => listener(detail)));
  }
}

/**
 * The class of old pages. It throws for no id, cursor, namespace, login or callback, as the old client threw for none: input
 * that cannot be is left out, with a line on the console, and the rest goes on. The same function twice in one id is kept once.
 */
export class Dklab_Realplexor extends Realplexor {}

function valuesOf(object) {
  return Object.keys(object).map((key) => object[key]);
}

function cursorsOf(channels) {
  const cursors = Object.create(null);
  for (const name of Object.keys(channels)) cursors[name] = channels[name].cursor;
  return cursors;
}

function sameKeys(a, b) {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => key in b);
}

/** Calls a function of the page. Its exception is logged and stops no other function. */
function guarded(call) {
  try {
    call();
  } catch (error) {
    console.error('Realplexor: exception in a callback:', error);
  }
}

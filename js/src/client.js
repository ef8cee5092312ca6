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
import { addressOf, has, log, optionsFrom } from './options.js';
import { QUICK, paceOf } from './pace.js';
import { ASKING, ASLEEP, CLOSED, DELIVERING, IDLE, PAUSING, RETRYING, WAITING } from './phases.js';
import { errorOf, poll } from './transports/poll.js';
import { canShare, canStream, isHidden, world } from './world.js';

/** Statuses by which proxies end a request that has waited for long; 0: a reset, or an end that is none. */
const CUT = /^(0|2..|408|502|504|52[0-4])$/;
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
const EVENTS = ['connected', 'disconnected', 'gap', 'error', 'message', 'stalled', 'refused'];

/** Calls back with `lineOf` (parts.js) where a page has a way to it, at once or later. */
let loadParts = () => {};

/** Has new clients load what lets tabs share a connection, and transports besides polls, by `load(options, callback)`. */
export function extendBy(load) {
  loadParts = load;
}

/**
 * One listener: any number of channels over at most one request at a time.
 *
 * What it is doing is its `#phase` (phases.js), which owns `#end`, the function that ends the request, and `#timer`. A request is
 * begun and a timer is started only by #poll and #next.
 */
export class Realplexor {
  #options; // and the server's address, `url`
  #line = null; // the line that tabs share, or that has other transports (parts.js); null: this page polls by itself
  #channels = Object.create(null);
  #listeners = {};
  #settling = [];
  #phase = IDLE;
  #timer;
  #end = () => {};
  #asked; // the channels of the last request, by their names on the wire
  #ticker;
  #lastTick = Date.now();
  #pace;
  #isAccepted; // whether the head of the answer has come
  #refusal = ''; // the last reason that the console has been told
  #changed = false; // the page has made a change that is not applied yet
  #moved = false; // that change makes the running request ask for the wrong cursors
  #connected = false;
  #givesPosition = null; // whether the server gives its position; null: not known yet
  #transport = null; // the name of the transport by which the last answer came

  constructor(fullUrl, namespaceOrOptions) {
    const given = namespaceOrOptions && typeof namespaceOrOptions === 'object' ? namespaceOrOptions : { namespace: namespaceOrOptions };
    this.#options = optionsFrom(given);
    this.#accepts('Namespace must be alphanumeric', NAME, this.#options.namespace);
    this.logon(this.#options.login);
    this.#options.url = addressOf(fullUrl);
    this.#pace = paceOf(this.#options);
    this.#options.transports ??= this.#isOld() ? ['poll'] : ['stream', 'poll'];
    const isShared = (this.#options.shared ?? !this.#isOld()) && canShare();
    if (isShared || this.#options.grant || (this.#options.transports[0] !== 'poll' && canStream())) loadParts(this.#options, (lineOf) => this.#extend(lineOf, isShared));
    this.#watchPage('addEventListener');
    this.#ticker = setInterval(() => this.#tick(), TICK);
    this.#ticker.unref?.();
  }

  /** Whether the server answered last. It is false while the server is out of reach, and while there is nothing to listen to. */
  get connected() {
    return this.#connected;
  }

  /** The name of the transport by which the server answered last, null before its first answer. */
  get transport() {
    return this.#transport;
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
      const { functions } = this.#channel(id);
      if (!this.#isOld() || functions.indexOf(callback) < 0) functions.push(callback);
    }
    return this.#change();
  }

  /** Takes off one callback, or all. The channel keeps its cursor: subscribed again, it goes on from there. */
  unsubscribe(ids, callback) {
    for (const id of this.#accepted(ids)) {
      const { functions } = this.#channel(id);
      const at = functions.indexOf(callback);
      if (callback == null) functions.length = 0;
      else if (at >= 0) functions.splice(at, 1);
    }
    return this.#change();
  }

  /** Has the channels go on behind this cursor; null means from now on. */
  setCursor(ids, cursor) {
    const wanted = cursor == null ? null : String(cursor);
    if (wanted !== null) this.#accepts('Cursor must be numeric', CURSOR, cursor);
    for (const id of this.#accepted(ids)) {
      const channel = this.#channel(id);
      this.#moved ||= channel.cursor !== wanted && channel.functions.length > 0;
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
    this.#watchPage('removeEventListener');
    for (const channel of this.#known()) channel.functions.length = 0;
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

  #extend(lineOf, isShared) {
    if (this.#phase === CLOSED) return;
    this.#line = lineOf(this.#options, isShared, { poll, compareCursors });
    if (this.#phase === WAITING || (this.#options.grant && this.#phase === ASKING)) this.#poll();
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
      if (channel.functions.length && ID.test(prefix + id) && (cursor === null || CURSOR.test(cursor))) wanted[prefix + id] = channel;
    }
    return wanted;
  }

  #change() {
    if (!this.#changed && this.#known().length) {
      this.#changed = true;
      const apply = () => this.#changed && this.#apply();
      if (!CLASSIC || world.queueMicrotask) queueMicrotask(apply);
      else setTimeout(apply, 0);
    }
    return this;
  }

  /** Applies what the page has changed: begins a request if none runs, or if the running one asks for something else. */
  #apply() {
    const phase = this.#phase;
    const wanted = this.#wanted();
    this.#changed = false;
    for (const channel of this.#known()) channel.ready &&= channel.functions.length > 0;
    this.#settle();
    if (phase === DELIVERING || phase === ASLEEP || phase === CLOSED) return;
    if (!Object.keys(wanted).length) this.#rest(IDLE, 'idle');
    // A request for the position is let through: its answer is near, and without it the position would be lost.
    else if (phase === IDLE || phase === PAUSING) this.#poll();
    else if (phase !== RETRYING && (phase === WAITING ? this.#isOutdated() : this.#moved)) this.#poll();
  }

  /** Whether the running request asks for something else than what is wanted now. */
  #isOutdated() {
    return this.#moved || !sameKeys(this.#wanted(), this.#asked);
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
    this.#moved = false;
    const request = { cursors: cursorsOf(channels), asks, seconds: this.#pace.timeout() };
    const hooks = {
      began: (asksNow) => this.#began(asksNow),
      waits: () => clearTimeout(this.#timer),
      accepted: () => (this.#isAccepted = true),
      silent: (seconds) => this.#silent(seconds),
      done: (response) => this.#responded(response),
    };
    try {
      if (this.#line) this.#end = this.#line.poll(request, hooks);
      else if (!this.#options.grant) this.#end = poll(this.#options, request, hooks);
    } catch (error) {
      this.#failed(error, {});
    }
  }

  /** Gives up the request that has begun if it stays silent for too long. */
  #began(asks) {
    const patience = Math.min(this.#pace.patience(asks, this.#givesPosition === false), TIMER_MAX);
    this.#isAccepted = false;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#silent(patience / 1000, this.#isAccepted), patience);
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
    this.#line?.leave();
    this.#lost(reason);
  }

  /** Leaves the present phase, with its timer and its request, unless that `goesOn`. */
  #enter(phase, goesOn) {
    if (PHASE_CHECK) PHASE_CHECK(this.#phase, phase);
    clearTimeout(this.#timer);
    if (!goesOn) this.#end();
    this.#phase = phase;
  }

  #responded(response) {
    if (response.blocks) this.#answered(response);
    else this.#failed(errorOf(response), response);
  }

  #answered(response) {
    const { blocks, position, gaps = [], refused, asks, by, more } = response;
    const channels = this.#asked;
    this.#enter(DELIVERING, more);
    this.#refusal = '';
    log(this.#options, 'answer', blocks);
    if (!more) this.#givesPosition = position !== null || (asks && this.#givesPosition);
    this.#transport = more ? by : 'poll';
    this.#pace.answered(response, this.#givesPosition === false);
    if (!this.#connected) {
      this.#connected = true;
      this.#emit('connected', {});
    }
    if (refused) this.#tellRefused(refused);
    const missed = named(gaps, channels);
    const untold = response.gaps ? takeHead(valuesOf(channels), missed, position) : [];
    if (untold[0]) this.#emit('gap', { ids: untold.map((channel) => channel.id) });
    for (const block of blocks) this.#deliver(channels, block);
    if (!more) passGaps(missed, position, blocks.length);
    this.#settle();
    if (this.#phase !== DELIVERING) return; // a callback has closed the client, or the page has gone
    if (more && !this.#isOutdated()) return this.#enter(WAITING, more);
    const isNow = asks || more || !Object.keys(this.#wanted()).length;
    this.#next(PAUSING, isNow ? 0 : this.#pace.pause());
  }

  /** Hands a message to those of the channels that have not had it. */
  #deliver(channels, { ids, data, broken, isMark }) {
    const reached = [];
    for (const name of Object.keys(ids)) {
      const channel = channels[name];
      const cursor = String(ids[name]);
      if (!channel || !channel.functions.length || !advance(channel, cursor)) continue;
      reached.push(channel.id);
      if (!broken && !isMark) this.#call(channel, data, cursor);
    }
    if (broken && reached.length) this.#emit('error', { error: new SyntaxError(broken), ids: reached });
  }

  #call({ id, functions }, data, cursor) {
    functions
      .filter((callback, at) => functions.indexOf(callback) === at)
      .forEach((callback) => functions.indexOf(callback) >= 0 && guarded(() => callback(data, id, cursor)));
    this.#emit('message', { data, id, cursor });
  }

  /** The server refuses or is away, its answer cannot be read, or something on the path has cut a request that waited. */
  #failed(error, response) {
    const { status, retryAfter, waited, by, refused = [] } = response;
    log(this.#options, 'failed', error);
    if (status === 401 || (status === 403 && (refused[0] || this.#options.grant))) return this.#stop(error);
    const isWaiting = this.#phase === WAITING;
    const after = this.#pace.holdFor(retryAfter);
    // The next request goes on behind a cut as behind an answer: nobody is told, since the cursors lose nothing.
    if (isWaiting && waited > QUICK && (after || CUT.test(status))) {
      this.#pace.cut(waited, after);
      return after ? this.#next(RETRYING, after) : this.#next(PAUSING, this.#pace.pause());
    }
    // A browser ends its requests when its network changes. The next one asks for the position, and so shows what became of the server.
    const isUnsure = status === 0 && (by || (isWaiting && this.#givesPosition)) && !this.#pace.isBad();
    this.#pace.failed(waited);
    if (isUnsure) return this.#next(RETRYING, Math.max(this.#pace.pause(), after));
    // The reason of a refusal is for whoever builds the page: it is shown once, until the server answers or says something else.
    if (error.status && error.message !== this.#refusal) {
      this.#refusal = error.message;
      console.error(`Realplexor: ${error.message}`);
    }
    this.#next(RETRYING, Math.max(this.#pace.retryDelay(), after), 'error', error);
  }

  /** Tells of channels that the server does not let this page hear, once while it does not. */
  #tellRefused(names) {
    const refused = named(names, this.#asked);
    const ids = refused.filter((channel) => !channel.refused).map((channel) => channel.id);
    for (const channel of this.#known()) channel.refused = refused.indexOf(channel) >= 0;
    if (ids[0]) this.#emit('refused', { ids, status: 403 });
  }

  /** The server lets this page hear nothing. It is asked again once the page changes something, and not as a guest. */
  #stop({ status, message }) {
    const ids = valuesOf(this.#asked).map((channel) => channel.id);
    console.error(`Realplexor: ${message}`);
    this.#rest(IDLE, 'refused');
    this.#emit('refused', { ids, status });
  }

  /** The connection died without a word, or the server does not know how to answer with its position alone. */
  #silent(seconds, isAccepted) {
    const phase = this.#phase;
    log(this.#options, 'silence', this.#asked);
    this.#line?.silent(seconds);
    if (!isAccepted) this.#emit('stalled', { seconds });
    if (this.#phase !== phase) return; // a listener has closed the client
    if (phase === ASKING && (isAccepted || !this.#line || this.#line.isAlone())) this.#givesPosition ??= false;
    if (this.#givesPosition === false) {
      this.#options.transports = [];
      this.#line?.split();
    }
    this.#next(RETRYING, 0, 'silence');
  }

  #lost(reason) {
    for (const channel of this.#known()) channel.told = undefined;
    if (!this.#connected) return;
    this.#connected = false;
    this.#emit('disconnected', { reason });
  }

  /** Asks the server now: the connection may be dead, or the wait for it over. The network may be another one. */
  #wake() {
    if (this.#phase === DELIVERING) return; // an answer has just come
    this.#pace.renew();
    if (this.#phase === RETRYING && this.#pace.isHeld()) return;
    this.#poll(false);
  }

  #tick() {
    const leap = Date.now() - this.#lastTick;
    this.#lastTick = Date.now();
    this.#line?.look();
    if (leap > (isHidden() ? LEAP_HIDDEN : LEAP_VISIBLE) && this.#phase !== ASLEEP) this.#wake();
  }

  #onPage = ({ type }) => {
    const phase = this.#phase;
    if (type === 'pagehide') {
      this.#rest(ASLEEP, 'hidden');
    } else if (type === 'offline') {
      if (phase === IDLE || phase === ASLEEP) return;
      this.#pace.failed();
      this.#next(RETRYING, this.#pace.retryDelay(true), 'offline');
    } else if (type === 'visibilitychange') {
      this.#tick();
      if (this.#phase === RETRYING && !isHidden()) this.#wake();
    } else if (type === 'online' || phase === ASLEEP) {
      this.#wake();
    }
  };

  #watchPage(change) {
    for (const type of ['online', 'offline', 'pagehide', 'pageshow']) world[change]?.(type, this.#onPage);
    world.document?.[change]?.('visibilitychange', this.#onPage);
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

/** The channels that a header names, where `*` stands for all. */
function named(names, channels) {
  return valuesOf(channels).filter((_, at) => names[0] === '*' || names.includes(Object.keys(channels)[at]));
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

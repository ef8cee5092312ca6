/* rplx 1.0.0, MIT licence. Built from src/ by build.mjs. */

// src/cursors.js
function newChannel(id) {
  return { id: String(id), cursor: null, callbacks: [], ready: false, told: void 0 };
}
var plain = (cursor) => cursor.replace(/^0+(?=\d)/, "").replace(/\.0*$|(\.\d*?)0+$/, "$1");
function compareCursors(a, b) {
  const x = plain(a);
  const y = plain(b);
  return x.split(".")[0].length - y.split(".")[0].length || (x < y ? -1 : +(x > y));
}
function advance(channel, cursor) {
  const isNew = channel.cursor === null || compareCursors(cursor, channel.cursor) > 0;
  if (isNew) channel.cursor = cursor;
  return isNew;
}
function takeHead(asked, missed, position) {
  const untold = missed.filter((channel) => channel.told !== channel.cursor);
  for (const channel of asked) {
    const isMissed = missed.indexOf(channel) >= 0;
    channel.told = isMissed ? channel.cursor : void 0;
    channel.ready = true;
    channel.cursor ??= position;
    if (isMissed && position && compareCursors(channel.cursor, position) > 0) channel.cursor = position;
  }
  return untold;
}
function passGaps(missed, position, hasMessages) {
  for (const channel of missed) {
    if (channel.cursor !== channel.told || !position) continue;
    if (hasMessages) channel.ready = false;
    else advance(channel, position);
  }
}

// src/options.js
var world = typeof globalThis === "undefined" ? window : globalThis;
var canShare = () => !!(world.location && world.BroadcastChannel && world.navigator?.locks);
var served = (text, otherwise) => /^(\$|undefined-)/.test(text) ? otherwise : text;
var SERVED_PATH = served("$JS_WAIT_URI", "/");
var DEFAULTS = {
  namespace: "",
  login: "",
  identifier: served("$IDENTIFIER", "identifier"),
  timeout: 25,
  waitTimeout: +served("$WAIT_TIMEOUT", 300),
  reconnectDelay: +served("$JS_WAIT_RECONNECT_DELAY", 0.01),
  maxBounces: +served("$JS_MAX_BOUNCES", 10),
  debug: !!+served("$JS_DEBUG", 0),
  credentials: "same-origin",
  shared: null
  // by the class
};
var NAMES = Object.keys(DEFAULTS);
var FORMS = { identifier: /^\w[\w.-]*$/, credentials: /^(omit|same-origin|include)$/ };
function has(form, value) {
  return (typeof value === "number" ? isFinite(value) : /^(string|bigint)$/.test(typeof value)) && form.test(String(value));
}
function option(name, value) {
  const usual = DEFAULTS[name];
  if (NAMES.indexOf(name) < 0) {
    throw new TypeError(`Unknown option "${name}"; there are ${NAMES.join(", ")}`);
  }
  if (value == null) return usual;
  const isOdd = typeof usual === "number" ? !(typeof value === "number" && value >= 0) : FORMS[name] && !has(FORMS[name], value);
  if (isOdd) throw new TypeError(`Option "${name}" cannot be "${value}"`);
  return value;
}
function optionsFrom(given) {
  const options = { client: [].join.call(world.crypto?.getRandomValues(new Uint32Array(4)) || [], "") };
  for (const name of NAMES) options[name] = DEFAULTS[name];
  for (const name of Object.keys(given)) options[name] = option(name, given[name]);
  return options;
}
function resolved(address, base) {
  if (typeof URL === "function") return new URL(address, base).href;
  if (base && /^\/(?!\/)/.test(address)) return /^\w+:\/\/[^/]*/.exec(base)[0] + address;
  const link = document.createElement("a");
  link.href = address;
  return link.href;
}
function addressOf(fullUrl) {
  const page = world.location && world.location.href;
  let url;
  try {
    url = resolved(fullUrl || SERVED_PATH, page);
    if (SERVED_PATH !== "/") url = resolved(SERVED_PATH, url);
  } catch {
    throw new TypeError(`Address must be absolute where no page completes it, "${fullUrl || SERVED_PATH}" given`);
  }
  if (!/^https?:\/\/[^/@]+(\/|$)/.test(url)) throw new TypeError(`Address must be http://HOST/ or https://HOST/, "${fullUrl}" given`);
  return url.replace(/#.*/, "");
}
function log({ debug }, what, detail) {
  if (debug) console.log("Realplexor:", what, detail);
}

// src/phases.js
var IDLE = 1;
var ASKING = 2;
var WAITING = 3;
var DELIVERING = 4;
var PAUSING = 5;
var RETRYING = 6;
var ASLEEP = 7;
var CLOSED = 8;

// src/transports/poll.js
var POST_FROM = 1700;
function poll(options, { cursors, asks, seconds }, { began, accepted, done }) {
  const { url, identifier, client } = options;
  const items = Object.keys(cursors).map((name) => cursors[name] === null ? name : `${cursors[name]}:${name}`);
  const marker = `${identifier}=${items.join()}`;
  const isPost = marker.length >= POST_FROM;
  const wait = (seconds ? "&timeout=" + seconds : "") + "&client=" + client;
  const query = `${isPost ? "" : marker + "&"}ncrnd=${Date.now()}&json${asks ? "&position" : wait}`;
  const request = {
    url: url + (url.indexOf("?") < 0 ? "?" : "&") + query,
    method: isPost ? "POST" : "GET",
    body: isPost ? marker + "\n" : void 0,
    // text/plain: no preflight across origins
    credentials: options.credentials
  };
  const started = Date.now();
  let isOver = false;
  const once = (action) => (response) => {
    if (isOver) return;
    isOver = true;
    action(response);
  };
  const ended = once((response) => {
    response.waited = Date.now() - started;
    response.asks = asks;
    done(response);
  });
  log(options, request.method, query);
  began(asks);
  return once((typeof fetch === "function" ? askByFetch : askByXhr)(request, () => isOver || accepted(), ended));
}
var failure = (text) => ({ status: 0, text });
function askByFetch({ url, method, body, credentials }, accepted, ended) {
  const controller = typeof AbortController === "function" && new AbortController();
  const signal = controller ? controller.signal : void 0;
  fetch(url, { method, body, credentials, signal, cache: "no-store" }).then((response) => {
    accepted();
    return response.text().then((text) => responseOf(response, text, (name) => response.headers.get(name)));
  }).then(ended, (error) => ended(failure(error.message)));
  return () => controller && controller.abort();
}
function askByXhr({ url, method, body, credentials }, accepted, ended) {
  const request = new XMLHttpRequest();
  request.open(method, url, true);
  if (credentials === "include") request.withCredentials = true;
  if (body) request.setRequestHeader("Content-Type", "text/plain;charset=UTF-8");
  request.onreadystatechange = () => {
    const { readyState, status } = request;
    if (readyState > 1 && status) accepted();
    if (readyState !== 4) return;
    ended(status ? responseOf(request, request.responseText, (name) => request.getResponseHeader(name)) : failure("Failed to fetch"));
  };
  request.send(body);
  return () => request.abort();
}
function responseOf({ status, statusText }, text, header) {
  const after = status === 429 || status === 503 ? header("Retry-After") : 0;
  return {
    status,
    text: text.trim() || (status === 200 ? "" : statusText),
    position: header("X-Realplexor-Cursor"),
    gaps: header("X-Realplexor-Gap") || "",
    retryAfter: Math.max(0, isNaN(after) ? (Date.parse(after) - Date.now()) / 1e3 : after) || 0
  };
}
function readAnswer(response) {
  const { status, text, position, gaps } = response;
  if (!status) throw new TypeError(text);
  if (status < 200 || status > 299) {
    const error = new Error(`HTTP ${status}: ${text}`);
    error.status = status;
    throw error;
  }
  const blocks = readBlocks(text);
  if (!Array.isArray(blocks) || !blocks.every((block) => block && block.ids)) throw new Error("Answer is no list of messages");
  return { blocks, position, gaps: gaps.split(",").map((name) => name.trim()) };
}
function readBlocks(text) {
  if (!text) return [];
  try {
    return JSON.parse(text);
  } catch (broken) {
    if (!/^\[\n[^]*\n  \}\n\]$/.test(text)) throw broken;
    return text.slice(1, -1).split(/,(?=\n  \{\n    "ids": \{)/).map((block) => {
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

// src/client.js
var SILENCE_MARGIN = 10;
var QUICK = 5e3;
var CUT = /^(0|2..|408|502|504|52[0-4])$/;
var CUTS_TO_LEARN = 3;
var LEARNED_FOR = 36e5;
var DELAY_MAX = 6e4;
var RETRY_MAX = 1e3;
var SHORT = 100;
var RETRY_AFTER_MAX = 3e5;
var TIMER_MAX = 2 ** 31 - 1;
var TICK = 5e3;
var LEAP_VISIBLE = 35e3;
var LEAP_HIDDEN = 12e4;
var IS_CLOSED = "Realplexor is closed";
var ID = /^\w[\w.-]*$/;
var OLD_ID = /^\w+$/;
var NAME = /^\w*$/;
var CURSOR = /^\d+(\.\d+)?$/;
var isHidden = () => world.document?.visibilityState === "hidden";
var EVENTS = ["connected", "disconnected", "gap", "error", "message", "stalled"];
var loadSharing = () => {
};
function shareBy(load) {
  loadSharing = load;
}
var Realplexor = class {
  #options;
  // and the server's address, `url`
  #shared = null;
  // the transport that all tabs share; null: this page polls by itself
  #channels = /* @__PURE__ */ Object.create(null);
  #listeners = {};
  #settling = [];
  #phase = IDLE;
  #timer;
  #end = () => {
  };
  #asked;
  // the channels of the last request, by their names on the wire
  #ticker;
  #lastTick = Date.now();
  #bounces = 0;
  // early answers without a message, and failures, in a row
  #cuts = 0;
  // polls in a row that waited and were cut
  #learned;
  // seconds that polls ask for on this path, until the time #relearns
  #relearns = 0;
  #notBefore = 0;
  // when the server's Retry-After is over
  #isAccepted;
  // whether the head of the answer has come
  #refusal = "";
  // the last reason that the console has been told
  #changed = false;
  // the page has made a change that is not applied yet
  #moved = false;
  // that change makes the running request ask for the wrong cursors
  #connected = false;
  #givesPosition = null;
  // whether the server gives its position; null: not known yet
  constructor(fullUrl, namespaceOrOptions) {
    const given = namespaceOrOptions && typeof namespaceOrOptions === "object" ? namespaceOrOptions : { namespace: namespaceOrOptions };
    this.#options = optionsFrom(given);
    this.#accepts("Namespace must be alphanumeric", NAME, this.#options.namespace);
    this.logon(this.#options.login);
    this.#options.url = addressOf(fullUrl);
    if ((this.#options.shared ?? !this.#isOld()) && canShare()) loadSharing(this.#options, (sharing2) => this.#share(sharing2));
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
    if (typeof callback !== "function") return this.#refuse(`Callback must be a function, "${callback}" given`);
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
    if (wanted !== null) this.#accepts("Cursor must be numeric", CURSOR, cursor);
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
    const wanted = login ?? "";
    this.#accepts("Login must be alphanumeric", NAME, wanted);
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
    this.#rest(CLOSED, "closed");
    this.#listeners = {};
    this.#settling = [];
  }
  on(type, listener) {
    if (typeof listener !== "function") throw new TypeError(`Listener must be a function, "${listener}" given`);
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
    if (EVENTS.indexOf(type) < 0) throw new TypeError(`Unknown event "${type}"; there are ${EVENTS.join(", ")}`);
    return this.#listeners[type] ||= [];
  }
  #share(sharing2) {
    if (this.#phase === CLOSED) return;
    this.#shared = sharing2(this.#options, { poll, readAnswer, compareCursors });
    if (this.#phase === WAITING) this.#poll();
  }
  #isOld() {
    return this instanceof Dklab_Realplexor;
  }
  /** Throws TypeError for input that cannot be. On old pages such input is left out, and the rest goes on. */
  #refuse(text) {
    if (!this.#isOld()) throw new TypeError(text);
    console.error("Realplexor: left out:", text);
    return this;
  }
  #accepts(what, form, value) {
    if (has(form, value)) return true;
    this.#refuse(`${what}, ${JSON.stringify(String(value))} given`);
    return false;
  }
  #accepted(ids) {
    const form = (id) => this.#isOld() || typeof id !== "string" ? OLD_ID : ID;
    return [].concat(ids).filter((id) => this.#accepts(`Identifier must match ${form(id)}`, form(id), id));
  }
  #channel(id) {
    return this.#channels[id] ||= newChannel(id);
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
    const prefix = (login && login + "_") + namespace;
    const wanted = /* @__PURE__ */ Object.create(null);
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
    if (!Object.keys(wanted).length) this.#rest(IDLE, "idle");
    else if (phase === IDLE || phase === PAUSING) this.#poll();
    else if (phase !== RETRYING && (isMoved || phase === WAITING && !sameKeys(wanted, this.#asked))) this.#poll();
  }
  /**
   * Begins a request for the channels wanted now. It asks for the position, unless the last answer has told it or the server
   * gives none.
   */
  #poll(isKnown = this.#phase === WAITING || this.#phase === PAUSING) {
    const channels = this.#wanted();
    const asked = valuesOf(channels);
    if (!asked.length) return this.#rest(IDLE, "idle");
    const asks = this.#givesPosition !== false && !(isKnown && asked.every((channel) => channel.ready));
    this.#enter(asks ? ASKING : WAITING);
    this.#asked = channels;
    const request = { cursors: cursorsOf(channels), asks, seconds: this.#timeout() };
    const hooks = {
      began: (asksNow) => this.#began(asksNow),
      waits: () => clearTimeout(this.#timer),
      accepted: () => this.#isAccepted = true,
      silent: (seconds) => {
        this.#isAccepted = false;
        this.#silent(seconds);
      },
      done: (response) => this.#responded(response)
    };
    try {
      this.#end = this.#shared ? this.#shared.poll(request, hooks) : poll(this.#options, request, hooks);
    } catch (error) {
      this.#failed(error, {});
    }
  }
  /** Gives up the request that has begun if it stays silent for too long. */
  #began(asks) {
    const patience = Math.min(((asks ? 0 : this.#mayWait()) + SILENCE_MARGIN) * 1e3, TIMER_MAX);
    this.#isAccepted = false;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#silent(patience / 1e3), patience);
  }
  /** Returns the seconds after which polls ask the server to end them; 0: they leave it to the server. */
  #timeout() {
    const { timeout } = this.#options;
    return Date.now() < this.#relearns ? Math.min(timeout || Infinity, this.#learned) : timeout;
  }
  /** Returns the seconds that a poll may wait. A server that gives no position knows no `timeout` either. */
  #mayWait() {
    return Math.min(this.#givesPosition !== false && this.#timeout() || Infinity, this.#options.waitTimeout || Infinity);
  }
  /**
   * Spends `delay` milliseconds in `phase`, then polls. Listeners hear of `reason` and `error` first, and may have the client do
   * something else.
   */
  #next(phase, delay, reason, error) {
    this.#enter(phase);
    if (delay) this.#timer = setTimeout(() => this.#poll(), delay);
    if (reason) this.#lost(reason);
    if (error) this.#emit("error", { error });
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
    if (false) false(this.#phase, phase);
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
    this.#refusal = "";
    log(this.#options, "answer", blocks);
    if (position !== null || !asks) this.#givesPosition = position !== null;
    if (!this.#connected) {
      this.#connected = true;
      this.#emit("connected", {});
    }
    const missed = (gaps.indexOf("*") < 0 ? gaps : Object.keys(channels)).map((name) => channels[name]).filter(Boolean);
    const untold = takeHead(valuesOf(channels), missed, position);
    if (untold.length) this.#emit("gap", { ids: untold.map((channel) => channel.id) });
    for (const block of blocks) this.#deliver(channels, block);
    passGaps(missed, position, blocks.length);
    this.#settle();
    if (!asks) this.#cuts = 0;
    if (!isBounce) this.#bounces = 0;
    else if (!asks) this.#bounces++;
    if (this.#phase !== DELIVERING) return;
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
    if (error && reached.length) this.#emit("error", { error, ids: reached });
  }
  #call({ id, callbacks }, data, cursor) {
    callbacks.filter((callback, at) => callbacks.indexOf(callback) === at).forEach((callback) => callbacks.indexOf(callback) >= 0 && guarded(() => callback(data, id, cursor)));
    this.#emit("message", { data, id, cursor });
  }
  /** The server refuses or is away, its answer cannot be read, or something on the path has cut a poll that waited. */
  #failed(error, { status, retryAfter, waited }) {
    log(this.#options, "failed", error);
    const after = Math.min(RETRY_AFTER_MAX, (retryAfter || 0) * 1e3);
    this.#notBefore = Date.now() + after;
    if (this.#phase === WAITING && waited > QUICK && (after || CUT.test(status))) return this.#cut(waited, after);
    const isUnsure = this.#phase === WAITING && status === 0 && this.#givesPosition && this.#bounces < this.#options.maxBounces;
    if (!(waited >= QUICK)) this.#bounces++;
    if (isUnsure) return this.#next(RETRYING, this.#pause());
    if (error.status && error.message !== this.#refusal) console.error(`Realplexor: ${error.message}`);
    this.#refusal = error.status ? error.message : this.#refusal;
    const tries = Math.min(this.#bounces, 20);
    const delay = this.#delay(Math.min(RETRY_MAX, this.#options.reconnectDelay * 1e3 * 2 ** tries));
    this.#next(RETRYING, Math.max(delay, after), "error", error);
  }
  /** Goes on behind a cut as behind an answer: nobody is told, since the cursors lose nothing. A path that cuts is asked for less. */
  #cut(waited, after) {
    this.#bounces = 0;
    if (after) return this.#next(RETRYING, after);
    if (++this.#cuts % CUTS_TO_LEARN === 0) {
      this.#learned = Math.floor(waited / 2e3);
      this.#relearns = Date.now() + LEARNED_FOR;
    }
    this.#next(PAUSING, this.#pause());
  }
  /** The connection died without a word, or the server does not know how to answer with its position alone. */
  #silent(seconds) {
    const phase = this.#phase;
    log(this.#options, "silence", this.#asked);
    this.#shared?.silent(seconds);
    if (!this.#isAccepted) this.#emit("stalled", { seconds });
    if (this.#phase !== phase) return;
    if (phase === ASKING && (this.#isAccepted || !this.#shared)) this.#givesPosition ??= false;
    if (this.#givesPosition === false) this.#shared?.split();
    this.#next(RETRYING, 0, "silence");
  }
  #lost(reason) {
    for (const channel of this.#known()) channel.told = void 0;
    if (!this.#connected) return;
    this.#connected = false;
    this.#emit("disconnected", { reason });
  }
  /** Whether an answer came so soon, after `waited` milliseconds, that the poll cannot have waited. */
  #isEarly(waited) {
    return waited < Math.min(QUICK, this.#mayWait() * 500);
  }
  /** Returns milliseconds until the next poll: `usual`, or past the bounces allowed 1 s + k² / 2 s. Jitter only shortens it. */
  #delay(usual) {
    const k = this.#bounces - this.#options.maxBounces + 2;
    const delay = k > 2 ? Math.min(DELAY_MAX, 1e3 + 500 * k * k) : usual;
    return delay * (0.75 + Math.random() / 4);
  }
  /** Returns milliseconds between an answer and the next poll. */
  #pause() {
    const delay = this.#delay(this.#options.reconnectDelay * 1e3);
    return delay < SHORT && isHidden() ? 0 : delay;
  }
  /** Asks the server now: the connection may be dead, or the wait for it over. The network may be another one. */
  #wake() {
    if (this.#phase === DELIVERING) return;
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
    if (type === "pagehide") {
      this.#rest(ASLEEP, "hidden");
    } else if (type === "offline") {
      if (phase === IDLE || phase === ASLEEP) return;
      this.#bounces++;
      this.#next(RETRYING, this.#delay(RETRY_MAX), "offline");
    } else if (type === "visibilitychange") {
      this.#tick();
      if (this.#phase === RETRYING && document.visibilityState === "visible") this.#wake();
    } else if (type === "online" || phase === ASLEEP) {
      this.#wake();
    }
  };
  #watchPage(change) {
    if (!change) return;
    for (const type of ["online", "offline", "pagehide", "pageshow"]) change.call(world, type, this.#onPage);
    if (world.document) change.call(world.document, "visibilitychange", this.#onPage);
  }
  #settle() {
    if (this.#changed || valuesOf(this.#wanted()).some((channel) => !channel.ready)) return;
    for (const resolve of this.#settling.splice(0)) resolve();
  }
  #emit(type, detail) {
    detail.type = type;
    this.#heard(type).slice().forEach((listener) => guarded(() => listener(detail)));
  }
};
var Dklab_Realplexor = class extends Realplexor {
};
function valuesOf(object) {
  return Object.keys(object).map((key) => object[key]);
}
function cursorsOf(channels) {
  const cursors = /* @__PURE__ */ Object.create(null);
  for (const name of Object.keys(channels)) cursors[name] = channels[name].cursor;
  return cursors;
}
function sameKeys(a, b) {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => key in b);
}
function guarded(call) {
  try {
    call();
  } catch (error) {
    console.error("Realplexor: exception in a callback:", error);
  }
}

// src/transports/shared.js
var KEPT = 20;
var PATIENCE = 3e3;
var isHidden2 = () => globalThis.document?.visibilityState === "hidden";
function sharing(options, { poll: poll2, readAnswer: readAnswer2, compareCursors: compareCursors2 }) {
  const name = ["rplx 1", options.url, options.identifier, options.credentials].join(" ");
  let isAlone = false;
  let line = null;
  let own;
  let mine = null;
  let held = null;
  let kept = [];
  let leader;
  let pinged = 0;
  let term = null;
  let running = null;
  let end = () => {
  };
  function pollShared(request, hooks) {
    const asked = mine = { request, hooks };
    if (isAlone) run();
    else if (line) resume(asked);
    else join();
    return () => {
      if (mine !== asked) return;
      mine = null;
      stop();
    };
  }
  function leave() {
    if (!line) return;
    stop();
    line.close();
    own.queued.abort();
    if (term) term.ends.abort();
    own.left();
    line = held = term = null;
    kept = [];
  }
  function look() {
    if (!line || term) return;
    if (!pinged) {
      pinged = Date.now();
      post({ ping: true });
    } else if (Date.now() - pinged > PATIENCE) {
      steal();
    }
  }
  function silent(seconds) {
    if (term) post({ silent: seconds });
  }
  function split() {
    if (line) post({ split: true });
    leave();
    isAlone = true;
    run();
  }
  function post(message) {
    message.id = own.id;
    line.postMessage(message);
  }
  function lock(suffix, how, granted) {
    return navigator.locks.request(name + suffix, how, granted);
  }
  function join() {
    const here = line = new BroadcastChannel(name);
    here.onmessage = ({ data }) => line === here && hear(data);
    own = { id: Math.random().toString(36).slice(2), queued: new AbortController() };
    const { signal } = own.queued;
    own.stays = new Promise((left) => own.left = left);
    const { id, stays } = own;
    pinged = 0;
    lock(id, {}, () => {
      if (signal.aborted) return;
      want();
      return stays;
    });
    seek({ signal });
  }
  function steal() {
    pinged = 0;
    seek({ steal: true });
  }
  function seek(how) {
    const { signal } = own.queued;
    const { stays } = own;
    const next = { tabs: {}, ends: new AbortController(), isNew: true };
    lock("", how, () => {
      if (signal.aborted) return;
      lead(next);
      return stays;
    }).catch(() => {
      if (signal.aborted) return;
      if (term === next) follow();
      if (!how.steal) seek(how);
    });
  }
  function lead(next) {
    if (term) term.ends.abort();
    term = next;
    kept = [];
    held = null;
    sign();
    run();
  }
  function follow() {
    term.ends.abort();
    term = null;
    pinged = 0;
    stop();
    if (mine) mine.hooks.waits();
    want();
  }
  function sign() {
    post({ lead: true, isHidden: isHidden2() });
  }
  function hear(message) {
    const { id, answer } = message;
    if (message.split) return split();
    if (term) {
      if (message.want) enter(id, message.want);
      if (message.ping) sign();
      return;
    }
    if (message.lead || answer) pinged = 0;
    if (message.lead && message.isHidden && !isHidden2()) return steal();
    if (message.lead && leader !== id) {
      leader = id;
      held = null;
      want();
    }
    if (message.silent && mine) mine.hooks.silent(message.silent);
    if (answer) take(answer);
  }
  function want() {
    if (!mine) return;
    if (term) return run();
    const wanted = copied(mine.request);
    if (JSON.stringify(held) === JSON.stringify(wanted)) return;
    held = wanted;
    post({ want: held });
  }
  function resume(asked) {
    while (kept.length) {
      const answer = kept.shift();
      if (covers(answer, asked.request)) {
        Promise.resolve().then(() => mine === asked && give(answer));
        return;
      }
    }
    want();
  }
  function take(answer) {
    const isRead = isAnswer(answer.response);
    if (isRead && held) pass(held, answer);
    if (mine) {
      if (!isRead || covers(answer, mine.request)) give(answer);
    } else if (isRead && kept.push(answer) > KEPT) {
      kept.shift();
    }
  }
  function give({ response }) {
    const { hooks } = mine;
    mine = null;
    hooks.done(response);
  }
  function enter(id, wanted) {
    const { tabs, ends } = term;
    const isKnown = id in tabs;
    tabs[id] = wanted;
    renew();
    if (isKnown) return;
    const gone = () => {
      delete tabs[id];
      renew();
    };
    lock(id, { signal: ends.signal }, gone).catch(() => {
    });
  }
  function renew() {
    if (!term || !running || running.asks) return;
    const { cursors, asks } = merged();
    const isSame = Object.keys(cursors).length === Object.keys(running.cursors).length;
    if (asks || !isSame || !covers({ asked: running.cursors, response: running }, { cursors })) run();
  }
  function merged() {
    const all = copied(mine.request);
    all.asks ||= term.isNew;
    all.seconds = mine.request.seconds;
    Object.keys(term.tabs).forEach((id) => {
      const { cursors, asks } = term.tabs[id];
      all.asks ||= asks;
      Object.keys(cursors).forEach((name2) => all.cursors[name2] = smaller(valueIn(all.cursors, name2), cursors[name2]));
    });
    return all;
  }
  function run() {
    stop();
    if (!mine) return;
    const { began, accepted } = mine.hooks;
    const request = running = isAlone ? mine.request : merged();
    end = poll2(options, request, { began, accepted, done: (response) => finish({ asked: request.cursors, response }) });
  }
  function stop() {
    running = null;
    end();
  }
  function finish(answer) {
    const { response } = answer;
    const isRead = isAnswer(response);
    const asked = mine;
    running = null;
    if (response.status === 413 || isRead && response.position === null) {
      mine = null;
      split();
      mine = asked;
    }
    if (term) {
      post({ answer });
      if (isRead) {
        term.isNew = false;
        Object.keys(term.tabs).forEach((id) => pass(term.tabs[id], answer));
      }
    }
    give(answer);
  }
  const smaller = (a, b) => a == null ? b : b == null || compareCursors2(a, b) <= 0 ? a : b;
  function isAnswer(response) {
    try {
      return !!readAnswer2(response);
    } catch {
      return false;
    }
  }
  function covers({ asked, response }, { cursors }) {
    return Object.keys(cursors).every((name2) => {
      const mine2 = cursors[name2];
      const its = valueIn(asked, name2);
      return mine2 === null ? its !== void 0 && response.asks : its != null && compareCursors2(its, mine2) <= 0;
    });
  }
  function pass(held2, answer) {
    const { cursors } = held2;
    if (!covers(answer, held2)) return;
    const { blocks, position } = readAnswer2(answer.response);
    held2.asks = false;
    Object.keys(cursors).forEach((name2) => cursors[name2] ??= position);
    blocks.forEach(
      ({ ids }) => Object.keys(ids).forEach((name2) => {
        const mine2 = valueIn(cursors, name2);
        if (mine2 && compareCursors2(String(ids[name2]), mine2) > 0) cursors[name2] = String(ids[name2]);
      })
    );
  }
  return { poll: pollShared, leave, look, silent, split };
}
var copied = ({ cursors, asks }) => ({ cursors: Object.assign(/* @__PURE__ */ Object.create(null), cursors), asks });
var valueIn = (map, name) => Object.prototype.hasOwnProperty.call(map, name) ? map[name] : void 0;

// src/index.js
shareBy((options, callback) => callback(sharing));
export {
  Dklab_Realplexor,
  Realplexor,
  compareCursors,
  Realplexor as default
};

/* rplx 1.0.0, MIT licence. Built from src/ by build.mjs. */

// src/world.js
var world = false ? window : globalThis;
var isHidden = () => world.document?.visibilityState === "hidden";
var canShare = () => !!(world.location && world.BroadcastChannel && world.navigator?.locks);
var canStream = () => !!(world.ReadableStream && world.AbortController);

// src/pace.js
var SILENCE_MARGIN = 10;
var QUICK = 5e3;
var CUTS_TO_LEARN = 3;
var LEARNED_FOR = 36e5;
var DELAY_MAX = 6e4;
var RETRY_MAX = 1e3;
var SHORT = 100;
var RETRY_AFTER_MAX = 3e5;
function paceOf(options) {
  let bounces = 0;
  let cuts = 0;
  let learned;
  let relearns = 0;
  let notBefore = 0;
  const timeout = () => Date.now() < relearns ? Math.min(options.timeout || Infinity, learned) : options.timeout;
  const mayWait = (isOld) => Math.min(!isOld && timeout() || Infinity, options.waitTimeout || Infinity);
  const delay = (usual) => {
    const k = bounces - options.maxBounces + 2;
    return (k > 2 ? Math.min(DELAY_MAX, 1e3 + 500 * k * k) : usual) * (0.75 + Math.random() / 4);
  };
  return {
    timeout,
    /** Returns the milliseconds of silence after which a poll is given up. */
    patience: (asks, isOld) => ((asks ? 0 : mayWait(isOld)) + SILENCE_MARGIN) * 1e3,
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
      learned = Math.floor(waited / 2e3);
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
      const after = Math.min(RETRY_AFTER_MAX, (seconds || 0) * 1e3);
      notBefore = Date.now() + after;
      return after;
    },
    /** Whether the server is still to be spared, by its Retry-After. */
    isHeld: () => Date.now() < notBefore,
    /** Returns milliseconds until a server is tried again that refuses or is away: longer each time. With `isGone` the longest. */
    retryDelay: (isGone) => delay(Math.min(RETRY_MAX, isGone ? RETRY_MAX : options.reconnectDelay * 1e3 * 2 ** Math.min(bounces, 20))),
    /** Returns milliseconds between an answer and the next poll. */
    pause() {
      const pause = delay(options.reconnectDelay * 1e3);
      return pause < SHORT && isHidden() ? 0 : pause;
    }
  };
}

// src/transports/stream.js
function markBlock(mark, names) {
  const cursors = /* @__PURE__ */ Object.create(null);
  const ids = /* @__PURE__ */ Object.create(null);
  for (const item of mark.split(",")) {
    const [cursor, name] = item.split(":");
    cursors[name] = cursor;
  }
  for (const name of names) ids[name] = cursors[name] ?? cursors["*"];
  return { ids, isMark: true };
}
function fieldsOf(event) {
  const fields = {};
  for (const line of event.split("\n")) {
    const [, name, value] = /^(\w*):? ?(.*)/.exec(line);
    fields[name] = name in fields ? `${fields[name]}
${value}` : value;
  }
  return fields;
}
async function read(body, names, give) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const end = { status: 0, text: "The stream ended" };
  let rest = "";
  let isOpen = false;
  const tell = (said) => give({ blocks: [], asks: false, more: true, ...said });
  const take = ({ id, event, data, retry, "": comment }) => {
    const said = data && JSON.parse(data);
    if (retry) end.retryAfter = retry / 1e3;
    if (comment) end.text = comment;
    if (event === "open") tell({ position: said.cursor, gaps: said.gaps, asks: isOpen = true });
    else if (event === "gap") tell({ gaps: said.ids });
    else if (event === "refused") tell({ refused: said.ids });
    else if (event === "expires") tell({ expires: said.in });
    else if (!event && (said || id)) tell({ blocks: [said || markBlock(id, names)] });
    return event === "bye";
  };
  for (; ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    const events = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = events.pop();
    if (events.some((event) => take(fieldsOf(event)))) return end;
  }
  if (isOpen) {
    end.retryAfter *= Math.random();
  } else if (end.retryAfter) {
    end.status = 503;
    end.text = "HTTP 503: " + end.text;
  }
  return end;
}
var stream = ({ client }, { cursors }, isPoll) => ({
  tail: "&stream&client=" + client,
  ask: (request, accepted, give, ask) => ask(request, accepted, give, (body, type) => /event-stream/.test(type) ? read(body, Object.keys(cursors), give) : isPoll())
});

// src/choice.js
var ENDS_MAX = 3;
var AGAIN_AFTER = 6e5;
var OPEN_PATIENCE = 2.7;
var LAST_LOOK = 0.3;
var SILENCE = 60;
var NEEDS = { stream: "ReadableStream", websocket: "WebSocket" };
var KNOWN = { stream };
var load;
function loadBy(how) {
  load = how;
}
function choosing(options, poll2) {
  const left = {};
  let last;
  let ends = 0;
  let isUnsure = false;
  function until(name, time) {
    const key = `rplx ${name} ${options.url}`;
    if (time) left[key] = time;
    try {
      if (time) world.sessionStorage[key] = time;
      return left[key] || world.sessionStorage[key];
    } catch {
      return left[key];
    }
  }
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
    const name = isUnsure || options.transports.find((name2) => name2 === "poll" || world[NEEDS[name2]] && !(Date.now() < until(name2)));
    const isOther = NEEDS[name];
    let timer;
    let isOver = false;
    let end = () => {
    };
    const after = (seconds, action) => {
      clearTimeout(timer);
      timer = setTimeout(action, seconds * 1e3);
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
      done({ status: 0, text: "No answer has come", isHeld: true });
    };
    const begin = () => {
      const by = isOther && KNOWN[name](options, request, () => clearTimeout(timer));
      end = poll2(options, by ? { ...request, asks: true } : request, { ...hooks, done }, by);
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
    if (isOther) after(OPEN_PATIENCE, () => after(LAST_LOOK, held));
    return stop;
  };
}

// src/cursors.js
function newChannel(id) {
  return { id: String(id), cursor: null, functions: [], ready: false, told: void 0, refused: false };
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
var SERVED_PATH = false ? served("$JS_WAIT_URI", "/") : "/";
var DEFAULTS = {
  namespace: "",
  login: "",
  identifier: false ? served("$IDENTIFIER", "identifier") : "identifier",
  timeout: 25,
  waitTimeout: false ? +served("$WAIT_TIMEOUT", 300) : 300,
  reconnectDelay: false ? +served("$JS_WAIT_RECONNECT_DELAY", 0.01) : 0.01,
  maxBounces: false ? +served("$JS_MAX_BOUNCES", 10) : 10,
  debug: false,
  credentials: "same-origin",
  shared: null,
  // by the class
  transports: null,
  // by the class
  grant: null
};
var NAMES = Object.keys(DEFAULTS);
var FORMS = {
  identifier: /^\w[\w.-]*$/,
  credentials: /^(omit|same-origin|include)$/,
  transports: /^((poll|stream|websocket)(,|$))+$/,
  grant: /^[\w-]+\.[\w-]+\.[\w-]+$|^function$/
};
function has(form, value) {
  return (typeof value === "number" ? isFinite(value) : /^(string|bigint)$/.test(typeof value)) && form.test(String(value));
}
function option(name, value) {
  const usual = DEFAULTS[name];
  if (NAMES.indexOf(name) < 0) {
    throw new TypeError(`Unknown option "${name}"; there are ${NAMES.join(", ")}`);
  }
  if (value == null) return usual;
  const isOdd = typeof usual === "number" ? !(typeof value === "number" && value >= 0) : FORMS[name] && !has(FORMS[name], Array.isArray(value) ? value.join() : typeof value === "function" ? "function" : value);
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
  if (true) return new URL(address, base).href;
  if (base && /^\/(?!\/)/.test(address)) return /^\w+:\/\/[^/]*/.exec(base)[0] + address;
  const link = document.createElement("a");
  link.href = address;
  return link.href;
}
function addressOf(fullUrl) {
  const given = fullUrl || SERVED_PATH;
  let url;
  try {
    url = resolved(given, world.location && world.location.href);
    if (false) url = resolved(SERVED_PATH, url);
  } catch {
  }
  if (!/^https?:\/\/[^/@]+(\/|$)/.test(url)) throw new TypeError(`Address must be http://HOST/ or https://HOST/, "${given}" given`);
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
function poll(options, { cursors, asks, seconds, grant }, hooks, by) {
  const { url, identifier, client } = options;
  const items = Object.keys(cursors).map((name) => cursors[name] === null ? name : `${cursors[name]}:${name}`);
  const marker = `${identifier}=${items.join()}`;
  const isPost = grant || marker.length >= POST_FROM;
  const wait = (seconds ? "&timeout=" + seconds : "") + "&client=" + client;
  const query = `${isPost ? "" : marker + "&"}ncrnd=${Date.now()}&json${asks ? "&position" : wait}${by ? by.tail : ""}`;
  const request = {
    url: url + (url.indexOf("?") < 0 ? "?" : "&") + query,
    method: isPost ? "POST" : "GET",
    body: isPost ? marker + "\n" + (grant ? `grant=${grant}
` : "") : void 0,
    // text/plain: no preflight across origins
    credentials: options.credentials
  };
  const started = Date.now();
  let isOver = false;
  const accepted = () => isOver || hooks.accepted();
  const give = (response) => {
    if (isOver) return;
    isOver = !response.more;
    response.waited = Date.now() - started;
    response.asks ??= asks;
    hooks.done(response);
  };
  const ask = true ? askByFetch : askByXhr;
  log(options, request.method, query);
  hooks.began(asks);
  const end = by ? by.ask(request, accepted, give, ask) : ask(request, accepted, give);
  return () => {
    if (isOver) return;
    isOver = true;
    end();
  };
}
var failure = (text) => ({ status: 0, text });
function askByFetch({ url, method, body, credentials }, accepted, give, read2) {
  const controller = false ? { abort() {
  } } : new AbortController();
  const { signal } = controller;
  fetch(url, { method, body, credentials, signal, cache: "no-store" }).then((response) => {
    const header = (name) => response.headers.get(name);
    accepted();
    return read2 && read2(response.body, header("Content-Type")) || response.text().then((text) => responseOf(response, text, header));
  }).then(give, (error) => give(failure(error.message)));
  return () => controller.abort();
}
function responseOf({ status, statusText }, text, header) {
  const list = (name) => (header(name) || "").split(/\s*,\s*/);
  const after = status === 429 || status === 503 ? header("Retry-After") : 0;
  const response = {
    status,
    text: status < 300 ? "" : `HTTP ${status}: ${text.trim() || statusText}`,
    position: header("X-Realplexor-Cursor"),
    gaps: list("X-Realplexor-Gap"),
    refused: list("X-Realplexor-Refused"),
    expires: header("X-Realplexor-Grant-TTL"),
    retryAfter: Math.max(0, isNaN(after) ? (Date.parse(after) - Date.now()) / 1e3 : after) || 0
  };
  try {
    if (status < 300) response.blocks = blocksOf(text.trim() || "[]");
  } catch (error) {
    response.text = error.message;
  }
  return response;
}
function blocksOf(text) {
  const blocks = parsed(text);
  if (!blocks.every?.((block) => block.ids)) throw new Error("Answer is no list of messages");
  return blocks;
}
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!/^\[\n[^]*\n  \}\n\]$/.test(text)) throw error;
    return text.slice(1, -1).split(/,(?=\n  \{\n    "ids": \{)/).map((block) => {
      try {
        return JSON.parse(block);
      } catch ({ message }) {
        const ids = /^\s*\{\s*"ids": (\{[^}]*\})/.exec(block);
        if (!ids) throw error;
        return { ids: JSON.parse(ids[1]), broken: message };
      }
    });
  }
}
function errorOf({ status, text }) {
  const error = new (status ? Error : TypeError)(text);
  if (status > 299) error.status = status;
  return error;
}

// src/client.js
var CUT = /^(0|2..|408|502|504|52[0-4])$/;
var TIMER_MAX = 2 ** 31 - 1;
var TICK = 5e3;
var LEAP_VISIBLE = 35e3;
var LEAP_HIDDEN = 12e4;
var IS_CLOSED = "Realplexor is closed";
var ID = /^\w[\w.-]*$/;
var OLD_ID = /^\w+$/;
var NAME = /^\w*$/;
var CURSOR = /^\d+(\.\d+)?$/;
var EVENTS = ["connected", "disconnected", "gap", "error", "message", "stalled", "refused"];
var loadParts = () => {
};
function extendBy(load2) {
  loadParts = load2;
}
var Realplexor = class {
  #options;
  // and the server's address, `url`
  #line = null;
  // the line that tabs share, or that has other transports (parts.js); null: this page polls by itself
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
  #pace;
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
  #transport = null;
  // the name of the transport by which the last answer came
  constructor(fullUrl, namespaceOrOptions) {
    const given = namespaceOrOptions && typeof namespaceOrOptions === "object" ? namespaceOrOptions : { namespace: namespaceOrOptions };
    this.#options = optionsFrom(given);
    this.#accepts("Namespace must be alphanumeric", NAME, this.#options.namespace);
    this.logon(this.#options.login);
    this.#options.url = addressOf(fullUrl);
    this.#pace = paceOf(this.#options);
    this.#options.transports ??= this.#isOld() ? ["poll"] : ["stream", "poll"];
    const isShared = (this.#options.shared ?? !this.#isOld()) && canShare();
    if (isShared || this.#options.grant || this.#options.transports[0] !== "poll" && canStream()) loadParts(this.#options, (lineOf2) => this.#extend(lineOf2, isShared));
    this.#watchPage("addEventListener");
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
    if (typeof callback !== "function") return this.#refuse(`Callback must be a function, "${callback}" given`);
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
    if (wanted !== null) this.#accepts("Cursor must be numeric", CURSOR, cursor);
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
    this.#watchPage("removeEventListener");
    for (const channel of this.#known()) channel.functions.length = 0;
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
  #extend(lineOf2, isShared) {
    if (this.#phase === CLOSED) return;
    this.#line = lineOf2(this.#options, isShared, { poll, compareCursors });
    if (this.#phase === WAITING || this.#options.grant && this.#phase === ASKING) this.#poll();
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
      if (channel.functions.length && ID.test(prefix + id) && (cursor === null || CURSOR.test(cursor))) wanted[prefix + id] = channel;
    }
    return wanted;
  }
  #change() {
    if (!this.#changed && this.#known().length) {
      this.#changed = true;
      const apply = () => this.#changed && this.#apply();
      if (true) queueMicrotask(apply);
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
    if (!Object.keys(wanted).length) this.#rest(IDLE, "idle");
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
    if (!asked.length) return this.#rest(IDLE, "idle");
    const asks = this.#givesPosition !== false && !(isKnown && asked.every((channel) => channel.ready));
    this.#enter(asks ? ASKING : WAITING);
    this.#asked = channels;
    this.#moved = false;
    const request = { cursors: cursorsOf(channels), asks, seconds: this.#pace.timeout() };
    const hooks = {
      began: (asksNow) => this.#began(asksNow),
      waits: () => clearTimeout(this.#timer),
      accepted: () => this.#isAccepted = true,
      silent: (seconds) => this.#silent(seconds),
      done: (response) => this.#responded(response)
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
    this.#timer = setTimeout(() => this.#silent(patience / 1e3, this.#isAccepted), patience);
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
    this.#line?.leave();
    this.#lost(reason);
  }
  /** Leaves the present phase, with its timer and its request, unless that `goesOn`. */
  #enter(phase, goesOn) {
    if (false) false(this.#phase, phase);
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
    this.#refusal = "";
    log(this.#options, "answer", blocks);
    if (!more) this.#givesPosition = position !== null || asks && this.#givesPosition;
    this.#transport = more ? by : "poll";
    this.#pace.answered(response, this.#givesPosition === false);
    if (!this.#connected) {
      this.#connected = true;
      this.#emit("connected", {});
    }
    if (refused) this.#tellRefused(refused);
    const missed = named(gaps, channels);
    const untold = response.gaps ? takeHead(valuesOf(channels), missed, position) : [];
    if (untold[0]) this.#emit("gap", { ids: untold.map((channel) => channel.id) });
    for (const block of blocks) this.#deliver(channels, block);
    if (!more) passGaps(missed, position, blocks.length);
    this.#settle();
    if (this.#phase !== DELIVERING) return;
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
    if (broken && reached.length) this.#emit("error", { error: new SyntaxError(broken), ids: reached });
  }
  #call({ id, functions }, data, cursor) {
    functions.filter((callback, at) => functions.indexOf(callback) === at).forEach((callback) => functions.indexOf(callback) >= 0 && guarded(() => callback(data, id, cursor)));
    this.#emit("message", { data, id, cursor });
  }
  /** The server refuses or is away, its answer cannot be read, or something on the path has cut a request that waited. */
  #failed(error, response) {
    const { status, retryAfter, waited, by, refused = [] } = response;
    log(this.#options, "failed", error);
    if (status === 401 || status === 403 && (refused[0] || this.#options.grant)) return this.#stop(error);
    const isWaiting = this.#phase === WAITING;
    const after = this.#pace.holdFor(retryAfter);
    if (isWaiting && waited > QUICK && (after || CUT.test(status))) {
      this.#pace.cut(waited, after);
      return after ? this.#next(RETRYING, after) : this.#next(PAUSING, this.#pace.pause());
    }
    const isUnsure = status === 0 && (by || isWaiting && this.#givesPosition) && !this.#pace.isBad();
    this.#pace.failed(waited);
    if (isUnsure) return this.#next(RETRYING, Math.max(this.#pace.pause(), after));
    if (error.status && error.message !== this.#refusal) {
      this.#refusal = error.message;
      console.error(`Realplexor: ${error.message}`);
    }
    this.#next(RETRYING, Math.max(this.#pace.retryDelay(), after), "error", error);
  }
  /** Tells of channels that the server does not let this page hear, once while it does not. */
  #tellRefused(names) {
    const refused = named(names, this.#asked);
    const ids = refused.filter((channel) => !channel.refused).map((channel) => channel.id);
    for (const channel of this.#known()) channel.refused = refused.indexOf(channel) >= 0;
    if (ids[0]) this.#emit("refused", { ids, status: 403 });
  }
  /** The server lets this page hear nothing. It is asked again once the page changes something, and not as a guest. */
  #stop({ status, message }) {
    const ids = valuesOf(this.#asked).map((channel) => channel.id);
    console.error(`Realplexor: ${message}`);
    this.#rest(IDLE, "refused");
    this.#emit("refused", { ids, status });
  }
  /** The connection died without a word, or the server does not know how to answer with its position alone. */
  #silent(seconds, isAccepted) {
    const phase = this.#phase;
    log(this.#options, "silence", this.#asked);
    this.#line?.silent(seconds);
    if (!isAccepted) this.#emit("stalled", { seconds });
    if (this.#phase !== phase) return;
    if (phase === ASKING && (isAccepted || !this.#line || this.#line.isAlone())) this.#givesPosition ??= false;
    if (this.#givesPosition === false) {
      this.#options.transports = [];
      this.#line?.split();
    }
    this.#next(RETRYING, 0, "silence");
  }
  #lost(reason) {
    for (const channel of this.#known()) channel.told = void 0;
    if (!this.#connected) return;
    this.#connected = false;
    this.#emit("disconnected", { reason });
  }
  /** Asks the server now: the connection may be dead, or the wait for it over. The network may be another one. */
  #wake() {
    if (this.#phase === DELIVERING) return;
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
    if (type === "pagehide") {
      this.#rest(ASLEEP, "hidden");
    } else if (type === "offline") {
      if (phase === IDLE || phase === ASLEEP) return;
      this.#pace.failed();
      this.#next(RETRYING, this.#pace.retryDelay(true), "offline");
    } else if (type === "visibilitychange") {
      this.#tick();
      if (this.#phase === RETRYING && !isHidden()) this.#wake();
    } else if (type === "online" || phase === ASLEEP) {
      this.#wake();
    }
  };
  #watchPage(change) {
    for (const type of ["online", "offline", "pagehide", "pageshow"]) world[change]?.(type, this.#onPage);
    world.document?.[change]?.("visibilitychange", this.#onPage);
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
function named(names, channels) {
  return valuesOf(channels).filter((_, at) => names[0] === "*" || names.includes(Object.keys(channels)[at]));
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

// src/grants.js
var AHEAD_MIN = 10;
var AHEAD_MORE = 15;
var AGAIN_AFTER2 = 5e3;
var PATIENCE = 1e4;
var UNAUTHORIZED = 401;
var FORM = /^[\w-]+\.[\w-]+\.[\w-]+$/;
var errorOf2 = (text, status) => Object.assign(new Error(text), { status });
async function textOf(given) {
  const isResponse = given && typeof given.text === "function";
  if (isResponse && !given.ok && (given.status > 499 || given.status === 429)) throw errorOf2(`No grant: HTTP ${given.status}`);
  const text = String((isResponse ? given.ok && await given.text() : given) || "").trim();
  if (!FORM.test(text)) throw errorOf2("There is no grant", UNAUTHORIZED);
  return text;
}
function lifetimeOf(token) {
  try {
    const { exp, iat } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    return exp - iat;
  } catch {
    return NaN;
  }
}
function granting({ grant }, poll2) {
  if (!grant) return poll2;
  const canAsk = typeof grant === "function";
  let token;
  let ends;
  let timer;
  let asking = null;
  let running = null;
  function endsIn(seconds) {
    ends = Date.now() + seconds * 1e3;
    if (canAsk) wait((seconds - Math.min(seconds / 2, AHEAD_MIN + Math.random() * AHEAD_MORE)) * 1e3);
  }
  function wait(delay) {
    clearTimeout(timer);
    timer = setTimeout(renew, delay);
    timer.unref?.();
  }
  function ask() {
    const late = new Promise((_, reject) => setTimeout(() => reject(errorOf2("No grant has come")), PATIENCE));
    asking ||= Promise.race([Promise.resolve().then(canAsk ? grant : () => grant), late]).then(textOf).then((text) => {
      token = text;
      ends = Infinity;
      const seconds = lifetimeOf(text);
      if (seconds > 0) endsIn(seconds);
    }).finally(() => asking = null);
    return asking;
  }
  function renew() {
    if (!running) ends = 0;
    else ask().then(() => running?.(), ({ status }) => status || Date.now() >= ends || wait(AGAIN_AFTER2));
  }
  return (options, request, hooks) => {
    let end = () => {
    };
    let isOver = false;
    let goesOn = false;
    let isSecond = false;
    let used;
    const begin = () => {
      if (isOver) return;
      used = token;
      goesOn = false;
      end = poll2(options, { ...request, grant: token }, { ...hooks, done });
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

// src/transports/shared.js
var KEPT = 20;
var PATIENCE2 = 3e3;
function sharing(options, isShared, { poll: poll2, compareCursors: compareCursors2 }) {
  const { url, identifier, credentials, grant } = options;
  const name = ["rplx 2", url, identifier, credentials, grant && grant.call ? "grant" : grant].join(" ");
  let isAlone = !isShared;
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
    } else if (Date.now() - pinged > PATIENCE2) {
      steal();
    }
  }
  function silent(seconds) {
    if (term) post({ silent: seconds });
  }
  function split() {
    if (isAlone) return;
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
    post({ lead: true, isHidden: isHidden() });
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
    if (message.lead && message.isHidden && !isHidden()) return steal();
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
    if (!kept.length) return want();
    Promise.resolve().then(() => {
      while (mine === asked && kept.length) offer(kept.shift());
      if (mine === asked) want();
    });
  }
  function take(answer) {
    if (held) pass(held, answer);
    if (mine) offer(answer);
    else if (answer.response.blocks && kept.push(answer) > KEPT) kept.shift();
  }
  function offer(answer) {
    if (!answer.response.blocks || covers(answer, mine.request)) give(answer);
  }
  function give(answer) {
    const { request, hooks } = mine;
    const { response } = answer;
    pass(request, answer);
    if (!response.more) mine = null;
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
    running = isAlone ? mine.request : merged();
    end = poll2(options, running, { ...mine.hooks, done: finish });
  }
  function stop() {
    running = null;
    end();
  }
  function finish(response) {
    const { blocks, position, more, status } = response;
    const answer = { asked: copied(running).cursors, response };
    const asked = mine;
    pass(running, answer);
    if (!more) running = null;
    if (status === 413 || blocks && position === null) {
      mine = null;
      split();
      mine = asked;
    }
    if (term) {
      post({ answer });
      if (blocks) term.isNew = false;
      Object.keys(term.tabs).forEach((id) => pass(term.tabs[id], answer));
    }
    give(answer);
    if (more && response.asks) renew();
  }
  const smaller = (a, b) => a == null ? b : b == null || compareCursors2(a, b) <= 0 ? a : b;
  function covers({ asked, response }, { cursors }) {
    return Object.keys(cursors).every((name2) => {
      const mine2 = cursors[name2];
      const its = valueIn(asked, name2);
      return mine2 === null ? its !== void 0 && response.asks : its != null && compareCursors2(its, mine2) <= 0;
    });
  }
  function pass(held2, answer) {
    const { cursors } = held2;
    const { blocks, position } = answer.response;
    if (!blocks || !covers(answer, held2)) return;
    held2.asks = false;
    Object.keys(cursors).forEach((name2) => cursors[name2] ??= position);
    blocks.forEach(
      ({ ids }) => Object.keys(ids).forEach((name2) => {
        const mine2 = valueIn(cursors, name2);
        if (mine2 && compareCursors2(String(ids[name2]), mine2) > 0) cursors[name2] = String(ids[name2]);
      })
    );
  }
  return { poll: pollShared, leave, look, silent, split, isAlone: () => isAlone };
}
var copied = ({ cursors, asks }) => ({ cursors: Object.assign(/* @__PURE__ */ Object.create(null), cursors), asks });
var valueIn = (map, name) => ({}).hasOwnProperty.call(map, name) ? map[name] : void 0;

// src/parts.js
function lineOf(options, isShared, { poll: poll2, compareCursors: compareCursors2 }) {
  return sharing(options, isShared, { poll: granting(options, choosing(options, poll2)), compareCursors: compareCursors2 });
}

// src/index.js
extendBy((options, callback) => callback(lineOf));
loadBy(
  (_, callback) => import("./websocket.js").then(({ websocket }) => callback(websocket)).catch(() => {
  })
  // what does not come does not fit
);
export {
  Dklab_Realplexor,
  Realplexor,
  compareCursors,
  Realplexor as default
};

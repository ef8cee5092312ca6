/**
 * One connection for all tabs of an origin: one of them leads, and the others hear what it hears.
 *
 * Each tab has a client of its own, with its channels and cursors, which takes this for its transport. The tab that holds a lock
 * (Web Locks) leads: its client's requests go to the server, by the transport that it has chosen, with the channels that the others want
 * added, and each response is handed on to them by a BroadcastChannel. All else, such as how long to wait after a failure, is decided by
 * each client as if it had asked by itself.
 *
 * Nothing is lost when the lead changes. A response counts for a tab only if what was asked for named all channels of the tab,
 * each from the tab's own cursor or from one below it; messages that the tab has had are dropped by its client. Of a request that goes
 * on, each further response counts from where the one before it has led. A tab whose cursors are not where the leader takes them to be
 * says so, and the leader asks again from there.
 *
 * The lead changes hands as follows. The browser gives the lock of a tab that is gone to the next in the queue. A tab that does
 * not answer (frozen), or that is hidden while another is seen (its timers are slow), has the lock stolen from it. Each tab also holds a lock of
 * its own; the leader waits for it, and so learns which tabs are gone.
 */

import { isHidden } from '../world.js';

/** Responses that a tab keeps which comes between two polls of its client. */
const KEPT = 20;
/** Milliseconds within which a leader answers. */
const PATIENCE = 3000;

/**
 * Returns the transport of one client: {poll, leave, look, silent, split, isAlone}. The script that pages load from the server gets this module
 * apart, so it is handed what it needs of the others.
 */
export function sharing(options, isShared, { poll, compareCursors }) {
  const { url, identifier, credentials, grant } = options;
  const name = ['rplx 2', url, identifier, credentials, grant && grant.call ? 'grant' : grant].join(' ');
  let isAlone = !isShared; // each tab asks by itself, also where the server cannot be shared
  let line = null; // the BroadcastChannel; null: this tab has not joined
  let own; // of this tab since it joined: {id, stays, left, queued}
  let mine = null; // the request of this tab's client: {request, hooks}
  let held = null; // what the leader knows of this tab: {cursors, asks}
  let kept = []; // answers that came between two requests
  let leader; // the id of the leader of which this tab knows
  let pinged = 0; // when the leader was asked for a sign of life; 0: it has given one
  let term = null; // while this tab leads: {tabs: {id: {cursors, asks}}, ends, isNew}
  let running = null; // the request at the server; its cursors grow with what it brings
  let end = () => {};

  /** Polls for this tab. `hooks.began` is called with each request to the server, and `hooks.waits` when another tab takes the lead. */
  function pollShared(request, hooks) {
    const asked = (mine = { request, hooks });
    if (isAlone) run();
    else if (line) resume(asked);
    else join();
    return () => {
      if (mine !== asked) return;
      mine = null;
      stop();
    };
  }

  /** Has no more part in sharing until the next poll. */
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

  /** Sees to it that there is a leader that works. It is called now and then, and when the page is shown. */
  function look() {
    if (!line || term) return;
    if (!pinged) {
      pinged = Date.now();
      post({ ping: true });
    } else if (Date.now() - pinged > PATIENCE) {
      steal();
    }
  }

  /** Tells the other tabs that the server has been silent for so many seconds. */
  function silent(seconds) {
    if (term) post({ silent: seconds });
  }

  /** Has every tab poll by itself from now on. */
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
    const here = (line = new BroadcastChannel(name));
    here.onmessage = ({ data }) => line === here && hear(data);
    own = { id: Math.random().toString(36).slice(2), queued: new AbortController() };
    const { signal } = own.queued;
    own.stays = new Promise((left) => (own.left = left));
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

  /** Waits for the lead, and holds it while this tab has joined. If it is stolen, this tab waits again. */
  function seek(how) {
    const { signal } = own.queued;
    const { stays } = own;
    const next = { tabs: {}, ends: new AbortController(), isNew: true };
    lock('', how, () => {
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

  /** Shows that this tab leads. */
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

  /** Tells the leader what this tab wants, unless it knows. The leader asks the server. */
  function want() {
    if (!mine) return;
    if (term) return run();
    const wanted = copied(mine.request);
    if (JSON.stringify(held) === JSON.stringify(wanted)) return;
    held = wanted;
    post({ want: held });
  }

  /** Begins a request of this tab by what has come since the last one, once the client knows how to end it. */
  function resume(asked) {
    if (!kept.length) return want();
    Promise.resolve().then(() => {
      while (mine === asked && kept.length) offer(kept.shift());
      if (mine === asked) want();
    });
  }

  /** Takes an answer to a request of the leader. */
  function take(answer) {
    if (held) pass(held, answer);
    if (mine) offer(answer);
    else if (answer.response.blocks && kept.push(answer) > KEPT) kept.shift();
  }

  /** Gives this tab's client an answer if it counts for it. */
  function offer(answer) {
    if (!answer.response.blocks || covers(answer, mine.request)) give(answer);
  }

  /** Gives this tab's client an answer, with which its request ends unless it goes on. */
  function give(answer) {
    const { request, hooks } = mine;
    const { response } = answer;
    pass(request, answer);
    if (!response.more) mine = null;
    hooks.done(response);
  }

  /** Takes in what another tab wants, until that tab is gone. */
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
    lock(id, { signal: ends.signal }, gone).catch(() => {});
  }

  /** Asks the server anew if the running request is not what the tabs want. A question for the position is let through: its answer is near. */
  function renew() {
    if (!term || !running || running.asks) return;
    const { cursors, asks } = merged();
    const isSame = Object.keys(cursors).length === Object.keys(running.cursors).length;
    if (asks || !isSame || !covers({ asked: running.cursors, response: running }, { cursors })) run();
  }

  /** Returns the request for all tabs: each channel from the smallest of their cursors. */
  function merged() {
    const all = copied(mine.request);
    all.asks ||= term.isNew;
    all.seconds = mine.request.seconds;
    Object.keys(term.tabs).forEach((id) => {
      const { cursors, asks } = term.tabs[id];
      all.asks ||= asks;
      Object.keys(cursors).forEach((name) => (all.cursors[name] = smaller(valueIn(all.cursors, name), cursors[name])));
    });
    return all;
  }

  function run() {
    stop();
    if (!mine) return;
    running = isAlone ? mine.request : merged();
    end = poll(options, running, { ...mine.hooks, done: finish });
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
    // The tabs together may want more channels than the server lets a request name. Old servers give no position.
    if (status === 413 || (blocks && position === null)) {
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
    if (more && response.asks) renew(); // for those who have come since the question
  }

  const smaller = (a, b) => (a == null ? b : b == null || compareCursors(a, b) <= 0 ? a : b);

  /** Whether an answer says all that those cursors want: a channel "from now on" begins with a question for the position. */
  function covers({ asked, response }, { cursors }) {
    return Object.keys(cursors).every((name) => {
      const mine = cursors[name];
      const its = valueIn(asked, name);
      return mine === null ? its !== undefined && response.asks : its != null && compareCursors(its, mine) <= 0;
    });
  }

  /** Moves the cursors of a tab on as its client will do, if the answer counts for it. */
  function pass(held, answer) {
    const { cursors } = held;
    const { blocks, position } = answer.response;
    if (!blocks || !covers(answer, held)) return;
    held.asks = false;
    Object.keys(cursors).forEach((name) => (cursors[name] ??= position));
    blocks.forEach(({ ids }) =>
      Object.keys(ids).forEach((name) => {
        const mine = valueIn(cursors, name);
        if (mine && compareCursors(String(ids[name]), mine) > 0) cursors[name] = String(ids[name]);
      }),
    );
  }

  return { poll: pollShared, leave, look, silent, split, isAlone: () => isAlone };
}

const copied = ({ cursors, asks }) => ({ cursors: Object.assign(Object.create(null), cursors), asks });
const valueIn = (map, name) => (({}).hasOwnProperty.call(map, name) ? map[name] : undefined);

/** The client's phases (src/phases.js): where each event leads from each phase, without a server and without waiting. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { ALLOWED, Realplexor, faults, steps } from './checked.mjs';

const NEVER = 1_000_000; // milliseconds: more than any timer of the client
const originals = { fetch: globalThis.fetch, now: Date.now, error: console.error };
let page;
let client;
let requests;
let leap;

beforeEach(() => {
  requests = [];
  leap = 0;
  page = new EventTarget();
  globalThis.addEventListener = (...given) => page.addEventListener(...given);
  globalThis.removeEventListener = (...given) => page.removeEventListener(...given);
  globalThis.document = { visibilityState: 'visible', addEventListener, removeEventListener };
  globalThis.fetch = (url, { signal }) =>
    new Promise((resolve, reject) => {
      requests.push({ resolve, reject, isRunning: true });
      const request = requests.at(-1);
      signal.addEventListener('abort', () => (request.isRunning = false));
    });
  console.error = () => {}; // refusals
  Date.now = () => originals.now() + leap;
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  steps.length = 0;
  client = new Realplexor('http://site.example/', { transports: ['poll'], reconnectDelay: 50 });
});

afterEach(() => {
  client.close();
  mock.timers.reset();
  Object.assign(globalThis, { fetch: originals.fetch });
  Object.assign(Date, { now: originals.now });
  Object.assign(console, { error: originals.error });
  for (const name of ['addEventListener', 'removeEventListener', 'document']) delete globalThis[name];
  assert.deepEqual(faults, []);
});

const settled = () => new Promise(setImmediate);
const phase = () => steps.at(-1)?.split(' ')[1] ?? 'IDLE';
const running = () => requests.filter((request) => request.isRunning);
const dispatch = (type) => page.dispatchEvent(new Event(type));

/** Answers the running request with a body, and with a position unless that is null. */
async function answer(blocks = [], position = '1000') {
  const [request] = running();
  if (!request) return;
  request.isRunning = false;
  const headers = { get: (name) => (name === 'X-Realplexor-Cursor' ? position : null) };
  request.resolve({ status: 200, statusText: 'OK', headers, text: async () => JSON.stringify(blocks) });
  await settled();
}

/** Fails the running request. In phases that have waited it would be a cut; here no time passes, unless the clock is moved. */
async function fail() {
  const [request] = running();
  if (!request) return;
  request.isRunning = false;
  request.reject(new TypeError('Failed to fetch'));
  await settled();
}

/** Lets the timer of the present phase go off. */
function timer() {
  const before = steps.length;
  for (let ms = 0; steps.length === before && ms < NEVER; ms += 1000) mock.timers.tick(1000);
}

const EVENTS = {
  add: () => client.subscribe('b', () => {}).execute(),
  remove: () => client.unsubscribe(['a', 'b', 'c']).execute(),
  move: () => client.setCursor('a', '5').execute(),
  answer,
  fail,
  cut: async () => {
    leap += 6000;
    await fail();
  },
  timer,
  offline: () => dispatch('offline'),
  online: () => dispatch('online'),
  pagehide: () => dispatch('pagehide'),
  pageshow: () => dispatch('pageshow'),
  visible: () => dispatch('visibilitychange'),
  leap: () => {
    leap += 60_000;
    dispatch('visibilitychange');
  },
  close: () => client.close(),
};

/** Brings a new client into a phase. */
const WAYS = {
  IDLE: async () => {},
  ASKING: async () => client.subscribe('a', () => {}).execute(),
  WAITING: async () => {
    await WAYS.ASKING();
    await answer();
  },
  PAUSING: async () => {
    await WAYS.WAITING();
    await answer();
  },
  RETRYING: async () => {
    await WAYS.ASKING();
    await fail();
  },
  ASLEEP: async () => {
    await WAYS.WAITING();
    dispatch('pagehide');
  },
};

/** The phase in which the client is after an event, by the phase before; where none is named it stays. */
const LEADS = {
  add: { IDLE: 'ASKING', ASKING: 'ASKING', WAITING: 'ASKING', DELIVERING: 'PAUSING', PAUSING: 'ASKING' },
  remove: { ASKING: 'IDLE', WAITING: 'IDLE', DELIVERING: 'IDLE', PAUSING: 'IDLE', RETRYING: 'IDLE' },
  move: { DELIVERING: 'PAUSING', PAUSING: 'WAITING' },
  answer: { ASKING: 'WAITING', WAITING: 'PAUSING', DELIVERING: 'PAUSING' },
  fail: { ASKING: 'RETRYING', WAITING: 'RETRYING', DELIVERING: 'PAUSING' },
  cut: { ASKING: 'RETRYING', WAITING: 'PAUSING', DELIVERING: 'PAUSING' },
  timer: { ASKING: 'WAITING', WAITING: 'ASKING', PAUSING: 'WAITING', RETRYING: 'ASKING', DELIVERING: 'PAUSING' },
  offline: { ASKING: 'RETRYING', WAITING: 'RETRYING', DELIVERING: 'RETRYING', PAUSING: 'RETRYING' },
  online: { WAITING: 'ASKING', DELIVERING: 'PAUSING', PAUSING: 'ASKING', RETRYING: 'ASKING', ASLEEP: 'ASKING' },
  pagehide: { IDLE: 'ASLEEP', ASKING: 'ASLEEP', WAITING: 'ASLEEP', DELIVERING: 'ASLEEP', PAUSING: 'ASLEEP', RETRYING: 'ASLEEP' },
  pageshow: { DELIVERING: 'PAUSING', ASLEEP: 'ASKING' },
  visible: { DELIVERING: 'PAUSING', RETRYING: 'ASKING' },
  leap: { WAITING: 'ASKING', DELIVERING: 'PAUSING', PAUSING: 'ASKING', RETRYING: 'ASKING' },
  close: { IDLE: 'CLOSED', ASKING: 'CLOSED', WAITING: 'CLOSED', DELIVERING: 'CLOSED', PAUSING: 'CLOSED', RETRYING: 'CLOSED', ASLEEP: 'CLOSED' },
};

/** A phase that needs a server has one request, and no other phase has any. */
function assertOneRequest() {
  assert.equal(running().length, /ASKING|WAITING/.test(phase()) ? 1 : 0, steps.slice(-3).join(', '));
}

for (const [event, leads] of Object.entries(LEADS)) {
  for (const [from, way] of Object.entries(WAYS)) {
    const to = leads[from] ?? from;
    test(`${event} leads from ${from} to ${to}`, async () => {
      await way();
      assert.equal(phase(), from);
      await EVENTS[event]();
      await settled();
      assert.equal(phase(), to);
      assertOneRequest();
    });
  }

  test(`${event} in a callback leads to ${leads.DELIVERING}`, async () => {
    await WAYS.WAITING();
    client.subscribe('a', () => {
      assert.equal(phase(), 'DELIVERING');
      if (event !== 'timer') EVENTS[event]();
    });
    await answer([{ ids: { a: '1001' }, data: 1 }]);
    assert.equal(phase(), leads.DELIVERING);
    assertOneRequest();
  });
}

test('nothing follows the end', async () => {
  await WAYS.WAITING();
  client.close();
  for (const event of ['answer', 'fail', 'timer', 'offline', 'online', 'pagehide', 'pageshow', 'visible', 'leap', 'close']) await EVENTS[event]();
  client.unsubscribe('a').setCursor('a', '7').logon('anna');
  await settled();
  assert.equal(phase(), 'CLOSED');
});

test('an error that is heard does not make the client try at once, whatever its listener changes', async () => {
  client.on('error', () => client.subscribe('b', () => {}).execute());
  await WAYS.RETRYING();
  assert.equal(phase(), 'RETRYING');
  assert.equal(requests.length, 1);
});

test('a long walk through all events keeps to the table, and uses each of its entries', async () => {
  let seed = 7;
  const random = (below) => {
    seed = (seed + 0x6d2b79f5) | 0; // mulberry32
    let mixed = Math.imul(seed ^ (seed >>> 15), seed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
  const walks = [...Object.keys(EVENTS).filter((name) => name !== 'close'), ...Array(8).fill('answer')];
  const inCallback = () => random(4) || EVENTS[['offline', 'pagehide', 'online', 'remove', 'move'][random(5)]]();
  client.subscribe('c', inCallback);
  for (let step = 0; step < 3000; step++) {
    const event = walks[random(walks.length)];
    if (event === 'answer') await answer(random(2) ? [{ ids: { c: String(2000 + step) }, data: step }] : [], random(3) ? String(2000 + step) : null);
    else await EVENTS[event]();
    if (!random(3)) client.subscribe('c', inCallback);
    await settled();
    assertOneRequest();
  }
  for (const from of [...Object.keys(WAYS), 'DELIVERING']) {
    client.close();
    client = new Realplexor('http://site.example/', { transports: ['poll'], reconnectDelay: 50 });
    const way = WAYS[from] ?? (async () => {
      await WAYS.WAITING();
      client.subscribe('a', () => client.close());
      await answer([{ ids: { a: '1001' }, data: 1 }]);
    });
    await way();
  }
  client.close();
  client = new Realplexor('http://site.example/', { transports: ['stream'] });
  client.subscribe('a', () => {}).execute();
  const pieces = ['event: open\ndata: {"cursor":"1000","gaps":[]}\n\n'];
  const read = () => (pieces.length ? Promise.resolve({ value: new TextEncoder().encode(pieces.pop()) }) : new Promise(() => {}));
  running()[0].resolve({ status: 200, headers: { get: () => 'text/event-stream' }, body: { getReader: () => ({ read }) } });
  await settled();
  assert.equal(phase(), 'WAITING');
  client.close();
  assert.deepEqual(ALLOWED.filter((step) => !steps.includes(step)), []);
});

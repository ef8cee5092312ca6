/** What the client makes of paths that cut polls, of Retry-After and of silence: without a server, by a clock that the tests move. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { Dklab_Realplexor, Realplexor, faults } from './checked.mjs';

const originals = { fetch: globalThis.fetch, error: console.error };
const settled = () => new Promise(setImmediate);
let client;
let requests;
let told;
let page;

beforeEach(() => {
  requests = [];
  told = [];
  page = new EventTarget();
  globalThis.addEventListener = (...given) => page.addEventListener(...given);
  globalThis.removeEventListener = (...given) => page.removeEventListener(...given);
  globalThis.document = { visibilityState: 'visible', addEventListener, removeEventListener };
  globalThis.fetch = (url, { signal }) =>
    new Promise((resolve, reject) => {
      const request = { url, resolve, reject, isRunning: true };
      requests.push(request);
      signal.addEventListener('abort', () => (request.isRunning = false));
    });
  console.error = () => {}; // refusals
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
});

afterEach(() => {
  client.close();
  mock.timers.reset();
  Object.assign(globalThis, { fetch: originals.fetch });
  Object.assign(console, { error: originals.error });
  for (const name of ['addEventListener', 'removeEventListener', 'document']) delete globalThis[name];
  assert.deepEqual(faults, []);
});

/** Moves the clock on, in steps between which promises go on. */
async function pass(seconds) {
  for (let ms = 0; ms < seconds * 1000; ms += 500) {
    mock.timers.tick(500);
    await settled();
  }
}

const asked = () => /&timeout=([\d.]+)&/.exec(requests.at(-1).url)?.[1] ?? /&position$|$/.exec(requests.at(-1).url)[0];

/** Ends the running request with a status, or with a reset for 0. */
async function end(status = 200, text = ' \r\n', headers = { 'X-Realplexor-Cursor': '1000' }) {
  const request = requests.at(-1);
  assert.ok(request.isRunning);
  request.isRunning = false;
  if (status) request.resolve({ status, statusText: 'Reason', headers: { get: (name) => headers[name] ?? null }, text: async () => text });
  else request.reject(new TypeError('Failed to fetch'));
  await settled();
}

/** Brings a client to its first waiting poll. */
async function listening(options = {}, Class = Realplexor) {
  client = new Class('http://site.example/', { transports: ['poll'], ...options });
  for (const type of ['connected', 'disconnected', 'error', 'stalled']) {
    client.on(type, ({ reason, seconds }) => told.push([type, reason ?? seconds].filter(Boolean).join(' ')));
  }
  client.subscribe('a', () => {}).execute();
  await end();
}

const BROKEN = [200, '[\n  {\n    "ids": { "a": "10'];
for (const [name, ending] of Object.entries({
  'a reset': [0],
  'a broken answer': BROKEN,
  ...Object.fromEntries([408, 502, 504, 520, 521, 522, 523, 524].map((status) => [status, [status, '<html>timeout</html>', {}]])),
})) {
  test(`${name} after a wait is told to nobody, and the next poll waits at once from the same cursor`, async () => {
    await listening();
    await pass(10);
    await end(...ending);
    await pass(0.5);
    assert.equal(requests.length, 3);
    assert.match(requests.at(-1).url, /\?identifier=1000:a&ncrnd=\d+&json&timeout=25&client=\d{16,}$/);
    assert.equal(client.connected, true);
    assert.deepEqual(told, ['connected']);
  });
}

test('what fails quickly is told', async () => {
  await listening();
  await pass(4);
  await end(502, '', {});
  assert.deepEqual(told, ['connected', 'disconnected error', 'error']);
});

test('a reset that comes quickly is told only where the next request fails, too', async () => {
  await listening();
  for (let round = 0; round < 3; round++) {
    await pass(1.5);
    await end(0);
    await pass(0.5);
    assert.equal(asked(), '&position');
    await end();
    assert.equal(asked(), '25');
  }
  assert.deepEqual(told, ['connected']);
  await pass(1.5);
  await end(0);
  await pass(0.5);
  assert.equal(client.connected, true);
  await end(0);
  assert.deepEqual(told, ['connected', 'disconnected error', 'error']);
  await pass(0.5);
  await end(0);
  assert.deepEqual(told, ['connected', 'disconnected error', 'error', 'error']);
});

test('in a hidden page, where timers are slow, a reset is followed by a request without one', async () => {
  await listening();
  globalThis.document.visibilityState = 'hidden';
  await end(0);
  assert.equal(asked(), '&position');
});

test('a server that answers questions alone, and resets what waits, is told of', async () => {
  await listening({ maxBounces: 3 });
  for (let round = 0; round < 3; round++) {
    await end(0);
    await pass(0.5);
    await end();
    assert.deepEqual(told, ['connected']);
  }
  await end(0);
  assert.deepEqual(told, ['connected', 'disconnected error', 'error']);
});

for (const status of [400, 403, 500, 503]) {
  test(`${status} is a refusal however long the poll has waited`, async () => {
    await listening();
    await pass(10);
    await end(status, 'no\n', {});
    assert.deepEqual(told, ['connected', 'disconnected error', 'error']);
  });
}

test('polls that end sooner than they asked for are no bounces', async () => {
  await listening({ maxBounces: 0 });
  for (let round = 0; round < 5; round++) {
    await pass(6);
    await end();
    await pass(0.5);
    assert.equal(asked(), '25');
  }
  assert.deepEqual(told, ['connected']);
});

test('after three cuts in a row polls ask for half of what the path allowed, for an hour', async () => {
  await listening();
  for (let round = 0; round < 3; round++) {
    assert.equal(asked(), '25');
    await pass(14);
    await end(504, '', {});
    await pass(0.5);
  }
  assert.equal(asked(), '7');
  for (let end_ = Date.now() + 3_600_000; Date.now() < end_; ) {
    assert.equal(asked(), '7');
    await pass(7);
    await end();
    await pass(0.5);
  }
  assert.equal(asked(), '25');
  assert.deepEqual(told, ['connected']);
});

test('an answer between cuts begins their count anew, and another network forgets what was learned', async () => {
  await listening();
  for (const status of [504, 504, 200, 504, 504]) {
    await pass(14);
    await end(status);
    await pass(0.5);
  }
  assert.equal(asked(), '25');
  await pass(14);
  await end(0);
  await pass(0.5);
  assert.equal(asked(), '7');
  page.dispatchEvent(new Event('online'));
  await end();
  assert.equal(asked(), '25');
});

test('a hidden page, whose timers are late, polls at once behind an answer and behind a cut, but keeps a longer pause', async () => {
  globalThis.document.visibilityState = 'hidden';
  await listening();
  await end(200, '[\n  {\n    "ids": { "a": "1001" },\n    "data": 1\n  }\n]');
  assert.match(requests.at(-1).url, /1001:a/);
  assert.ok(requests.at(-1).isRunning);
  await pass(10);
  await end(504, 'timeout\n');
  assert.ok(requests.at(-1).isRunning);
  client.close();
  await listening({ reconnectDelay: 2 });
  await end(200, '[\n  {\n    "ids": { "a": "1001" },\n    "data": 1\n  }\n]');
  await pass(1);
  assert.ok(!requests.at(-1).isRunning);
  await pass(1.5);
  assert.ok(requests.at(-1).isRunning);
});

test('Retry-After is kept, five minutes at most', async () => {
  await listening();
  for (const [after, seconds] of [['30', 30], ['100000', 300]]) {
    await end(503, 'later\n', { 'Retry-After': after });
    const before = requests.length;
    await pass(seconds - 2);
    globalThis.document.visibilityState = 'visible';
    page.dispatchEvent(new Event('visibilitychange'));
    page.dispatchEvent(new Event('online'));
    assert.equal(requests.length, before);
    await pass(2.5);
    assert.equal(requests.length, before + 1);
  }
  await end(429, 'slow down\n', { 'Retry-After': new Date(Date.now() + 60_000).toUTCString() });
  const before = requests.length;
  await pass(55);
  assert.equal(requests.length, before);
  await pass(10);
  assert.ok(requests.length > before);
});

test('a server that drains ends a waiting poll with 503 and Retry-After, and nobody is told unless it stays away', async () => {
  await listening();
  await pass(10);
  await end(503, 'draining\n', { 'Retry-After': '2' });
  await pass(1.5);
  assert.equal(requests.length, 2);
  await pass(1);
  assert.equal(asked(), '&position');
  await end();
  assert.deepEqual(told, ['connected']);
  await pass(10);
  await end(503, 'draining\n', { 'Retry-After': '2' });
  await pass(2.5);
  await end(0);
  assert.deepEqual(told, ['connected', 'disconnected error', 'error']);
});

test('silence is told 10 s past what a poll may wait, and the server asked again', async () => {
  await listening();
  await pass(34.5);
  assert.deepEqual(told, ['connected']);
  await pass(0.5);
  assert.deepEqual(told, ['connected', 'stalled 35', 'disconnected silence']);
  assert.equal(asked(), '&position');
  assert.deepEqual(requests.map(({ isRunning }) => isRunning), [false, false, true]);
  await pass(10);
  assert.deepEqual(told.slice(3), ['stalled 10']);
});

test('the shorter of the two timeouts decides; without either a poll may wait for good', async () => {
  await listening({ waitTimeout: 3 });
  await pass(13);
  assert.deepEqual(told, ['connected', 'stalled 13', 'disconnected silence']);
  client.close();
  told = [];
  await listening({ timeout: 0, waitTimeout: 0 });
  assert.equal(asked(), '');
  await pass(600);
  assert.deepEqual(told, ['connected']);
});

for (const Class of [Realplexor, Dklab_Realplexor]) {
  test(`an old server sends its head at once and knows no timeout: ${Class.name} waits as long as it waits`, async () => {
    client = new Class('http://site.example/', { transports: ['poll'] });
    for (const type of ['connected', 'disconnected', 'error', 'stalled']) client.on(type, ({ reason }) => told.push(reason ?? type));
    client.subscribe('a', () => {}).execute();
    const accept = () => requests.at(-1).resolve({ status: 200, headers: { get: () => null }, text: () => new Promise((come) => (requests.at(-1).come = come)) });
    accept();
    await pass(10); // it does not know how to tell its position
    assert.match(requests.at(-1).url, /\?identifier=a&ncrnd=\d+&json&timeout=25&client=\d{16,}$/);
    accept();
    await pass(290);
    assert.equal(requests.length, 2);
    requests.at(-1).come(' \r\n');
    await pass(1);
    assert.equal(requests.length, 3);
    assert.deepEqual(told, ['connected']);
  });
}

test('a listener of stalled may close the client', async () => {
  await listening();
  client.on('stalled', () => client.close());
  await pass(36);
  assert.deepEqual(told, ['connected', 'stalled 35', 'disconnected closed']);
});

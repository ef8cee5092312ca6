/** Event streams in the client, and its way back to polls: without a server, by a clock that the tests move. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { Dklab_Realplexor, Realplexor, faults } from './checked.mjs';
import { beat, begin, bye, end, gap, last, message, opened, page, pass, requests, settled } from './network.mjs';

const URL_ = 'http://site.example/';
let client;
let got;
let told;

beforeEach(begin);
afterEach(() => {
  client.close();
  end();
});

/** Makes a client of these channels, with what it tells in `got` and `told`. */
function made(ids = ['a'], options = {}, Class = Realplexor) {
  got = [];
  told = [];
  client = new Class(URL_, options);
  for (const type of ['connected', 'disconnected', 'gap', 'error', 'stalled']) {
    client.on(type, ({ reason, ids, error }) => told.push([type, reason ?? error?.message ?? ids].filter(Boolean).join(' ')));
  }
  client.subscribe(ids, (data) => got.push(data)).execute();
  return client;
}

/** Brings a client to its stream. */
async function listening(ids, ...events) {
  made(ids);
  const request = await last();
  await request.stream(opened(), ...events);
  return request;
}

test('a stream is one request: its first event makes the channels ready, messages and heartbeats move their cursors', async () => {
  made(['a', 'b']);
  const ready = client.ready;
  const request = await last();
  assert.ok(request.isStream);
  assert.equal(request.list, 'a,b');
  assert.equal(client.transport, null);
  await request.stream(opened('1000.5'));
  await ready;
  assert.equal(client.transport, 'stream');
  assert.equal(client.getCursor('b'), '1000.5');
  await request.send(message({ a: '1001' }, { deep: ['ж'] }), message({ a: '1002', b: '1002' }, 2) + message({ b: '1003' }, 3));
  assert.deepEqual(got, [{ deep: ['ж'] }, 2, 2, 3]);
  assert.deepEqual([client.getCursor('a'), client.getCursor('b')], ['1002', '1003']);
  await request.send(beat('1005:*,1004:b'));
  assert.deepEqual([client.getCursor('a'), client.getCursor('b')], ['1005', '1004']);
  assert.equal(requests.length, 1);
  assert.deepEqual(told, ['connected']);
});

test('a stream is read whatever the pieces are in which it comes', async () => {
  const text = opened() + message({ a: '1001' }, 'й€😀') + 'id: 1002:*\ndata: {"ids":{"a":"1002"},\ndata: "data":[1,\ndata: 2]}\n\n' + beat('1003:*');
  const request = await listening();
  for (const byte of new TextEncoder().encode(text)) await request.send(new Uint8Array([byte]));
  assert.deepEqual(got, ['й€😀', [1, 2]]);
  assert.equal(client.getCursor('a'), '1003');
});

test('a stream that is cut in the middle of an event goes on from the cursor, and nobody is told', async () => {
  const request = await listening(['a'], message({ a: '1001' }, 1));
  const next = message({ a: '1002' }, 2);
  await pass(6);
  await request.send(next.slice(0, 20));
  await request.stop();
  await pass(1.1);
  const again = await last();
  assert.ok(again.isStream);
  assert.equal(again.list, '1001:a');
  await again.stream(opened('1003') + next + message({ a: '1001' }, 1));
  assert.deepEqual(got, [1, 2]);
  assert.deepEqual(told, ['connected']);
});

test('one byte more or less of an event makes no difference: each cut loses and doubles nothing', async () => {
  const all = message({ a: '1001' }, 'x') + message({ a: '1002' }, 'y');
  for (let at = 0; at <= all.length; at++) {
    const request = await listening();
    await pass(6);
    await request.send(all.slice(0, at));
    await request.stop(at % 2 === 0);
    await pass(1.1);
    const again = await last();
    const from = Number(/^(\d+):a$/.exec(again.list)[1]);
    await again.stream(opened('1003') + [1001, 1002].filter((cursor) => cursor > from).map((cursor) => message({ a: String(cursor) }, 'xy'[cursor - 1001])).join(''));
    assert.deepEqual(got, ['x', 'y'], `cut at ${at}`);
    client.close();
  }
  assert.deepEqual(faults, []);
});

test('a goodbye has the client come back when it was told to', async () => {
  const request = await listening();
  await pass(6);
  await request.send(bye(3000));
  await pass(2.8);
  assert.equal(requests.length, 1);
  page.dispatchEvent(new Event('online'));
  assert.equal(requests.length, 1);
  await pass(0.4);
  const again = await last();
  assert.ok(again.isStream);
  assert.equal(again.list, '1000:a');
  await again.stream(opened());
  assert.deepEqual(told, ['connected']);
});

test('gaps are told before the messages behind them, and what comes behind them counts', async () => {
  made(['a', 'b']);
  client.setCursor(['a', 'b'], '5').execute();
  const request = await last();
  assert.equal(request.list, '5:a,5:b');
  await request.stream(opened('1000', ['a']), message({ a: '990' }, 990), message({ b: '7' }, 7));
  await request.send(gap('b'), message({ b: '1001' }, 1001));
  assert.deepEqual(told, ['connected', 'gap a', 'gap b']);
  assert.deepEqual(got, [990, 7, 1001]);
});

test('a cursor ahead of the server goes on from the present', async () => {
  made();
  client.setCursor('a', '9999').execute();
  await (await last()).stream(opened('3000', ['a']), message({ a: '3001' }, 1));
  assert.deepEqual(told, ['connected', 'gap a']);
  assert.deepEqual(got, [1]);
});

test('events that the client does not know mean nothing', async () => {
  const request = await listening();
  await request.send(': a comment\n\n', 'event: expires\ndata: {"in":25}\n\n', 'event: news\nid: 7:*\ndata: [1]\n\n', '\n\n', message({ a: '1001' }, 1));
  assert.deepEqual(got, [1]);
  assert.deepEqual(told, ['connected']);
  assert.equal(requests.length, 1);
});

test('a refusal that passes is told with its reason, and the client comes back when it was told to', async () => {
  made();
  const request = await last();
  await request.stream(': too many connections\nretry: 4000\n\n');
  await request.stop(false);
  assert.deepEqual(told, ['error HTTP 503: too many connections']);
  await pass(3.8);
  assert.equal(requests.length, 1);
  await pass(0.4);
  await (await last()).answer();
  assert.ok((await last()).isStream);
});

test('a refusal with a status is told as that of a poll', async () => {
  made();
  await (await last()).answer(403, 'no\n', {});
  assert.deepEqual(told, ['error HTTP 403: no']);
});

test('channels that change make a new stream, from where the others are', async () => {
  const first = await listening(['a'], message({ a: '1001' }, 1));
  client.subscribe('b', () => {}).execute();
  assert.ok(!first.isRunning);
  const second = await last();
  assert.ok(second.isStream);
  assert.equal(second.list, '1001:a,b');
  client.subscribe('c', () => {}).execute();
  assert.equal(await last(), second, 'its first event is near');
  await second.stream(opened('1002'));
  const third = await last();
  assert.equal(third.list, '1001:a,1002:b,c');
  await third.stream(opened('1003'));
  client.unsubscribe(['a', 'b', 'c']).execute();
  assert.ok(!third.isRunning);
  assert.deepEqual(told, ['connected', 'disconnected idle']);
});

for (const [what, change, list] of [
  ['adds a channel', () => client.subscribe('b', () => {}).execute(), '1001:a,b'],
  ['moves its cursor', () => client.setCursor('a', '7').execute(), '7:a'],
  ['logs on', () => client.logon('anna'), '1001:anna_a'],
]) {
  test(`a callback that ${what} makes a new stream, and the rest of the old one is not heard`, async () => {
    made();
    client.subscribe('a', change);
    const request = await last();
    await request.stream(opened(), message({ a: '1001' }, 1) + message({ a: '1002' }, 2));
    assert.equal((await last()).list, list);
    assert.ok(!request.isRunning);
    assert.deepEqual(got, [1]);
  });
}

test('a callback may close the client', async () => {
  made();
  client.subscribe('a', () => client.close());
  const request = await last();
  await request.stream(opened(), message({ a: '1001' }, 1) + message({ a: '1002' }, 2));
  assert.deepEqual(got, [1]);
  assert.ok(!request.isRunning);
});

test('a stream without a byte for a minute is dead; heartbeats keep it alive', async () => {
  const request = await listening();
  for (let round = 0; round < 4; round++) {
    await pass(50);
    await request.send(beat(`${2000 + round}:*`));
  }
  await pass(59);
  assert.ok(request.isRunning);
  await pass(2);
  assert.ok(!request.isRunning);
  assert.deepEqual(told, ['connected', 'stalled', 'disconnected silence']);
  const asking = await last();
  assert.match(asking.url, /&position$/);
  await asking.answer();
  assert.ok((await last()).isStream);
});

test('where no first event comes within 3 s the client polls, and remembers it for the session', async () => {
  made();
  const held = await last();
  await pass(2.8);
  assert.ok(held.isRunning);
  await pass(0.3);
  assert.ok(!held.isRunning);
  const asking = await last();
  assert.match(asking.url, /\?identifier=a&ncrnd=\d+&json&position$/);
  await asking.answer();
  assert.match((await last()).url, /&timeout=25&client=/);
  assert.equal(client.transport, 'poll');
  assert.deepEqual(told, ['connected']);
  client.close();
  made();
  assert.match((await last()).url, /&position$/);
  client.close();
  client = new Realplexor('http://other.example/');
  client.subscribe('a', () => {}).execute();
  assert.ok((await last()).isStream);
});

test('ten minutes later a stream is tried again', async () => {
  made();
  await pass(3.2);
  await (await last()).answer();
  for (let second = 0; second < 600; second += 20) {
    assert.ok(!(await last()).isStream);
    await pass(20);
    await (await last()).answer();
    await pass(0.2);
  }
  const again = await last();
  assert.ok(again.isStream);
  await again.stream(opened());
  assert.equal(client.transport, 'stream');
  assert.deepEqual(told, ['connected']);
});

test('a page whose storage cannot be used remembers by itself', async () => {
  Object.defineProperty(globalThis, 'sessionStorage', { configurable: true, get: () => { throw new Error('SecurityError'); } });
  made();
  await pass(3.2);
  await (await last()).answer();
  await pass(25);
  await (await last()).answer();
  await pass(0.2);
  assert.ok(!(await last()).isStream);
});

test('a server that is away is not taken for a path that holds streams back', async () => {
  made();
  await pass(3.2);
  await (await last()).answer(0);
  await pass(0.5);
  await (await last()).answer();
  assert.ok((await last()).isStream);
});

test('the first bytes of a busy page count though its timer is due before them', async () => {
  made();
  const request = await last();
  await pass(2.7);
  await request.stream(opened());
  await pass(1);
  assert.ok(request.isRunning);
});

for (const [how, stop] of Object.entries({
  'are reset at once': async (request) => request.answer(0),
  'end behind their first event': async (request) => {
    await request.stream(opened());
    await request.stop(false);
  },
  'get 502': async (request) => request.answer(502, '', {}),
})) {
  test(`where streams ${how} three times the client polls`, async () => {
    made();
    for (let round = 0; round < 3; round++) {
      const request = await last();
      assert.ok(request.isStream);
      await stop(request);
      await pass(1.2);
      await (await last()).answer();
      await pass(0.1);
    }
    assert.ok(!(await last()).isStream);
    assert.equal(client.transport, 'poll');
  });
}

test('a stream that lasts between two that end at once makes them none of three in a row', async () => {
  made();
  for (let round = 0; round < 6; round++) {
    const request = await last();
    assert.ok(request.isStream);
    await request.stream(opened());
    if (round % 2) await pass(6);
    await request.stop();
    await pass(1.2);
    if (round % 2) continue;
    await (await last()).answer();
    await pass(0.1);
  }
  assert.ok((await last()).isStream);
  assert.deepEqual(told, ['connected']);
});

test('a server that is away for long is told, and asked for its position until it is back', async () => {
  const request = await listening();
  await pass(6);
  await request.stop();
  await pass(1.1);
  await (await last()).answer(0);
  for (let round = 0; round < 3; round++) {
    await pass(1.1);
    const asking = await last();
    assert.ok(!asking.isStream);
    await asking.answer(0);
  }
  assert.deepEqual(told, ['connected', 'disconnected error', ...Array(3).fill('error Failed to fetch')]);
  await pass(1.1);
  await (await last()).answer();
  assert.ok((await last()).isStream);
});

test('a server that knows no streams answers with its position and what is due; polls follow, and nothing is lost', async () => {
  made();
  client.setCursor('a', '5').execute();
  const first = await last();
  assert.ok(first.isStream);
  await first.answer(200, ' \r\n[\n  {\n    "ids": { "a": "7" },\n    "data": 7\n  }\n]', { 'X-Realplexor-Cursor': '1000', 'Content-Type': 'text/javascript' });
  assert.deepEqual(got, [7]);
  const second = await last();
  assert.match(second.url, /\?identifier=7:a&ncrnd=\d+&json&timeout=25&client=\d+$/);
  assert.equal(requests.length, 3); // the first was given up for the cursor
});

test('an old server, which sends its head at once and no position, is polled as of old', async () => {
  made();
  await (await last()).head({ 'Content-Type': 'text/javascript; charset=utf-8' });
  await pass(10.1);
  const second = await last();
  assert.match(second.url, /\?identifier=a&ncrnd=\d+&json&timeout=25&client=\d+$/);
  await second.head();
  await pass(100);
  assert.equal(requests.length, 2);
  assert.deepEqual(told, []);
});

test('without what streams need, in the class of old pages, and where the page wants it, the client polls', async () => {
  const original = globalThis.ReadableStream;
  delete globalThis.ReadableStream;
  made();
  assert.ok(!(await last()).isStream);
  client.close();
  globalThis.ReadableStream = original;
  made(['a'], {}, Dklab_Realplexor);
  assert.ok(!(await last()).isStream);
  client.close();
  for (const transports of [['poll'], ['poll', 'stream']]) {
    made(['a'], { transports });
    assert.ok(!(await last()).isStream);
    client.close();
  }
});

test('long lists of channels travel in a POST', async () => {
  const ids = Array.from({ length: 300 }, (_, i) => `channel_${i}`);
  const request = await listening(ids);
  assert.equal(request.method, 'POST');
  assert.equal(request.list, ids.join());
  await request.send(message({ channel_7: '1001' }, 7));
  assert.deepEqual(got, [7]);
});

test('transports that there are none of are refused', () => {
  client = new Realplexor(URL_);
  for (const transports of [['tcp'], [], 'sse', [1], ['stream', 'tcp'], true, {}]) {
    assert.throws(() => new Realplexor(URL_, { transports }), /Option "transports" cannot be/, String(transports));
  }
});

test('a page that leaves, or is offline, ends its stream; back again it goes on from its cursor', async () => {
  const request = await listening(['a'], message({ a: '1001' }, 1));
  page.dispatchEvent(new Event('pagehide'));
  assert.ok(!request.isRunning);
  page.dispatchEvent(new Event('pageshow'));
  const second = await last();
  assert.equal(second.list, '1001:a');
  assert.ok(second.isStream);
  await second.stream(opened());
  page.dispatchEvent(new Event('offline'));
  assert.ok(!second.isRunning);
  page.dispatchEvent(new Event('online'));
  await settled();
  assert.deepEqual(told, ['connected', 'disconnected hidden', 'connected', 'disconnected offline']);
});

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Default, Dklab_Realplexor, Realplexor, faults } from './checked.mjs';
import { ScriptedServer, reply, script } from './scripted.mjs';

let server;
let client;

const POLLS = { transports: ['poll'] };

async function listen(answer, options) {
  server = await ScriptedServer.start(answer);
  client = new Realplexor(server.url, { ...POLLS, ...options });
  return client;
}

afterEach(() => {
  client?.close();
  server?.stop();
  assert.deepEqual(faults, []);
});

/** Returns a promise of the next event of this type. */
const event = (type) => new Promise((resolve) => client.on(type, resolve));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs `action` and returns what was written to console.error. */
async function errorsOf(action) {
  const original = console.error;
  const written = [];
  console.error = (...what) => written.push(what);
  try {
    await action();
  } finally {
    console.error = original;
  }
  return written;
}

test('the first poll asks for the position, the next waits from there', async () => {
  await listen(script());
  client.subscribe('a', () => {}).subscribe('b', () => {});
  const first = await server.poll(0);
  assert.deepEqual([first.method, first.list, first.asks], ['GET', 'a,b', true]);
  assert.match(first.url, /^\/\?identifier=a,b&ncrnd=\d+&json&position$/);
  const second = await server.poll(1);
  assert.deepEqual([second.list, second.asks], ['1000.000000:a,1000.000000:b', false]);
  assert.match(second.url, /&json&timeout=25&client=\d{16,64}$/);
  await client.ready;
  assert.equal(client.connected, true);
  assert.equal(client.getCursor('a'), '1000.000000');
  await sleep(50);
  assert.equal(server.polls.length, 2);
});

test('each client has a name of its own, and keeps it', async () => {
  const names = [];
  for (let turn = 0; turn < 2; turn++) {
    server = await ScriptedServer.start(script((response) => reply(response, [{ ids: { a: '1000.5' }, data: 1 }])));
    client = new Realplexor(server.url, POLLS);
    client.subscribe('a', () => {});
    const polls = [await server.poll(1), await server.poll(2)];
    names.push(...polls.map(({ url }) => /&client=(\w{16,64})$/.exec(url)[1]));
    client.close();
    server.stop();
  }
  assert.equal(names[0], names[1]);
  assert.equal(names[2], names[3]);
  assert.notEqual(names[0], names[2]);
});

test('a message calls back with data, id and cursor; the next poll starts behind it', async () => {
  await listen(script((response) => reply(response, [{ ids: { a: '1000.5' }, data: { x: [1, 'й'] } }])));
  const got = [];
  client.subscribe('a', (...values) => got.push(values));
  const third = await server.poll(2);
  assert.deepEqual(got, [[{ x: [1, 'й'] }, 'a', '1000.5']]);
  assert.equal(third.list, '1000.5:a');
});

test('one function subscribed twice is called once, and ended by as many unsubscribes', async () => {
  const message = (cursor) => (response) => reply(response, [{ ids: { a: cursor }, data: cursor }]);
  await listen(script(message('1001'), message('1002'), message('1003')));
  const got = [];
  const callback = (data) => {
    got.push(data);
    client.unsubscribe('a', callback);
  };
  client.subscribe('a', callback).subscribe('a', callback).subscribe('a', () => {});
  await server.poll(4);
  assert.deepEqual(got, ['1001', '1002']);
});

test('for old pages the same function twice in one id is kept once', async () => {
  server = await ScriptedServer.start(script());
  client = new Dklab_Realplexor(server.url);
  const callback = () => {};
  client.subscribe('a', callback).subscribe('a', callback).subscribe('b', callback).unsubscribe('a', callback);
  assert.equal((await server.poll(0)).list, 'b');
});

test('for old pages bad input is left out, and the rest goes on', async () => {
  server = await ScriptedServer.start(script());
  client = new Dklab_Realplexor(server.url);
  const written = await errorsOf(async () => {
    client.subscribe('a.b', () => {}).subscribe(['c', undefined, null, NaN, {}, true], () => {}).subscribe('d', 'alert(1)');
    client.subscribe('alpha', () => {}).setCursor('alpha', 'abc').subscribe('beta', () => {}).setCursor('beta', 7);
    client.unsubscribe('x y').execute();
    assert.equal((await server.poll(0)).list, 'c,7:beta');
    await client.ready;
    client.setCursor('alpha', 5);
    assert.match((await server.poll(2)).list, /,5:alpha,7:beta$/);
  });
  assert.equal(written.length, 9);
  assert.match(written[0].join(' '), /left out: Identifier must match .*, "a.b" given/);
});

test('for old pages a namespace or a login that is none leaves out all', async () => {
  server = await ScriptedServer.start(script());
  await errorsOf(async () => {
    client = new Dklab_Realplexor(server.url, 'n s');
    client.subscribe('a', () => {}).execute();
    client.close();
    client = new Dklab_Realplexor(server.url).logon('a b').subscribe('a', () => {});
    client.execute();
    await sleep(30);
    assert.equal(server.polls.length, 0);
    client.logon('anna');
    assert.equal((await server.poll(0)).list, 'anna_a');
  });
});

test('ids have dots and dashes behind the first character', async () => {
  await listen(script());
  const ids = ['0b5f2d3e-9c1a-4f7e-8d21-1f0a6c3b9e55', 'user.7', 'private-room-7'];
  client.subscribe(ids, () => {}).execute();
  assert.equal((await server.poll(0)).list, ids.join(','));
  for (const id of ['-a', '.a', 'a/b', 'a@b', 'a b']) assert.throws(() => client.subscribe(id, () => {}), TypeError);
});

test('ids are text or whole numbers, and what String() makes of others is nobody', async () => {
  await listen(script());
  for (const id of [undefined, null, NaN, Infinity, true, {}, [['a', 'b']], Symbol('a'), 1.5, -1, () => 'a']) {
    assert.throws(() => client.subscribe([id], () => {}), { name: 'TypeError', message: /^Identifier must match \/.*\/, ".*" given$/ });
    assert.throws(() => client.unsubscribe([id]), TypeError);
    assert.throws(() => client.setCursor([id], 1), TypeError);
  }
  for (const id of [undefined, null, NaN]) assert.throws(() => client.subscribe(id, () => {}), TypeError);
  for (const login of [NaN, true, {}]) assert.throws(() => client.logon(login), TypeError);
  for (const namespace of [NaN, true]) assert.throws(() => new Realplexor(server.url, namespace), TypeError);
  for (const cursor of [NaN, true, [5], {}]) assert.throws(() => client.setCursor('a', cursor), TypeError);
  client.subscribe(7, () => {}).subscribe(8n, () => {}).setCursor(7, 5n);
  assert.equal((await server.poll(0)).list, '5:7,8');
});

test('unknown options and events, and options that cannot be, are refused', async () => {
  await listen(script());
  const made = (options) => () => new Realplexor(server.url, options);
  assert.throws(made({ namespcae: 'a' }), { name: 'TypeError', message: /^Unknown option "namespcae"; there are namespace, login, / });
  assert.throws(made({ toString: 1 }), /Unknown option/);
  for (const [name, values] of Object.entries({
    timeout: [-1, NaN, '25', true],
    waitTimeout: [-1, NaN, '300', true],
    reconnectDelay: [-1, NaN, '1'],
    maxBounces: [-1, NaN, '1'],
    credentials: ['yes', true, ''],
    identifier: ['a=', '', 'a b', 'x\r\n'],
  })) {
    for (const value of values) assert.throws(made({ [name]: value }), new RegExp(`Option "${name}" cannot be`), `${name} ${value}`);
  }
  made({ waitTimeout: undefined, credentials: null, namespace: undefined, login: null, debug: false })().close();
  for (const type of ['mesage', 'close', undefined, 'toString']) {
    assert.throws(() => client.on(type, () => {}), { name: 'TypeError', message: /^Unknown event ".*"; there are connected, / });
    assert.throws(() => client.off(type, () => {}), TypeError);
  }
  for (const listener of [undefined, null, 'alert(1)']) assert.throws(() => client.on('gap', listener), /Listener must be a function/);
});

test('only addresses that can be polled are taken', () => {
  for (const url of ['ws://h/', 'wss://h/', 'ftp://h/', 'file:///x', 'javascript:1', 'data:,x', 'http://u:p@h/', 'https://u@h/']) {
    assert.throws(() => new Realplexor(url), { name: 'TypeError', message: `Address must be http://HOST/ or https://HOST/, "${url}" given` });
  }
  for (const url of ['/rpl/', 'rpl', '//h/', null, undefined, '']) {
    assert.throws(() => new Realplexor(url), { name: 'TypeError', message: `Address must be http://HOST/ or https://HOST/, "${url || '/'}" given` });
  }
  for (const url of ['http://h', 'HTTP://h/', 'https://h:8088/rpl/?0#x', new URL('https://h/')]) new Realplexor(url).close();
});

test('a refusal has its status', async () => {
  await listen(script((response) => response.writeHead(429).end('slow down\n')));
  client.subscribe('a', () => {});
  const { error } = await event('error');
  assert.deepEqual([error.status, error.message], [429, 'HTTP 429: slow down']);
});

test('a promise of `ready` that nobody waits for any more is no unhandled rejection', async () => {
  const rejected = [];
  const note = (reason) => rejected.push(reason);
  process.on('unhandledRejection', note);
  await listen(() => {});
  client.subscribe('a', () => {});
  client.ready.then(() => assert.fail());
  (async () => {
    await client.ready;
    assert.fail();
  })();
  client.close();
  await sleep(30);
  process.off('unhandledRejection', note);
  assert.deepEqual(rejected, []);
});

/** Answers in the server's own form, with the messages as they are given. */
function raw(response, ...messages) {
  const blocks = messages.map((text, i) => `  {\n    "ids": { "a": "${1001 + i}" },\n    "data": ${text}\n  }`);
  response.writeHead(200).end(` \r\n[\n${blocks.join(',\n')}\n]`);
}

test('a message that is no JSON costs no other, and is told', async () => {
  await listen(script((response) => raw(response, '"first"', 'hello, "x', '{"k": [1,\n{}]}', '{')));
  const got = [];
  const told = [];
  client.on('error', ({ error, ids }) => told.push([error.name, ids]));
  client.subscribe('a', (data) => got.push(data));
  assert.equal((await server.poll(2)).list, '1004:a');
  assert.deepEqual(got, ['first', { k: [1, {}] }]);
  assert.deepEqual(told, [['SyntaxError', ['a']], ['SyntaxError', ['a']]]);
});

test('a long number and deep arrays are read', async () => {
  await listen(script((response) => raw(response, '1'.repeat(4301), '['.repeat(900) + ']'.repeat(900))));
  const got = [];
  client.subscribe('a', (data) => got.push(data));
  assert.equal((await server.poll(2)).list, '1002:a');
  assert.equal(got[0], Infinity);
});

test('an answer that is cut loses no message', async () => {
  const text = ' \r\n[\n  {\n    "ids": { "a": "1001" },\n    "data": "first"\n  },\n  {\n    "ids": { "a": "1002" },\n    "data": "sec';
  await listen(script((response) => response.writeHead(200).end(text), (response) => raw(response, '"first"', '"second"')));
  const got = [];
  client.subscribe('a', (data) => got.push(data));
  assert.equal((await server.poll(4)).list, '1002:a');
  assert.deepEqual(got, ['first', 'second']);
});

test('a server without a timeout is waited for, and not hammered when it refuses', async () => {
  await listen(script((response) => response.writeHead(503).end()), { timeout: 0, waitTimeout: 0, maxBounces: 0 });
  client.subscribe('a', () => {});
  await event('error');
  const polls = server.polls.length;
  await sleep(300);
  assert.equal(server.polls.length, polls);
});

test('one message in two ids calls back for each, the same function twice in one id once', async () => {
  await listen(script((response) => reply(response, [{ ids: { a: '1001', b: '1002' }, data: 1 }])));
  const got = [];
  const callback = (data, id) => got.push(id);
  client.subscribe(['a', 'b'], callback).subscribe('a', callback);
  client.subscribe('b', () => got.push('other'));
  await server.poll(2);
  assert.deepEqual(got, ['a', 'b', 'other']);
});

test('namespace and login stand before the id on the wire, and callbacks do not see them', async () => {
  await listen(
    script((response) => reply(response, [{ ids: { anna_ns_a: '1001' }, data: 1 }])),
    { namespace: 'ns_' },
  );
  const got = [];
  client.logon('anna').subscribe('a', (data, id) => got.push(id));
  assert.equal((await server.poll(0)).list, 'anna_ns_a');
  await server.poll(2);
  assert.deepEqual(got, ['a']);
});

test('an exception in a callback is logged, stops nobody else and is no bounce', async () => {
  const message = (cursor) => (response) => reply(response, [{ ids: { a: cursor }, data: cursor }]);
  await listen(script(message('1001'), message('1002'), message('1003')), { maxBounces: 0 });
  const got = [];
  client.subscribe('a', () => {
    throw new Error('boom');
  });
  client.subscribe('a', (data) => got.push(data));
  const written = await errorsOf(() => server.poll(4));
  assert.deepEqual(got, ['1001', '1002', '1003']);
  assert.equal(written.length, 3);
  assert.match(String(written[0][1]), /boom/);
});

test('a message that comes twice is delivered once', async () => {
  const both = [
    { ids: { a: '1001.10' }, data: 'first' },
    { ids: { a: '1001.2' }, data: 'second' },
  ];
  await listen(script((r) => reply(r, both), (r) => reply(r, [...both, { ids: { a: '1001.20' }, data: 'again' }, { ids: { a: '1002' }, data: 'third' }])));
  const got = [];
  client.subscribe('a', (data) => got.push(data));
  await server.poll(3);
  assert.deepEqual(got, ['first', 'second', 'third']);
});

test('a channel added during a poll is polled at once, the others go on from their cursors', async () => {
  await listen(script());
  client.subscribe('a', () => {});
  const waiting = await server.poll(1);
  client.subscribe('b', () => {});
  const asking = await server.poll(2);
  assert.deepEqual([asking.list, asking.asks], ['1000.000000:a,b', true]);
  await server.poll(3);
  while (!waiting.gone) await sleep(5);
});

test('a channel added while the position is asked for does not lose it', async () => {
  const held = [];
  await listen((poll, response) => (poll.asks ? held.push(response) : undefined));
  client.subscribe('a', () => {});
  await server.poll(0);
  client.subscribe('b', () => {});
  await sleep(50);
  assert.equal(server.polls.length, 1);
  reply(held[0], [], { position: '77777.5' });
  const next = await server.poll(1);
  assert.deepEqual([next.list, next.asks], ['77777.5:a,b', true]);
});

test('changes of one task make one poll; a second callback makes none', async () => {
  await listen(script());
  for (const id of ['a', 'b', 'c']) client.subscribe(id, () => {});
  client.unsubscribe('b', null);
  await server.poll(1);
  client.subscribe('a', () => {});
  await sleep(50);
  assert.deepEqual(server.polls.map((poll) => poll.list), ['a,c', '1000.000000:a,1000.000000:c']);
});

test('unsubscribe takes off one callback or all; without ids there is no request', async () => {
  await listen(script());
  const one = () => {};
  const two = () => {};
  client.subscribe('a', one).subscribe('a', two).subscribe('b', one);
  await server.poll(1);
  client.unsubscribe('a', one);
  await sleep(30);
  assert.equal(server.polls.length, 2);
  client.unsubscribe('a', null);
  assert.equal((await server.poll(2)).list, '1000.000000:b');
  const idle = event('disconnected');
  client.unsubscribe('b');
  assert.equal((await idle).reason, 'idle');
  while (!server.polls[2].gone) await sleep(5);
  await sleep(50);
  assert.equal(server.polls.length, 3);
});

test('a channel subscribed again goes on from its cursor', async () => {
  await listen(script());
  client.subscribe('a', () => {});
  await client.ready;
  client.unsubscribe('a').execute();
  client.subscribe('a', () => {});
  assert.equal((await server.poll(server.polls.length)).list, '1000.000000:a');
  await client.ready;
});

test('setCursor goes on the wire as the text given; null means from now', async () => {
  await listen(script());
  client.setCursor('a', '12345.670').subscribe('a', () => {}).subscribe('b', () => {}).setCursor('b', 7);
  assert.equal((await server.poll(0)).list, '12345.670:a,7:b');
  await server.poll(1);
  client.setCursor('a', null);
  assert.equal((await server.poll(2)).list, 'a,7:b');
});

test('from 1700 characters on the list travels in a simple POST', async () => {
  await listen(script());
  const ids = Array.from({ length: 300 }, (_, i) => `channel_${i}`);
  client.subscribe(ids, () => {});
  const poll = await server.poll(0);
  assert.equal(poll.method, 'POST');
  assert.equal(poll.body, `identifier=${ids.join()}\n`);
  assert.match(poll.url, /^\/\?ncrnd=\d+&json&position$/);
  assert.match(poll.type, /^text\/plain/);
});

test('an address with a query keeps it', async () => {
  server = await ScriptedServer.start(script());
  client = new Dklab_Realplexor(server.url + 'rpl/?0#part', null, true);
  client.subscribe('a', () => {});
  assert.match((await server.poll(0)).url, /^\/rpl\/\?0&identifier=a&ncrnd=/);
});

/** Returns a handler that answers each poll in turn, whether it asks for the position or not. */
const inTurn = (...steps) => (poll, response) => steps.shift()?.(response);

test('a gap is told with the ids, before the messages, and once', async () => {
  await listen(
    inTurn(
      (response) => reply(response),
      (response) => reply(response, [{ ids: { ns_a: '2001' }, data: 1 }], { position: '3000', gaps: ['ns_a', 'ns_b'] }),
      (response) => reply(response, [], { position: '3001', gaps: ['ns_b'] }),
    ),
    { namespace: 'ns_' },
  );
  const seen = [];
  client.on('gap', ({ ids }) => seen.push(ids));
  client.subscribe(['a', 'b', 'c'], () => seen.push('message'));
  const asking = await server.poll(2);
  assert.deepEqual([asking.list, asking.asks], ['2001:ns_a,1000.000000:ns_b,1000.000000:ns_c', true]);
  const waiting = await server.poll(3);
  assert.deepEqual([waiting.list, waiting.asks], ['2001:ns_a,3001:ns_b,1000.000000:ns_c', false]);
  assert.deepEqual(seen, [['a', 'b'], 'message']);
});

test('a gap of `*` is one of all channels of the poll', async () => {
  await listen(
    inTurn(
      (response) => reply(response),
      (response) => reply(response, [{ ids: { ns_a: '2001' }, data: 1 }], { position: '3000', gaps: ['*'] }),
      (response) => reply(response, [], { position: '3001', gaps: ['*'] }),
    ),
    { namespace: 'ns_' },
  );
  const seen = [];
  client.on('gap', ({ ids }) => seen.push(ids));
  client.subscribe(['a', 'b'], () => seen.push('message'));
  assert.equal((await server.poll(3)).list, '3001:ns_a,3001:ns_b');
  assert.deepEqual(seen, [['a', 'b'], 'message', ['a']]);
});

test('behind a gap nothing is lost when the answer was cut before the messages of that channel', async () => {
  await listen(
    inTurn(
      (response) => reply(response),
      (response) => reply(response, [{ ids: { a: '2001' }, data: 1 }], { position: '3000', gaps: ['a', 'b'] }),
      (response) => reply(response, [{ ids: { b: '2002' }, data: 2 }], { position: '3001', gaps: ['b'] }),
    ),
  );
  const seen = [];
  client.on('gap', ({ ids }) => seen.push(ids));
  client.subscribe(['a', 'b'], (data) => seen.push(data));
  assert.equal((await server.poll(3)).list, '2001:a,2002:b');
  assert.deepEqual(seen, [['a', 'b'], 1, 2]);
});

test('from a cursor ahead of the server a channel goes on from the present', async () => {
  await listen(
    inTurn(
      (response) => reply(response, [{ ids: { a: '3002' }, data: 1 }], { position: '3000', gaps: ['a'] }),
      (response) => reply(response, [{ ids: { a: '3003' }, data: 2 }], { position: '3004' }),
    ),
  );
  const seen = [];
  client.on('gap', ({ ids }) => seen.push(ids));
  client.setCursor('a', '9999').subscribe('a', (data) => seen.push(data));
  assert.equal((await server.poll(0)).list, '9999:a');
  assert.equal((await server.poll(2)).list, '3003:a');
  assert.deepEqual(seen, [['a'], 1, 2]);
});

test('a gap after the connection was lost is told again, also at the same cursor', async () => {
  const gap = (response) => reply(response, [{ ids: { a: '2001' }, data: 1 }], { position: '3000', gaps: ['b'] });
  await listen(inTurn((response) => reply(response), gap, (response) => response.destroy(), gap));
  const seen = [];
  client.on('gap', ({ ids }) => seen.push(ids));
  client.subscribe(['a', 'b'], () => {});
  await server.poll(4);
  assert.deepEqual(seen, [['b'], ['b']]);
});

test('broken answers and refusals are told, and the client goes on', async () => {
  const broken = (text, status = 200) => (response) => response.writeHead(status).end(text);
  await listen(script(broken('[{"ids":'), broken('{}'), broken('[1]'), broken('access denied\n', 403), (r) => r.destroy()));
  const told = [];
  client.on('error', ({ error }) => told.push(error.message));
  client.subscribe('a', () => {});
  await server.poll(10); // asks and waits, five times in vain and once well
  assert.equal(told.length, 4, 'a reset is told only where the next question fails, too');
  assert.match(told[0], /JSON/);
  assert.match(told[1], /no list of messages/);
  assert.match(told[2], /no list of messages/);
  assert.equal(told[3], 'HTTP 403: access denied');
  assert.equal(client.getCursor('a'), '1000.000000');
});

test('what a server refuses for is in the console, once until it answers or says something else', async () => {
  const refused = (text) => (response) => response.writeHead(503).end(`${text}\n`);
  const said = [];
  const original = console.error;
  console.error = (text) => said.push(text);
  try {
    const steps = [refused('use rplx serve'), refused('use rplx serve'), refused('later'), refused('later')];
    steps.push((response) => reply(response), refused('later'));
    await listen((poll, response) => steps.shift()?.(response));
    const statuses = [];
    client.on('error', ({ error }) => statuses.push(error.status));
    client.subscribe('a', () => {});
    await server.poll(6);
    assert.deepEqual(statuses, [503, 503, 503, 503, 503]);
  } finally {
    console.error = original;
  }
  assert.deepEqual(said, ['use rplx serve', 'later', 'later'].map((text) => `Realplexor: HTTP 503: ${text}`));
});

test('past the bounces allowed the delay is 1000 + 500 k² ms less jitter, 60 s at most; a message resets it', async () => {
  const original = globalThis.setTimeout;
  const delays = [];
  // The client's delays between polls are noted, then cut short. The timers of fetch are left alone.
  globalThis.setTimeout = (action, ms, ...rest) => {
    const isDelay = ms > 1000 && ms <= 60_000 && ms !== 10_000 && ms !== 35_000 && new Error().stack.includes('/js/src/client.js');
    if (isDelay) delays.push(ms);
    return original(action, isDelay ? 1 : ms, ...rest);
  };
  try {
    const empty = Array.from({ length: 13 }, () => (response) => reply(response));
    const good = (response) => reply(response, [{ ids: { a: '1001' }, data: 1 }]);
    await listen(script(...empty, good, (response) => reply(response)), { maxBounces: 2, waitTimeout: 300 });
    client.subscribe('a', () => {});
    await server.poll(16);
  } finally {
    globalThis.setTimeout = original;
  }
  const full = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13].map((k) => Math.min(60_000, 1000 + 500 * k * k));
  assert.equal(delays.length, full.length);
  for (const [i, delay] of delays.entries()) assert.ok(delay <= full[i] && delay >= 0.75 * full[i], `${i}: ${delay}`);
});

test('an empty answer after half the timeout is no bounce', async () => {
  const late = (response) => setTimeout(() => reply(response), 120);
  await listen(script(late, late, late, late), { maxBounces: 0, waitTimeout: 0.2 });
  client.subscribe('a', () => {});
  const started = Date.now();
  await server.poll(5);
  assert.ok(Date.now() - started < 5000); // four bounces take seven seconds and more
});

test('a leap of the clock, as in sleep, makes the client ask the server at once', async () => {
  const original = Date.now;
  await listen(script());
  client.subscribe('a', () => {});
  await server.poll(1);
  try {
    Date.now = () => original() + 60_000;
    const asking = await server.poll(2);
    assert.deepEqual([asking.list, asking.asks], ['1000.000000:a', true]);
    await server.poll(3);
  } finally {
    Date.now = original;
  }
  while (!server.polls[1].gone) await sleep(5);
  assert.equal(client.connected, true);
});

test('a server that gives no position is polled as of old', async () => {
  await listen((poll, response) => {
    if (server.polls.length < 3) reply(response, [{ ids: { a: String(server.polls.length) }, data: 1 }], { position: null });
  });
  const got = [];
  client.subscribe('a', (data, id, cursor) => got.push(cursor));
  await server.poll(2);
  assert.deepEqual(got, ['1', '2']);
  client.subscribe('b', () => {});
  const next = await server.poll(3);
  assert.deepEqual([next.list, next.asks], ['2:a,b', false]);
});

test('never more than one request in flight', async () => {
  const original = globalThis.fetch;
  let inFlight = 0;
  let most = 0;
  globalThis.fetch = async (url, options) => {
    let isCounted = true;
    const done = () => {
      if (isCounted) inFlight--;
      isCounted = false;
    };
    most = Math.max(most, ++inFlight);
    options.signal.addEventListener('abort', done);
    try {
      return await original(url, options);
    } finally {
      done();
    }
  };
  try {
    await listen(script((r) => reply(r, [{ ids: { a: '1001' }, data: 1 }]), (r) => reply(r, [{ ids: { a: '1002' }, data: 2 }])));
    client.subscribe('a', (data) => {
      client.subscribe(`more_${data}`, () => {});
      client.execute();
    });
    for (let i = 0; i < 20; i++) {
      client.subscribe(`id_${i}`, () => {});
      client.execute();
      await sleep(2);
    }
    await client.ready;
  } finally {
    globalThis.fetch = original;
  }
  assert.equal(most, 1);
});

test('close ends the request for good', async () => {
  await listen(script());
  client.subscribe('a', () => assert.fail());
  const waiting = await server.poll(1);
  const never = client.subscribe('b', () => {}).ready;
  client.close();
  await assert.rejects(client.ready, /closed/);
  assert.equal(await Promise.race([never.then(() => 'ready', () => 'rejected'), sleep(30)]), undefined);
  assert.throws(() => client.subscribe('a', () => {}), /closed/);
  assert.throws(() => client.execute(), /closed/);
  client.close();
  while (!waiting.gone) await sleep(5);
  await sleep(30);
  assert.equal(server.polls.length, 2);
});

test('a callback may unsubscribe, close and execute', async () => {
  const messages = [1, 2, 3].map((n) => ({ ids: { a: String(1000 + n) }, data: n }));
  await listen(script((response) => reply(response, messages)));
  const got = [];
  client.subscribe('a', function once(data) {
    got.push(data);
    client.unsubscribe('a', once);
    client.subscribe('a', (later) => got.push(-later));
    client.execute();
  });
  await server.poll(2);
  assert.deepEqual(got, [1, -2, -3]);
});

test('bad input is refused clearly', async () => {
  await listen(script());
  assert.throws(() => client.subscribe('a b', () => {}), { name: 'TypeError', message: 'Identifier must match /^\\w[\\w.-]*$/, "a b" given' });
  assert.throws(() => client.subscribe('', () => {}), /Identifier must match .*, "" given/);
  assert.throws(() => client.subscribe(['ok', 'ж'], () => {}), /"ж" given/);
  assert.throws(() => client.subscribe('a', 'alert(1)'), /Callback must be a function, "alert\(1\)" given/);
  assert.throws(() => client.setCursor('a', '1e5'), /Cursor must be numeric, "1e5" given/);
  assert.throws(() => client.setCursor('a', -1), /Cursor must be numeric/);
  assert.throws(() => client.logon('a b'), /Login must be alphanumeric, "a b" given/);
  assert.throws(() => new Realplexor(server.url, 'n s'), /Namespace must be alphanumeric, "n s" given/);
  assert.throws(() => new Realplexor('not an address'), /Address must be http:/);
  await sleep(30);
  assert.equal(server.polls.length, 0);
});

test('the old name is a class of its own, which is the modern one but for what it does with bad input', () => {
  assert.equal(Object.getPrototypeOf(Dklab_Realplexor), Realplexor);
  assert.equal(Default, Realplexor);
});

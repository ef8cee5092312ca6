/** Grants in the client (protocol page, part 12): when it asks for one, what its requests bring, and where it stops. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { Realplexor } from './checked.mjs';
import { begin, end, last, message, opened, page, pass, requests, settled } from './network.mjs';

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
/** A grant that counts for so many seconds; `name` tells one from another. */
const grant = (name, seconds = 600) => `${part({ alg: 'HS256' })}.${part({ sub: name, iat: 1000, exp: 1000 + seconds })}.c2ln`;
const answer = (headers) => ({ 'X-Realplexor-Cursor': '1000', ...headers });
const expired = [401, 'the grant has expired\n', { 'X-Realplexor-Cursor': '1000', 'WWW-Authenticate': 'Bearer error="invalid_token"' }];
let client;
let got;
let told;
let asked; // how often the page was asked for a grant
let given; // what it gives, in turn, the last for ever; errors are thrown

beforeEach(() => {
  begin();
  asked = 0;
});
afterEach(() => {
  client?.close();
  end();
});

async function source() {
  asked++;
  const next = given.length > 1 ? given.shift() : given[0];
  if (next instanceof Error) throw next;
  return next;
}

function made(ids = ['a'], options = {}) {
  got = [];
  told = [];
  client = new Realplexor('http://site.example/', { grant: source, transports: ['poll'], ...options });
  for (const type of ['connected', 'disconnected', 'error', 'refused']) {
    client.on(type, ({ reason, ids, error, status }) => told.push([type, status, reason ?? error?.message ?? ids].filter(Boolean).join(' ')));
  }
  client.subscribe(ids, (data) => got.push(data)).execute();
  return client;
}

/** Which grant a request brings. */
function brought({ method, body }) {
  assert.equal(method, 'POST');
  const token = /\ngrant=(\S+)\n$/.exec(body)[1];
  return JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).sub;
}

test('requests wait for a grant, and bring it behind the marker, where no preflight is needed', async () => {
  let give;
  made(['a', 'b'], { grant: () => new Promise((resolve) => (give = resolve)) });
  await settled();
  assert.equal(requests.length, 0);
  give(`  ${grant('one')}\n`);
  const request = await last();
  assert.match(request.body, /^identifier=a,b\ngrant=[\w-]+\.[\w-]+\.[\w-]+\n$/);
  assert.doesNotMatch(request.url, /grant|identifier/);
  await request.answer();
  await pass(0.1);
  const next = await last();
  assert.equal(brought(next), 'one');
  assert.match(next.body, /^identifier=1000:a,1000:b\n/);
});

test('a text is a grant, too, and cannot be renewed', async () => {
  made(['a'], { grant: grant('one') });
  const request = await last();
  assert.equal(brought(request), 'one');
  await request.answer(...expired);
  await pass(120);
  assert.equal(requests.length, 1);
  assert.deepEqual(told, ['refused 401 a']);
});

test('what is no grant is no option', () => {
  for (const wrong of ['', 'a.b', 'a b.c.d', 5, {}, true]) assert.throws(() => new Realplexor('http://site.example/', { grant: wrong }), /Option "grant" cannot be/, wrong);
});

test('the next grant is asked for 10 to 25 s before the end of the first, and polls go on with it', async () => {
  given = [grant('one', 600), grant('two', 600)];
  made(['a'], { timeout: 0, waitTimeout: 0 });
  await (await last()).answer();
  await pass(0.1);
  const request = await last();
  await pass(570);
  assert.equal(asked, 1);
  await pass(25);
  assert.equal(asked, 2);
  assert.equal(await last(), request);
  await request.answer(); // as the server ends it with its grant
  await pass(0.1);
  assert.equal(brought(await last()), 'two');
  assert.deepEqual(told, ['connected']);
});

test('the word of the server counts, in seconds from its answer', async () => {
  given = [grant('one', 600), grant('two', 600)];
  made();
  await (await last()).answer(200, ' \r\n', answer({ 'X-Realplexor-Grant-TTL': '40' }));
  await pass(14);
  assert.equal(asked, 1);
  await pass(17);
  assert.equal(asked, 2);
});

test('of grants that last 5 s none is a bounce, however many there are', async () => {
  given = Array.from({ length: 50 }, (_, turn) => grant(`short ${turn}`, 5));
  made(['a'], { timeout: 0 });
  await (await last()).answer();
  for (let turn = 1; turn <= 40; turn++) {
    await pass(0.1);
    const request = await last();
    await pass(2.5);
    assert.ok(asked > turn);
    await request.answer();
  }
  assert.deepEqual(told, ['connected']);
});

test('a stream goes over to the next grant from where it is, and loses and doubles nothing', async () => {
  given = [grant('one'), grant('two')];
  made(['a', 'b'], { transports: ['stream', 'poll'] });
  const first = await last();
  assert.ok(first.isStream);
  assert.equal(brought(first), 'one');
  await first.stream(opened(), message({ a: '1001' }, 1), 'event: expires\ndata: {"in":25}\n\n');
  await pass(15);
  const second = await last();
  assert.notEqual(second, first);
  assert.equal(brought(second), 'two');
  assert.match(second.body, /^identifier=1001:a,1000:b\n/);
  await second.stream(opened('1002'), message({ a: '1001' }, 1), message({ a: '1002' }, 2));
  assert.deepEqual(got, [1, 2]);
  assert.equal(asked, 2);
  assert.equal(client.transport, 'stream');
  assert.deepEqual(told, ['connected']);
});

for (const transports of [['poll'], ['stream', 'poll']]) {
  test(`${transports}: a grant that has ended is asked for once more, and the cursors stay`, async () => {
    given = [grant('one'), grant('two'), grant('three'), grant('four')];
    made(['a'], { transports });
    await (await last()).answer(...expired);
    const second = await last();
    assert.equal(brought(second), 'two');
    await second.answer(200, ' \r\n[{"ids":{"a":"1001"},"data":1}]');
    await pass(0.1);
    const third = await last();
    assert.equal(third.isStream, transports[0] === 'stream');
    await third.answer(...expired);
    const fourth = await last();
    assert.equal(brought(fourth), 'three');
    assert.match(fourth.body, /^identifier=1001:a\n/);
    assert.deepEqual(got, [1]);
  });

  test(`${transports}: a new grant that is not taken either stops the client, which is no guest`, async () => {
    given = [grant('one'), grant('two'), grant('three')];
    made(['a', 'b'], { transports });
    await (await last()).answer(...expired);
    await (await last()).answer(...expired);
    await pass(600);
    assert.deepEqual([requests.length, asked], [2, 2]);
    assert.deepEqual(told, ['refused 401 a,b']);
    page.dispatchEvent(new Event('online'));
    assert.equal(brought(await last()), 'three');
  });
}

test('a page whose user has gone stops, with one event, and begins again when it says so', async () => {
  given = [grant('one'), null];
  made();
  await (await last()).answer();
  await pass(0.1);
  await (await last()).answer(...expired);
  await pass(600);
  assert.deepEqual([requests.length, asked], [2, 2]);
  assert.deepEqual(told, ['connected', 'disconnected refused', 'refused 401 a']);
  given = [grant('three')];
  client.execute();
  assert.equal(brought(await last()), 'three');
});

test('what the page of a login gives instead of a grant is none', async () => {
  given = ['<!DOCTYPE html><title>Log in</title>'];
  made();
  await pass(600);
  assert.deepEqual([requests.length, asked, told], [0, 1, ['refused 401 a']]);
});

for (const [what, status, isEnd] of [
  ['200', 200, false],
  ['401', 401, true],
  ['403', 403, true],
  ['502', 502, false],
  ['429', 429, false],
]) {
  test(`a Response of fetch with status ${what} is taken for what it is`, async () => {
    given = [new Response(grant('one'), { status }), new Response(grant('two'))];
    made();
    await pass(5);
    if (isEnd) assert.deepEqual([asked, told], [1, [`refused 401 a`]]);
    else assert.equal(brought(await last()), status === 200 ? 'one' : 'two');
    if (status > 403) assert.deepEqual(told, [`error No grant: HTTP ${status}`]);
  });
}

test('a network that is away is asked again, more rarely each time', async () => {
  given = [new TypeError('Failed to fetch')];
  made(['a'], { maxBounces: 3 });
  await pass(600);
  assert.ok(asked > 5 && asked < 40, `${asked}`);
  assert.ok(told.every((line) => line === 'error Failed to fetch'));
  given = [grant('one')];
  await pass(60);
  assert.equal(brought(await last()), 'one');
});

test('a grant that does not come is given up after 10 s', async () => {
  made(['a'], { grant: () => new Promise(() => {}) });
  await pass(9);
  assert.deepEqual(told, []);
  await pass(2);
  assert.deepEqual(told, ['error No grant has come']);
});

test('while the present grant counts, one that cannot be had is asked for every 5 s, and nobody is told', async () => {
  given = [grant('one', 60), new TypeError('Failed to fetch'), new TypeError('Failed to fetch'), grant('two', 600)];
  made(['a'], { timeout: 0 });
  await (await last()).answer();
  await pass(65);
  assert.equal(asked, 4);
  assert.deepEqual(told, ['connected']);
});

test('what is refused is named once, and the rest is heard', async () => {
  given = [grant('one')];
  made(['a', 'b', 'c']);
  await (await last()).answer(200, ' \r\n', answer({ 'X-Realplexor-Refused': 'b, c' }));
  await pass(0.1);
  await (await last()).answer(200, ' \r\n[{"ids":{"a":"1001"},"data":1}]', answer({ 'X-Realplexor-Refused': 'b,c' }));
  await pass(0.1);
  await (await last()).answer(200, ' \r\n[{"ids":{"c":"1002"},"data":2}]', answer({ 'X-Realplexor-Refused': 'b' }));
  await pass(0.1);
  await (await last()).answer(200, ' \r\n[{"ids":{"a":"1003"},"data":3}]', answer({ 'X-Realplexor-Refused': 'b,c' }));
  assert.deepEqual(told, ['refused 403 b,c', 'connected', 'refused 403 c'].sort((x, y) => (x === 'connected' ? -1 : 0)));
  assert.deepEqual(got, [1, 2, 3]);
});

test('a star stands for all channels, where their list would be long', async () => {
  given = [grant('one')];
  made(['a', 'b']);
  await (await last()).answer(200, ' \r\n', answer({ 'X-Realplexor-Refused': '*' }));
  assert.deepEqual(told, ['connected', 'refused 403 a,b']);
});

test('a stream names what is refused by an event', async () => {
  given = [grant('one')];
  made(['a', 'b'], { transports: ['stream', 'poll'] });
  await (await last()).stream(opened(), 'event: refused\ndata: {"ids":["b"]}\n\n', message({ a: '1001' }, 1));
  assert.deepEqual(told, ['connected', 'refused 403 b']);
  assert.deepEqual(got, [1]);
});

test('where nothing is left to listen to the client stops, also without a grant', async () => {
  for (const options of [{}, { grant: null }]) {
    given = [grant('one')];
    made(['a'], options);
    const before = requests.length;
    await (await last()).answer(403, 'nothing left', answer({ 'X-Realplexor-Refused': 'a' }));
    await pass(120);
    assert.equal(requests.length, before || 1);
    assert.deepEqual(told, ['refused 403 a']);
    client.close();
    requests.length = 0;
  }
});

test('a 403 of something on the way is none of ours where there is no grant', async () => {
  made(['a'], { grant: null });
  await (await last()).answer(403, 'a firewall', {});
  await pass(5);
  assert.ok(requests.length > 1);
  assert.deepEqual(told[0], 'error HTTP 403: a firewall');
});

test('a closed page asks for no grant', async () => {
  given = [grant('one', 60)];
  made();
  await (await last()).answer();
  await pass(1);
  client.close();
  await pass(600);
  assert.equal(asked, 1);
});

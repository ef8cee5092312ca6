// Chromium's own WebSocket, without a client of ours (protocol page, part 11).
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { Server, launch, site, until } from './support.mjs';

let browser;
let host;
let server;
let page;

before(async () => {
  host = await site({ '/': '<!DOCTYPE html><title>A site</title>' });
  server = await Server.start({}, '--set', `wait.allowed_origins=http://friend.test:${host.port}`, '--set', 'wait.websocket_deflate=true');
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  host?.stop();
});

beforeEach(async () => {
  page = await (await browser.newContext()).newPage();
});

afterEach(() => page.context().close());

/** Opens `window.socket` on a page of `url`; what it hears stands in `heard`, and how it ended in `ended`. */
async function open(url, target = '', to = server) {
  await page.goto(url);
  await page.evaluate(
    ([address, protocol]) => {
      window.heard = [];
      window.ended = null;
      window.socket = new WebSocket(address, protocol);
      socket.onopen = () => heard.push('opened');
      socket.onmessage = ({ data }) => {
        const value = JSON.parse(data);
        if (!value.at) heard.push(value);
      };
      socket.onclose = ({ code, reason, wasClean }) => (ended = { code, reason, wasClean });
    },
    [`ws://127.0.0.1:${to.wait}/${target}`, 'rplx.1'],
  );
}

const say = (value) => page.evaluate((text) => socket.send(text), JSON.stringify(value));
const heard = (count) => until(async () => (await page.evaluate('heard.length')) >= count && page.evaluate('heard'), `${count} messages`);
const ended = () => until(() => page.evaluate('ended'), 'the end');
const own = () => `${server.url}?identifier=IFRAME`;

test('a page of the same host listens, adds and stops channels', async () => {
  await open(own());
  await heard(1);
  assert.equal(await page.evaluate('socket.protocol'), 'rplx.1');
  assert.equal(await page.evaluate('socket.extensions'), 'permessage-deflate; server_no_context_takeover; client_no_context_takeover');
  await say({ listen: { a: null } });
  assert.deepEqual((await heard(2))[1].gaps, []);
  await server.send('a', 1);
  await heard(3);
  await say({ listen: { b: null } });
  await heard(4);
  await server.send('a,b', 'long '.repeat(1000));
  const both = (await heard(5))[4];
  assert.deepEqual(Object.keys(both.ids), ['a', 'b']);
  assert.equal(both.data, 'long '.repeat(1000));
  await say({ stop: ['a'] });
  await until(async () => (await server.online()).a === '0', 'a is stopped');
  await server.send('a', 2);
  await server.send('b', 3);
  assert.deepEqual((await heard(6)).slice(5).map(({ data }) => data), [3]);
  await page.evaluate("socket.close(1000, 'done')");
  assert.deepEqual(await ended(), { code: 1000, reason: '', wasClean: true });
});

test('a page comes back with its cursors', async () => {
  await open(own(), '?identifier=back');
  await heard(2);
  await server.send('back', 1);
  const cursor = (await heard(3))[2].ids.back;
  await page.evaluate('socket.close()');
  await server.send('back', 2);
  await open(own(), `?identifier=${cursor}:back`);
  assert.deepEqual((await heard(3)).slice(1).map(({ data, gaps }) => data ?? gaps), [[], 2]);
});

test('a page of an origin that is allowed listens', async () => {
  await open(`http://friend.test:${host.port}/`, '?identifier=a');
  await heard(2);
});

test('a page of another site does not', async () => {
  await open(`http://foreign.test:${host.port}/`, '?identifier=a');
  assert.equal((await ended()).code, 1006);
  assert.deepEqual(await page.evaluate('heard'), []);
});

test('a wrong command ends with its reason', async () => {
  await open(own());
  await heard(1);
  await say({ listen: { 'a b': null } });
  const { code, reason, wasClean } = await ended();
  assert.deepEqual([code, JSON.parse(reason).code, wasClean], [4000, 'bad_request', true]);
});

test('a server that ends says when to come back', async () => {
  const short = await Server.start({}, '--set', 'server.drain=1');
  await open(`${short.url}?identifier=IFRAME`, '?identifier=a', short);
  await heard(2);
  await short.stop('SIGTERM');
  const { code, reason } = await ended();
  assert.equal(code, 4200);
  assert.ok(JSON.parse(reason).retry >= 1);
});

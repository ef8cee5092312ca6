/** WebSockets in the client, with npm's `ws` on both sides and a server that says what a test has it say. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { Realplexor, faults } from './checked.mjs';
import { ScriptedServer, reply } from './scripted.mjs';

/** As in a browser, where a handshake that fails is no exception. */
class Quiet extends WebSocket {
  constructor(...given) {
    super(...given);
    this.on('error', () => {});
  }
}

let server;
let sockets; // {url, heard, closed, say, end} of each WebSocket, in turn
let waiting;
let client;
let got;
let told;

beforeEach(() => {
  globalThis.WebSocket = Quiet;
  [sockets, waiting, got, told] = [[], [], [], []];
});

afterEach(() => {
  client?.close();
  server?.stop();
  delete globalThis.WebSocket;
  assert.deepEqual(faults, []);
});

const said = () => waiting.splice(0).forEach((wake) => wake());

/** Waits until `condition` holds, whenever something has come. */
async function until(condition) {
  while (!condition()) await new Promise((wake) => waiting.push(wake));
}

/** Starts a server that hands each WebSocket to `onSocket`, or refuses it without one, and a client. */
async function listen(onSocket, options = {}, ids = ['a']) {
  server = await ScriptedServer.start((poll, response) => {
    if (poll.asks) reply(response);
    said();
  });
  const webSockets = new WebSocketServer({ noServer: true });
  server.server.on('upgrade', (request, socket, head) => {
    if (!onSocket) return socket.end('HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n', said);
    webSockets.handleUpgrade(request, socket, head, (opened) => {
      const seen = { url: request.url, protocol: opened.protocol, heard: [], closed: false };
      seen.say = (frame) => opened.send(JSON.stringify(frame));
      seen.end = (code, reason) => opened.close(code, reason && JSON.stringify(reason));
      sockets.push(seen);
      opened.on('message', (text) => {
        seen.heard.push(JSON.parse(text));
        said();
      });
      opened.on('close', () => {
        seen.closed = true;
        said();
      });
      onSocket(seen);
      said();
    });
  });
  client = new Realplexor(server.url, { transports: ['websocket', 'poll'], ...options });
  for (const type of ['connected', 'disconnected', 'gap', 'error']) {
    client.on(type, ({ reason, ids, error }) => {
      told.push([type, reason ?? error?.message ?? ids].filter(Boolean).join(' '));
      said();
    });
  }
  client.subscribe(ids, (data) => {
    got.push(data);
    said();
  });
}

const opened = (socket) => socket.say({ open: '1000', gaps: [] });

test('a WebSocket listens by its address, and moves cursors by messages and marks', async () => {
  await listen(opened, {}, ['a', 'b']);
  await client.ready;
  assert.equal(client.transport, 'websocket');
  const [socket] = sockets;
  assert.match(socket.url, /^\/\?identifier=a,b&ncrnd=\d+&json&position&client=\d{16,}$/);
  assert.equal(socket.protocol, 'rplx.1');
  socket.say({ ids: { a: '1001', b: '1001' }, data: { x: 1 } });
  socket.say({ news: 1 });
  socket.say({ at: '1003:*,1002:b' });
  socket.say({ ids: { b: '1004' }, data: 'last' });
  await until(() => got.length === 3);
  assert.deepEqual(got, [{ x: 1 }, { x: 1 }, 'last']);
  assert.deepEqual([client.getCursor('a'), client.getCursor('b')], ['1003', '1004']);
  assert.deepEqual([told, server.polls.length], [['connected'], 0]);
});

test('channels that change are told over the same socket, and what comes before its answer counts for nobody', async () => {
  await listen(opened);
  await client.ready;
  const [socket] = sockets;
  client.subscribe('b', (data) => got.push(data));
  await until(() => socket.heard.length === 1);
  assert.deepEqual(socket.heard[0], { stop: [], listen: { a: '1000', b: null } });
  socket.say({ ids: { a: '1001' }, data: 1 });
  socket.say({ open: '1002', gaps: ['a'] });
  socket.say({ ids: { a: '1001' }, data: 1 });
  await client.ready;
  await until(() => got.length === 1);
  assert.equal(client.getCursor('b'), '1002');
  client.unsubscribe('a');
  await until(() => socket.heard.length === 2);
  assert.deepEqual(socket.heard[1], { stop: ['a'], listen: { b: '1002' } });
  assert.deepEqual([sockets.length, got, told], [1, [1], ['connected', 'gap a']]);
  socket.say({ open: '1003', gaps: [] });
  client.unsubscribe('b');
  await until(() => socket.closed);
});

test('long lists of channels and a grant are told by the first command', async () => {
  const ids = Array.from({ length: 300 }, (_, i) => `channel_${i}`);
  const grant = 'aaaa.bbbb.cccc';
  await listen(() => {}, { grant }, ids);
  await until(() => sockets[0]?.heard.length);
  assert.doesNotMatch(sockets[0].url, /identifier|grant/);
  assert.deepEqual(sockets[0].heard[0], { stop: [], listen: Object.fromEntries(ids.map((id) => [id, null])), grant });
});

for (const [code, reason, line] of [
  [4000, { code: 'bad_request', text: 'no such id' }, 'error HTTP 400: no such id'],
  [4003, { code: 'forbidden', text: 'not yours' }, 'error HTTP 403: not yours'],
  [4013, { code: 'too_large', text: 'too many' }, 'error HTTP 413: too many'],
  [4103, { code: 'unavailable', text: 'no engine', retry: 1 }, 'error HTTP 503: no engine'],
]) {
  test(`close ${code} is told as the refusal of a poll would be`, async () => {
    await listen((socket) => socket.end(code, reason));
    await until(() => told.length);
    assert.equal(told[0], line);
  });
}

for (const [what, end] of [
  ['a server that ends', (socket) => socket.end(4200, { code: 'shutting_down', retry: 0 })],
  ['a close without a reason', (socket) => socket.end(1001)],
]) {
  test(`behind ${what} the client goes on from its cursor, and nobody is told`, async () => {
    await listen(opened);
    await client.ready;
    sockets[0].say({ ids: { a: '1001' }, data: 1 });
    await until(() => got.length === 1);
    end(sockets[0]);
    await until(() => sockets.length === 2);
    assert.match(sockets[1].url, /identifier=1001:a&/);
    assert.deepEqual(told, ['connected']);
  });
}

test('where no WebSocket comes to be three times, the client polls', async () => {
  await listen(null);
  await until(() => server.polls.some(({ asks }) => !asks));
  assert.equal(client.transport, 'poll');
  assert.deepEqual(told, ['connected']);
});

test('without WebSocket in the browser the next transport is taken', async () => {
  delete globalThis.WebSocket;
  await listen(opened);
  await until(() => server.polls.some(({ asks }) => !asks));
  assert.equal(sockets.length, 0);
});

test('a client that is closed closes its WebSocket', async () => {
  await listen(opened);
  await client.ready;
  client.close();
  await until(() => sockets[0].closed);
});

// EventSource as Chromium has it, which nobody here wrote: it listens across sites, resumes by itself and is never ended for good.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { Server, launch, site, until } from './support.mjs';

let browser;
let host;

before(async () => {
  host = await site({ '/': '<!DOCTYPE html><title>A page with an EventSource</title>' });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  host?.stop();
});

/** A way to the server that can be cut. */
async function way(server) {
  const sockets = new Set();
  let open = true;
  const listening = createServer((socket) => {
    if (!open) return socket.destroy();
    const onward = connect(server.wait, '127.0.0.1');
    for (const [one, other] of [[socket, onward], [onward, socket]]) {
      sockets.add(one);
      one.on('error', () => other.destroy()).on('close', () => other.destroy()).pipe(other);
    }
  });
  listening.listen(0, '127.0.0.1');
  await once(listening, 'listening');
  return {
    url: `http://127.0.0.1:${listening.address().port}/`,
    cut() {
      open = false;
      for (const socket of sockets) socket.destroy();
    },
    mend() {
      open = true;
    },
    stop() {
      this.cut();
      listening.close();
    },
  };
}

/** Opens a page that listens to `target` of the server, and notes what it hears. */
async function listener(server, target) {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`http://page.test:${host.port}/`);
  await page.evaluate((url) => {
    window.heard = [];
    window.opened = 0;
    window.source = new EventSource(url);
    source.onmessage = ({ data, lastEventId }) => heard.push({ ...JSON.parse(data), lastEventId });
    source.addEventListener('open', ({ data }) => (opened += Boolean(data)));
    source.addEventListener('bye', ({ data }) => (window.bye = JSON.parse(data)));
  }, server.url + target);
  return page;
}

const allowed = () => ['--set', `wait.allowed_origins=http://page.test:${host.port}`];

test('it hears each message once, over connections that break', async () => {
  const server = await Server.start({}, ...allowed());
  const path = await way(server);
  try {
    const page = await listener(path, '?identifier=a,b');
    await until(() => page.evaluate(() => opened === 1), 'the stream opens');
    for (let n = 0; n < 3; n++) await server.send(n % 2 ? 'a' : 'b', `line\n${n}`);
    await until(() => page.evaluate(() => heard.length === 3), 'three messages');
    // Chromium resumes when its connection is gone; what is sent meanwhile comes then.
    path.cut();
    await until(async () => !Number((await server.online()).a), 'it is gone');
    for (let n = 3; n < 6; n++) await server.send('a,b', `line\n${n}`);
    path.mend();
    await until(() => page.evaluate(() => heard.length >= 6), 'what was sent meanwhile');
    await server.send('a', 'line\n6');
    await until(() => page.evaluate(() => heard.length >= 7), 'the last one');
    const heard = await page.evaluate(() => heard);
    assert.deepEqual(heard.map(({ data }) => data), [0, 1, 2, 3, 4, 5, 6].map((n) => `line\n${n}`));
    assert.deepEqual(Object.keys(heard[4].ids), ['a', 'b']);
    for (const { ids, lastEventId } of heard) assert.equal(lastEventId, `${Object.values(ids)[0]}:*`);
  } finally {
    path.stop();
    await server.stop();
  }
});

test('a server that ends tells it when to come back, and it is still there', async () => {
  const server = await Server.start({}, '--set', 'server.drain=0.5', ...allowed());
  const page = await listener(server, '?identifier=a');
  await until(() => page.evaluate(() => opened === 1), 'the stream opens');
  await server.stop('SIGTERM');
  const { retry } = await until(() => page.evaluate(() => window.bye), 'the goodbye');
  assert.ok(retry >= 1000);
  const next = await Server.start({ wait: server.wait }, ...allowed());
  try {
    await until(() => page.evaluate(() => opened === 2), 'it comes back');
    await next.send('a', 'again');
    await until(() => page.evaluate(() => heard.length === 1), 'a message of the next server');
    assert.equal(await page.evaluate(() => source.readyState), 1);
  } finally {
    await next.stop();
  }
});

test('a refusal that passes does not end it', async () => {
  const server = await Server.start({}, '--set', 'wait.max_connections_per_address=1', ...allowed());
  try {
    const first = await fetch(`${server.url}?identifier=a&stream`);
    const page = await listener(server, '?identifier=a');
    await until(() => /more than 1 connections/.test(server.log), 'it is refused');
    await first.body.cancel();
    await until(() => page.evaluate(() => opened === 1), 'it is let in later');
  } finally {
    await server.stop();
  }
});

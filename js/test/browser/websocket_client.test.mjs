// The client by WebSocket, in Chromium against the real server.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { Server, sleep, until } from './support.mjs';
import { assertAll, closeContext, context, events, got, heard, host, leader, nine, open, openContext, options, ready, sendAll, server, startAll, stopAll, tabs, takeOut } from './tabs.mjs';

const SOCKETS = { transports: ['websocket', 'stream', 'poll'] };
const ALONE = { ...SOCKETS, shared: false };

before(startAll);
after(stopAll);
beforeEach(openContext);
afterEach(closeContext);

const transport = ({ page }) => page.evaluate(() => client.transport);
const by = (tab, name = 'websocket') => until(async () => (await transport(tab)) === name, name);

async function numbers(to, number, from = 0) {
  for (let i = from; i < number; i++) {
    await to.send('a', i);
    if (i % 50 === 0) await sleep(5);
  }
}

const assertNumbers = async (tab, number) => {
  await heard(tab, number);
  assert.deepEqual((await got(tab)).map(([, data]) => data), Array.from({ length: number }, (_, i) => i));
};

test('2,000 messages come over one WebSocket, and channels come and go over it', async () => {
  const tab = await open(['a'], { options: ALONE });
  let sockets = 0;
  tab.page.on('websocket', () => sockets++);
  await by(tab);
  await numbers(server, 2000);
  await assertNumbers(tab, 2000);
  const before = sockets;
  await tab.page.evaluate(() => client.subscribe('b', (data, id) => got.push([id, data])).ready);
  await server.send('a,b', 2000);
  await heard(tab, 2002);
  await tab.page.evaluate(() => client.unsubscribe('a').execute());
  await until(async () => !((await server.online()).a > 0), 'a is stopped');
  await server.send('b', 2001);
  await heard(tab, 2003);
  assert.equal(sockets, before);
  assert.deepEqual(await events(tab), ['connected']);
});

test('the module loads WebSockets from beside it', async () => {
  for (const name of ['realplexor', 'websocket']) host.pages[`/${name}.js`] = readFileSync(new URL(`../../${name}.js`, import.meta.url), 'utf8');
  host.pages['/module'] = '<!DOCTYPE html><script type="module">import { Realplexor } from "/realplexor.js"; window.Realplexor = Realplexor;</script>';
  const page = await context.newPage();
  await page.goto(`${host.url}module`);
  await page.waitForFunction(() => window.Realplexor);
  await page.evaluate(
    ([url, options]) => {
      window.got = [];
      window.client = new Realplexor(url, options).subscribe('m', (data) => got.push(data));
      return client.ready;
    },
    [server.url, ALONE],
  );
  await by({ page });
  await server.send('m', 1);
  await until(() => page.evaluate(() => got.length === 1), 'a message');
});

for (const isModule of [false, true]) {
  test(`without the part that has WebSockets the ${isModule ? 'module' : 'script'} goes on by a stream`, async () => {
    await context.route(/websocket/, (route) => route.abort());
    const tab = await open(['a'], { options: ALONE, isModule });
    await ready(tab);
    await by(tab, 'stream');
    await server.send('a', 0);
    await assertNumbers(tab, 1);
  });
}

test('a server that is killed under load is back: nothing is lost or doubled', async () => {
  const own = await Server.start({}, ...options());
  let again;
  try {
    const tab = await open(['a'], { url: own.url, options: ALONE });
    await by(tab);
    await numbers(own, 200);
    await heard(tab, 200);
    await own.stop('SIGKILL');
    again = await Server.start({ wait: own.wait, in_: own.in_ }, ...options());
    await until(async () => (await again.online()).a === '1', 'the listener is back');
    await by(tab);
    await numbers(again, 400, 200);
    await assertNumbers(tab, 400);
  } finally {
    await own.stop('SIGKILL');
    await again?.stop();
  }
});

test('a server that ends says when to come back, and nobody is told', async () => {
  const own = await Server.start({}, ...options(), '--set', 'server.drain=1');
  let again;
  try {
    const tab = await open(['a'], { url: own.url, options: ALONE });
    await by(tab);
    await sleep(5500); // what ends sooner is looked at with a question for the position
    await own.stop('SIGTERM');
    again = await Server.start({ wait: own.wait, in_: own.in_ }, ...options());
    await until(async () => (await again.online()).a === '1', 'the listener is back');
    await again.send('a', 0);
    await assertNumbers(tab, 1);
    assert.ok(!(await events(tab)).includes('error'));
  } finally {
    await own.stop('SIGKILL');
    await again?.stop();
  }
});

test('nine tabs share one WebSocket, also when the tab that leads is killed: nothing is lost or doubled', async () => {
  await nine(SOCKETS);
  let sent = await sendAll(70);
  await assertAll(sent, ...tabs);
  const lead = await leader();
  await by(lead);
  takeOut(lead);
  const sending = sendAll(70, sent.length);
  const session = await context.newCDPSession(lead.page);
  session.send('Page.crash').catch(() => {});
  sent = [...sent, ...(await sending)];
  await assertAll(sent, ...tabs);
  for (const tab of tabs) assert.ok(!(await events(tab)).includes('gap'));
});

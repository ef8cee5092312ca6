// Event streams in the client, and by EventSource itself, in Chromium against the real server.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { Server, sleep, until } from './support.mjs';
import { assertAll, closeContext, context, events, got, heard, host, leader, nine, open, openContext, options, ready, running, sendAll, server, startAll, stopAll, tabs, takeOut } from './tabs.mjs';

const ALONE = { shared: false };

before(startAll);
after(stopAll);
beforeEach(openContext);
afterEach(closeContext);

const transport = ({ page }) => page.evaluate(() => client.transport);
const streams = (tab) => until(async () => (await transport(tab)) === 'stream', 'a stream');

/** Sends 0 to `number` - 1 to channel a, with a pause now and then. */
async function numbers(number, from = 0) {
  for (let i = from; i < number; i++) {
    await server.send('a', i);
    if (i % 50 === 0) await sleep(5);
  }
}

const assertNumbers = async (tab, number) => {
  await heard(tab, number);
  assert.deepEqual((await got(tab)).map(([, data]) => data), Array.from({ length: number }, (_, i) => i));
};

for (const isModule of [false, true]) {
  test(`2,000 messages come over one stream, by the ${isModule ? 'module' : 'script'}`, async () => {
    const tab = await open(['a'], { options: ALONE, isModule });
    await streams(tab);
    const { polls } = tab;
    await numbers(2000);
    await assertNumbers(tab, 2000);
    assert.ok(tab.polls < polls + 20, `${tab.polls - polls} requests`); // a stream may be cut, as by a poll of the script's that comes late
    assert.deepEqual(await events(tab), ['connected']);
  });
}

test('channels come and go, and a server that is killed is back: nothing is lost or doubled', async () => {
  const own = await Server.start({}, ...options());
  let again;
  try {
    const tab = await open(['a'], { url: own.url, options: ALONE });
    await streams(tab);
    await own.send('a', 0);
    await tab.page.evaluate(() => client.subscribe('b', (data, id) => got.push([id, data])).ready);
    await own.send('b', 1);
    await heard(tab, 2);
    await own.stop('SIGKILL');
    again = await Server.start({ wait: own.wait, in_: own.in_ }, ...options());
    await until(async () => (await again.online()).a === '1', 'the listener is back');
    await streams(tab);
    await again.send('a,b', 2);
    await heard(tab, 4);
    assert.deepEqual(await got(tab), [['a', 0], ['b', 1], ['a', 2], ['b', 2]]);
  } finally {
    await own.stop('SIGKILL');
    await again?.stop();
  }
});

test('a server that ends says goodbye, and nobody is told', async () => {
  const own = await Server.start({}, ...options(), '--set', 'server.drain=1');
  let again;
  try {
    const tab = await open(['a'], { url: own.url, options: ALONE });
    await streams(tab);
    await sleep(5500); // what ends sooner is looked at with a question for the position
    await own.stop('SIGTERM');
    again = await Server.start({ wait: own.wait, in_: own.in_ }, ...options());
    await until(async () => (await again.online()).a === '1', 'the listener is back');
    await again.send('a', 1);
    await heard(tab, 1);
    assert.ok(!(await events(tab)).includes('error'));
  } finally {
    await own.stop('SIGKILL');
    await again?.stop();
  }
});

test('under load a page changes from streams to polls and back: nothing is lost or doubled', async () => {
  const tab = await open(['a'], { options: ALONE });
  await streams(tab);
  const sending = numbers(1500);
  for (let round = 0; round < 4; round++) {
    await sleep(150);
    await tab.page.evaluate((isPoll) => {
      const key = `rplx stream ${window.at}`;
      if (isPoll) sessionStorage.setItem(key, Date.now() + 600_000);
      else sessionStorage.removeItem(key);
      client.subscribe('other', () => {}).execute();
      client.unsubscribe('other').execute();
    }, round % 2 === 0);
  }
  await sending;
  await assertNumbers(tab, 1500);
  assert.deepEqual(await events(tab), ['connected']);
});

test('nine tabs with seven channels share one stream, and each hears all of its own', async () => {
  await nine();
  const lead = await leader();
  await streams(lead);
  const before = tabs.map(({ polls }) => polls);
  await assertAll(await sendAll(210), ...tabs);
  await until(() => running() === 1, 'one stream');
  for (const tab of tabs) assert.deepEqual(await events(tab), ['connected']);
  assert.ok(tabs.every(({ polls }, i) => polls < before[i] + 20));
});

test('the tab that leads a shared stream is killed under load: nothing is lost or doubled', async () => {
  await nine();
  let sent = await sendAll(50);
  for (let round = 0; round < 3; round++) {
    const lead = await leader();
    takeOut(lead);
    const sending = sendAll(100, sent.length);
    await sleep(100);
    const session = await context.newCDPSession(lead.page);
    session.send('Page.crash').catch(() => {});
    sent = [...sent, ...(await sending)];
    await assertAll(sent, ...tabs);
  }
  await streams(await leader());
  for (const tab of tabs) assert.ok(!(await events(tab)).includes('gap'));
});

test('tabs that join, change their channels and leave lose and double nothing of a shared stream', async () => {
  await open(['a', 'b']);
  await ready(...tabs);
  const sending = sendAll(350);
  for (const ids of [['c'], ['a', 'd']]) {
    await sleep(100);
    const tab = await open([]);
    tab.ids = ids;
    await tab.page.evaluate((ids) => {
      for (const id of ids) client.setCursor(id, '1').subscribe(id, (data, id) => got.push([id, data]));
      return client.ready;
    }, ids);
  }
  const sent = await sending;
  await assertAll(sent, tabs[0]);
  for (const tab of tabs.slice(1)) {
    const own = sent.filter(([id]) => tab.ids.includes(id));
    await until(async () => (await got(tab)).length >= own.length, 'all of its own');
    const heardOf = (of) => (await_) => await_.filter(([id]) => id === of).map(([, data]) => data);
    for (const id of tab.ids) {
      const numbers = heardOf(id)(await got(tab));
      assert.deepEqual(numbers.slice(-own.filter(([of]) => of === id).length), own.filter(([of]) => of === id).map(([, n]) => n));
    }
  }
  await until(() => running() === 1, 'one stream');
});

test('EventSource itself resumes on several channels', async () => {
  const page = await context.newPage();
  await page.goto(host.url);
  await page.evaluate((url) => {
    window.got = [];
    window.source = new EventSource(`${url}?identifier=x,y`);
    source.onmessage = ({ data }) => {
      const { ids, data: said } = JSON.parse(data);
      got.push([Object.keys(ids).join(), said]);
    };
    return new Promise((open) => source.addEventListener('open', open));
  }, server.url);
  await until(async () => (await server.online()).x === '1', 'a listener');
  await server.send('x', 1);
  await server.send('x,y', 2);
  await until(() => page.evaluate(() => got.length === 2), 'two messages');
  assert.deepEqual(await page.evaluate(() => got), [['x', 1], ['x,y', 2]]);
  await page.close();
});

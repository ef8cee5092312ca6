// One poll for all tabs of a browser (src/transports/shared.js), in Chromium against the real server.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { Server, until } from './support.mjs';
import { CHANNELS, assertAll, closeContext, events, got, heard, nine, open, openContext, options, ready, running, sendAll, server, startAll, stopAll, tabs } from './tabs.mjs';

before(startAll);
after(stopAll);
beforeEach(openContext);
afterEach(closeContext);

test('nine tabs with seven channels share one poll, and each hears all of its own', async () => {
  await nine({ transports: ['poll'] });
  await until(() => running() === 1, 'one poll');
  const before = tabs.map(({ polls }) => polls);
  await assertAll(await sendAll(140), ...tabs);
  await until(() => running() === 1, 'one poll');
  await until(async () => {
    const online = await server.online();
    return CHANNELS.every((id) => online[id] === '1');
  }, 'one listener to each channel');
  for (const tab of tabs) assert.deepEqual(await events(tab), ['connected']);
  assert.equal(tabs.filter(({ polls }, i) => polls > before[i]).length, 1);
});

test('tabs with the module share from their first poll on, and also with tabs that have the script', async () => {
  for (const ids of [['a'], ['b'], ['c']]) await open(ids, { isModule: true });
  await ready(...tabs);
  assert.equal(tabs.filter(({ polls }) => polls).length, 1);
  await open(['a', 'd']);
  await ready(tabs[3]);
  await until(() => running() === 1, 'one poll');
  await assertAll(await sendAll(28), ...tabs);
});

test('ids that objects have by themselves are ids like others', async () => {
  const ids = ['constructor', '__proto__', 'toString'];
  await open(ids);
  await open(ids);
  await ready(...tabs);
  await until(() => running() === 1, 'one poll');
  for (const id of ids) await server.send(id, 1);
  await Promise.all(tabs.map((tab) => heard(tab, 3)));
});

test('channels and cursors of a tab are its own', async () => {
  await open(['a', 'b']);
  await ready(tabs[0]);
  for (let i = 0; i < 5; i++) await server.send('h', i);
  await server.send('a', 'before');
  await heard(tabs[0], 1);
  const second = await open([]);
  await second.page.evaluate(() => {
    client.setCursor('h', '1').subscribe(['h', 'a'], (data, id) => got.push([id, data]));
  });
  await heard(second, 5);
  await server.send('a', 'now');
  await heard(second, 6);
  assert.deepEqual(await got(second), [...[0, 1, 2, 3, 4].map((i) => ['h', i]), ['a', 'now']]);
  assert.deepEqual(await got(tabs[0]), [['a', 'before'], ['a', 'now']]);
});

test('without the option, and in the class of old pages, each tab polls by itself', async () => {
  await open(['a'], { options: { shared: false } });
  await open(['a'], { options: { shared: false } });
  await open([]);
  await tabs[2].page.evaluate((url) => {
    window.client = new Dklab_Realplexor(url).subscribe('a', () => {});
  }, server.url);
  await ready(...tabs);
  await until(() => running() === 3, 'three polls');
});

test('what a server refuses is told in each tab, and so is its return', async () => {
  const first = await Server.start({}, ...options());
  let second;
  try {
    for (const ids of [['a'], ['b'], ['c']]) await open(ids, { url: first.url });
    await ready(...tabs);
    await first.stop('SIGKILL');
    for (const tab of tabs) await until(async () => (await events(tab)).includes('error'), 'the loss told');
    second = await Server.start({ wait: first.wait, in_: first.in_ }, ...options());
    for (const tab of tabs) await until(async () => (await events(tab)).filter((event) => event === 'connected').length === 2, 'connected again');
    await second.send('a,b,c', 'behind');
    await Promise.all(tabs.map((tab) => heard(tab, 1)));
    await until(() => running() === 1, 'one poll');
  } finally {
    await first.stop('SIGKILL');
    await second?.stop();
  }
});

test('tabs that want more together than a poll may name poll by themselves', async () => {
  for (const letter of ['p', 'q']) await open(Array.from({ length: 300 }, (_, i) => `${letter}_${i}`));
  await ready(...tabs);
  await server.send('p_7,q_299', 1);
  await Promise.all(tabs.map((tab) => heard(tab, 1)));
  await until(() => running() === 2, 'two polls');
});

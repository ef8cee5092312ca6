// The lead among the tabs that share a poll changes hands (src/transports/shared.js).
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { sleep, until } from './support.mjs';
import { assertAll, closeContext, context, events, got, heard, leader, nine, open, openContext, ready, running, sendAll, server, startAll, stopAll, tabs, takeOut } from './tabs.mjs';

before(startAll);
after(stopAll);
beforeEach(openContext);
afterEach(closeContext);

test('the leading tab is killed under load: nothing is lost or doubled', async () => {
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
  await until(() => running() === 1, 'one poll');
  for (const tab of tabs) assert.ok(!(await events(tab)).includes('gap'));
});

test('the leading tab is closed, or stops to listen: another goes on', async () => {
  await nine();
  let lead = await leader();
  takeOut(lead);
  await lead.page.close();
  let sent = await sendAll(14);
  await assertAll(sent, ...tabs);
  lead = await leader();
  await lead.page.evaluate(() => client.unsubscribe(['a', 'b', 'c', 'd', 'e', 'f', 'g']));
  takeOut(lead);
  sent = [...sent, ...(await sendAll(14, 14))];
  await assertAll(sent, ...tabs);
  tabs.push(lead);
  await lead.page.evaluate((ids) => {
    got = [];
    for (const id of ids) client.subscribe(id, (data, id) => got.push([id, data]));
  }, lead.ids);
  await ready(lead);
  await heard(lead, 14 / 7 * lead.ids.length, 'messages that were sent meanwhile');
});

test('a tab that is gone is no listener any more', async () => {
  await open(['a']);
  await ready(tabs[0]);
  const second = await open(['a', 'z']);
  await ready(second);
  await until(async () => (await server.online()).z === '1', 'a listener');
  tabs.pop();
  await second.page.close();
  // The poll of both channels ends before that of the one is there, so a may have no connection for a moment; it stays online.
  await until(async () => {
    const online = await server.online();
    assert.ok('a' in online);
    return online.a === '1' && online.z === '0';
  }, 'a listener to a alone');
});

test('a frozen leader loses the lead, and listens again when it goes on', async () => {
  for (const ids of [['a'], ['a', 'b']]) await open(ids);
  await ready(...tabs);
  const lead = await leader();
  const other = tabs.find((tab) => tab !== lead);
  // Behind a dialog nothing of a page runs, as in one that the browser has frozen.
  const [dialog] = await Promise.all([lead.page.waitForEvent('dialog'), lead.page.evaluate(() => void setTimeout(alert, 0))]);
  await server.send('a', 1);
  await heard(other, 1);
  await until(() => other.running.size, 'the other leads');
  await dialog.accept();
  await heard(lead, 1);
  await until(() => running() === 1, 'one poll');
  await server.send('a', 2);
  await Promise.all([heard(lead, 2), heard(other, 2)]);
  assert.deepEqual(await got(lead), [['a', 1], ['a', 2]]);
  assert.deepEqual(await got(other), [['a', 1], ['a', 2]]);
});

test('a hidden leader leaves the lead to a tab that is seen', async () => {
  for (const ids of [['a'], ['b']]) await open(ids);
  await ready(...tabs);
  const lead = await leader();
  const other = tabs.find((tab) => tab !== lead);
  await lead.page.evaluate(() => Object.defineProperty(document, 'visibilityState', { get: () => 'hidden' }));
  await other.page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await until(() => other.running.size && !lead.running.size, 'the other leads');
  await server.send('a,b', 1);
  await Promise.all(tabs.map((tab) => heard(tab, 1)));
  for (const tab of tabs) assert.deepEqual(await events(tab), ['connected']);
});

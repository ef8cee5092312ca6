// Grants in Chromium: tabs whose grants end every 5 s, over polls and over streams, by the script and by the module.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { Granting } from './granting.mjs';
import { Server, launch, sleep, until } from './support.mjs';

/** How long messages come, in seconds, and how many: two minutes and 2,000 with GRANTS=long. */
const [SECONDS, MESSAGES] = process.env.GRANTS === 'long' ? [120, 2000] : [15, 250];
const MODULE = readFileSync(new URL('../../realplexor.js', import.meta.url), 'utf8');
let browser;

before(async () => (browser = await launch()));
after(() => browser?.close());

/** Opens a tab that listens to `news`, and to `secret`, which its grants do not open. */
async function open(context, url, transports, isModule) {
  const page = await context.newPage();
  await page.goto(`${url}page`);
  if (isModule) await page.addScriptTag({ type: 'module', content: `${MODULE}\nwindow.Realplexor = Realplexor;` });
  else await page.addScriptTag({ url: `${url}?identifier=SCRIPT` });
  await page.waitForFunction(() => window.Realplexor);
  await page.evaluate(
    async ([url, transports]) => {
      window.got = [];
      window.secret = [];
      window.told = [];
      window.asked = 0;
      window.client = new Realplexor(url, { transports, grant: () => ++window.asked && fetch('/grant') });
      for (const type of ['disconnected', 'gap', 'error', 'stalled', 'refused']) client.on(type, ({ ids, reason, status }) => told.push([type, status, ids ?? reason].join(' ')));
      client.subscribe('news', (data) => got.push(data)).subscribe('secret', (data) => secret.push(data));
      await client.ready;
    },
    [url, transports],
  );
  return page;
}

/** What two tabs hear of messages that come while their grants end, and then the user's login. */
async function listen(transports, isModule) {
  const server = await Server.start({}, '--set', 'history.max_messages=3000');
  const site = await Granting.start(server.wait, { seconds: 5, channels: ['news'] });
  const context = await browser.newContext();
  try {
    const tabs = [await open(context, site.url, transports, isModule), await open(context, site.url, transports, isModule)];
    const began = Date.now();
    for (let i = 0; i < MESSAGES; i++) {
      await server.send('news', i);
      if (i % 10 === 0) await server.send('secret', i);
      await sleep(Math.max(0, began + ((i + 1) * SECONDS * 1000) / MESSAGES - Date.now()));
    }
    for (const tab of tabs) {
      await until(async () => (await tab.evaluate(() => got.length)) >= MESSAGES, 'all messages');
      const [got, secret, told, transport] = await tab.evaluate(() => [window.got, window.secret, window.told, client.transport]);
      assert.deepEqual([got, secret], [Array.from({ length: MESSAGES }, (_, i) => i), []]);
      assert.deepEqual([told, transport], [['refused 403 secret'], transports[0]]);
    }
    assert.ok(site.given >= SECONDS / 5, `${site.given} grants`);
    const counts = await Promise.all(tabs.map((tab) => tab.evaluate(() => window.asked)));
    assert.ok(Math.min(...counts) <= 1, `${counts}: one tab asks for both`);
    site.isLoggedIn = false;
    for (const tab of tabs) {
      await until(async () => (await tab.evaluate(() => told.length)) > 1, 'the end');
      assert.deepEqual(await tab.evaluate(() => told.slice(1)), ['disconnected  refused', 'refused 401 news,secret']);
    }
    const { asked } = site;
    await sleep(2000);
    assert.deepEqual([site.asked, site.guests], [asked, 0]);
  } finally {
    await context.close();
    site.stop();
    await server.stop();
  }
}

const WHAT = 'nothing is missed while grants end, nothing is heard that they do not open, and who is logged out is no guest';
test('grants that last 5 s', { concurrency: true }, (t) =>
  Promise.all([
    t.test(`polls, by the module: ${WHAT}`, () => listen(['poll'], true)),
    t.test(`streams, by the script: ${WHAT}`, () => listen(['stream', 'poll'], false)),
  ]));

// Grants in Chromium: tabs whose grants end every 5 s, over polls by the module and over streams by the script.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Server, launch, sleep, until } from './support.mjs';

/** How long messages come, in seconds, and how many: two minutes and 2,000 with GRANTS=long. */
const [SECONDS, MESSAGES] = process.env.GRANTS === 'long' ? [120, 2000] : [15, 250];
const MODULE = readFileSync(new URL('../../realplexor.js', import.meta.url), 'utf8');
const KEY = '0123456789abcdef0123456789abcdef';
let browser;

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A site whose pages get grants for `news` that last 5 s, while the user is logged in. */
async function granting() {
  const self = { given: 0, isLoggedIn: true };
  const grant = () => {
    const now = Math.floor(Date.now() / 1000);
    const signed = `${part({ alg: 'HS256', kid: '2026a' })}.${part({ sub: '42', iat: now, exp: now + 5, channels: ['news'], jti: ++self.given })}`;
    return `${signed}.${createHmac('sha256', KEY).update(signed).digest('base64url')}`;
  };
  const server = createServer(({ url }, response) => {
    const status = url !== '/grant' || self.isLoggedIn ? 200 : 401;
    response.writeHead(status, { 'Content-Type': 'text/html', 'Cache-Control': 'no-store' });
    response.end(url !== '/grant' ? '<!DOCTYPE html><title>A site</title>' : self.isLoggedIn ? grant() : 'log in');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  self.url = `http://127.0.0.1:${server.address().port}/`;
  self.stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return self;
}

/** A server on which nobody listens to anything without a grant. */
async function closed(origin) {
  const folder = mkdtempSync(join(tmpdir(), 'rplx-'));
  writeFileSync(join(folder, 'key'), KEY);
  const config = join(folder, 'rplx.toml');
  writeFileSync(config, `[grants.keys]\n2026a = "file:${folder}/key"\n\n[[channels]]\nprefix = ""\naccess = "grant"\n`);
  try {
    const origins = `wait.allowed_origins=["${origin.slice(0, -1)}"]`;
    return await Server.start({}, '--config', config, '--set', 'history.max_messages=3000', '--set', origins);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

before(async () => (browser = await launch()));
after(() => browser?.close());

/** Opens a tab that listens to `news`, and to `secret`, which its grants do not open. */
async function open(context, site, url, transports, isModule) {
  const page = await context.newPage();

  await page.goto(site);
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
  const site = await granting();
  const server = await closed(site.url);
  const context = await browser.newContext();
  try {
    const tabs = [await open(context, site.url, server.url, transports, isModule), await open(context, site.url, server.url, transports, isModule)];
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
    const before = site.given;
    await sleep(2000);
    assert.equal(site.given, before);
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

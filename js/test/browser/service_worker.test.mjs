// A page whose service worker hands its requests on: such a worker keeps those open that the page has ended (protocol page, part 9.9).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Server, launch, site, until } from './support.mjs';

const WORKER = `
addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));
addEventListener('fetch', (event) => event.respondWith(fetch(event.request)));
`;
/** More than a browser has connections for a site over HTTP/1.1. */
const EXCHANGES = 15;

let browser;
let host;
let server;

before(async () => {
  host = await site({ '/': '<!DOCTYPE html><title>A site</title>', '/worker.js': WORKER });
  server = await Server.start({}, '--set', `wait.allowed_origins=["${host.url.slice(0, -1)}"]`, '--set', 'wait.timeout=600');
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  host?.stop();
});

for (const shared of [false, true]) {
  test(`a client that exchanges its poll again and again stays alive, shared: ${shared}`, async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(host.url);
    await page.evaluate(async () => {
      await navigator.serviceWorker.register('/worker.js');
      await navigator.serviceWorker.ready;
      if (!navigator.serviceWorker.controller) await new Promise((ready) => (navigator.serviceWorker.oncontrollerchange = ready));
    });
    await page.addScriptTag({ url: `${server.url}?identifier=SCRIPT` });
    await page.evaluate(
      ([url, shared]) => {
        window.got = [];
        window.events = [];
        window.client = new Realplexor(url, { shared, timeout: 0 });
        for (const type of ['connected', 'disconnected', 'gap', 'error', 'stalled']) client.on(type, ({ reason }) => events.push(reason ?? type));
        window.listen = (id) => client.subscribe(id, (data) => got.push(data)).ready;
      },
      [server.url, shared],
    );
    const ids = Array.from({ length: EXCHANGES }, (_, i) => `s${shared}_${i}`);
    for (const id of ids) {
      await page.evaluate((id) => listen(id), id);
      await until(async () => (await server.online())[id] === '1', `a poll for ${id}`);
    }
    await until(async () => (await server.online())[ids[0]] === '1', 'one poll at the server');
    for (const id of ids) await server.send(id, id);
    await until(async () => (await page.evaluate(() => got)).length === ids.length, 'all messages');
    assert.deepEqual(await page.evaluate(() => got), ids);
    assert.deepEqual(await page.evaluate(() => events), ['connected']);
    await context.close();
  });
}

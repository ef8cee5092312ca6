// The served script and the page for old clients in a browser without fetch and its companions: XMLHttpRequest asks.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Server, launch, until } from './support.mjs';

let browser;
let server;

before(async () => {
  server = await Server.start({});
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Opens a page of the server's own origin in a browser that lacks all of this, in frames too. */
async function oldBrowser(html) {
  const context = await browser.newContext();
  await context.addInitScript(() => {
    for (const name of ['fetch', 'AbortController', 'URL', 'queueMicrotask', 'Request', 'Response', 'Headers']) delete window[name];
    for (const name of ['padEnd', 'includes']) delete String.prototype[name];
  });
  const page = await context.newPage();
  const faults = [];
  const requests = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  page.on('request', (request) => request.url().includes('ncrnd=') && requests.push(request.resourceType()));
  await page.route(server.url + 'page', (route) => route.fulfill({ contentType: 'text/html', body: html }));
  await page.goto(server.url + 'page');
  return { page, faults, requests, close: () => context.close() };
}

const online = (id) => until(async () => (await server.online())[id] === '1', `${id} online`);

test('the served script polls without fetch', async () => {
  const { page, faults, requests, close } = await oldBrowser('<!DOCTYPE html><script src="/?identifier=SCRIPT"></script><script>var got = [];</script>');
  await page.evaluate(() => {
    window.client = new Dklab_Realplexor('/', 'ob_');
    client.subscribe('a', function (data, id, cursor) { got.push([id, data, cursor]); }).execute();
  });
  await online('ob_a');
  const receipt = await server.send('ob_a', { text: 'Привет' });
  await until(() => page.evaluate(() => got.length === 1), 'the message');
  const [[id, data, cursor]] = await page.evaluate(() => got);
  assert.deepEqual([id, data, `ob_a ${cursor}\n`], ['a', { text: 'Привет' }, receipt]);
  await page.evaluate(() => client.subscribe(Array.from({ length: 300 }, (_, i) => 'many_' + i), function () {}).execute());
  await online('ob_many_299'); // by POST
  await page.evaluate(() => client.close());
  await until(async () => (await server.online()).ob_a === '0', 'the request ended');
  assert.ok(requests.length >= 4);
  assert.deepEqual([...new Set(requests)], ['xhr']);
  assert.deepEqual(faults, []);
  await close();
});

test('the page for old clients polls without fetch, and leaves out what cannot be', async () => {
  const { page, faults, requests, close } = await oldBrowser('<!DOCTYPE html><body><iframe src="/?identifier=IFRAME&HOST=127.0.0.1&version=1.32"></iframe>');
  await until(() => page.evaluate(() => !!document.querySelector('iframe').contentWindow.Dklab_Realplexor_Loader), 'the loader');
  await page.evaluate(() => {
    window.got = [];
    var note = function (data, id) { got.push([id, data]); };
    window.map = { 'a.b': { cursor: null, callbacks: [note] }, alpha: { cursor: 'abc', callbacks: [note] }, beta: { cursor: null, callbacks: [note] } };
    window.loader = document.querySelector('iframe').contentWindow.Dklab_Realplexor_Loader;
    loader.execute(map, function (callback, args) { callback.apply(null, args); return null; }, 'of_');
  });
  await online('of_beta');
  assert.equal((await server.online()).of_alpha, undefined);
  await server.send('of_beta', 1);
  await until(() => page.evaluate(() => got.length === 1), 'the message');
  await page.evaluate(() => {
    map.alpha.cursor = '1';
    loader.execute(map, function (callback, args) { callback.apply(null, args); return null; }, 'of_');
  });
  await online('of_alpha');
  await server.send('of_alpha', 2);
  await until(() => page.evaluate(() => got.length === 2), 'the second');
  assert.deepEqual(await page.evaluate(() => got), [['beta', 1], ['alpha', 2]]);
  assert.deepEqual([...new Set(requests)], ['xhr']);
  assert.equal(faults.filter((fault) => !fault.includes('left out')).length, 0, faults.join());
  await close();
});

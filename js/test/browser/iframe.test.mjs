// The page for old clients, driven as the old library in a host page drove it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Server, launch, site, until } from './support.mjs';

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

/** The host page: it puts the server's page into a frame and hands its map of callbacks to the loader there. */
const OLD_LIBRARY = `
  function OldRealplexor(fullUrl, namespace) {
    this.map = {};
    this.login = null;
    this.namespace = namespace || '';
    this.frame = document.createElement('iframe');
    this.frame.style.display = 'none';
    this.frame.src = fullUrl + '/?identifier=IFRAME&HOST=' + document.domain + '&version=1.32';
    document.body.appendChild(this.frame);
  }
  OldRealplexor.prototype = {
    entry: function (id) { return this.map[id] || (this.map[id] = { cursor: null, callbacks: [] }); },
    subscribe: function (id, callback) { this.entry(id).callbacks.push(callback); return this; },
    unsubscribe: function (id) { this.entry(id).callbacks = []; return this; },
    setCursor: function (id, cursor) { this.entry(id).cursor = cursor; return this; },
    execute: function () {
      var self = this;
      var loader;
      try { loader = this.frame.contentWindow.Dklab_Realplexor_Loader; } catch (notYet) {}
      if (!loader) { setTimeout(function () { self.execute(); }, 10); return; }
      loader.execute(this.map, callAndReturnException, (this.login ? this.login + '_' : '') + this.namespace);
    }
  };
  function callAndReturnException(callback, args) {
    try { callback.apply(null, args); } catch (e) { return e; }
    return null;
  }
  var got = [];
  function note(data, id, cursor) { got.push([id, data, cursor]); }
`;
const html = (domain) => `<!DOCTYPE html><title>An old page</title><body><script>${domain ? `document.domain = '${domain}';` : ''}${OLD_LIBRARY}</script>`;

/** An old page on `pageHost` that listens to a server on `serverHost`, with document.domain set if named. */
async function oldPage(pageHost, serverHost, { domain, namespace = '', login = null } = {}) {
  const host = await site({ '/': html(domain) }, { 'Origin-Agent-Cluster': '?0' });
  const context = await browser.newContext();
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  await page.goto(`http://${pageHost}:${host.port}/`);
  await page.evaluate(
    ([url, namespace, login]) => {
      window.old = new OldRealplexor(url, namespace);
      old.login = login;
    },
    [`http://${serverHost}:${server.wait}`, namespace, login],
  );
  const close = async () => {
    await context.close();
    host.stop();
  };
  return { page, faults, close, got: () => page.evaluate(() => window.got) };
}

async function online(id) {
  await until(async () => (await server.online())[id] === '1', `${id} online`);
}

const PLACES = [
  ['the same host, another port', 'example.test', 'example.test', 'example.test'],
  ['a subdomain', 'example.test', 'rpl.example.test', 'example.test'],
  ['a sister of the page', 'www.example.test', 'rpl.example.test', 'example.test'],
];

for (const [index, [name, pageHost, serverHost, domain]] of PLACES.entries()) {
  test(`an old page hears the server on ${name}`, async () => {
    const { page, faults, close, got } = await oldPage(pageHost, serverHost, { domain, namespace: `ns${index}_`, login: 'anna' });
    await page.evaluate(() => old.subscribe('a', note).subscribe('b', note).execute());
    await online(`anna_ns${index}_b`);
    await server.send(`anna_ns${index}_a`, { text: 'Привет' });
    const receipt = await server.send(`anna_ns${index}_b`, [1]);
    await until(async () => (await got()).length === 2, 'both messages');
    const [first, second] = await got();
    assert.deepEqual([first[0], first[1], second[0], second[1]], ['a', { text: 'Привет' }, 'b', [1]]);
    assert.equal(receipt, `anna_ns${index}_b ${second[2]}\n`);
    assert.deepEqual(await page.evaluate(() => [old.map.b.cursor]), [second[2]]);
    assert.deepEqual(faults, []);
    await close();
  });
}

test('the server\'s own page needs no document.domain', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.route(server.url + 'own', (route) => route.fulfill({ contentType: 'text/html', body: html(null) }));
  await page.goto(server.url + 'own');
  await page.evaluate(() => {
    window.old = new OldRealplexor('', '');
    old.subscribe('own', note).execute();
  });
  await online('own');
  await server.send('own', 1);
  await until(() => page.evaluate(() => got.length === 1), 'the message');
  await context.close();
});

test('changes apply with the next execute, cursors go on, an exception stops nobody', async () => {
  const { page, faults, close, got } = await oldPage('example.test', 'rpl.example.test', { domain: 'example.test' });
  const receipt = await server.send('back', 'before');
  const cursor = receipt.split(/\s/)[1];
  await server.send('back', 'missed');
  await page.evaluate((cursor) => {
    old.subscribe('bad', function () { throw new Error('boom'); }).subscribe('bad', note);
    old.setCursor('back', cursor).subscribe('back', note).execute();
  }, cursor);
  await until(async () => (await got()).length === 1, 'what was missed');
  assert.equal((await got())[0][1], 'missed');
  await online('bad');
  await server.send('bad', 'good');
  await until(async () => (await got()).length === 2, 'the other callback');
  await until(() => faults.some((fault) => fault.includes('boom')), 'the exception told');
  await page.evaluate(() => {
    delete old.map.back;
    old.unsubscribe('bad').subscribe('more', note).execute();
  });
  await online('more');
  for (const id of ['bad', 'back']) await until(async () => (await server.online())[id] === '0', `${id} left`);
  await server.send('bad,more', 'last');
  await until(async () => (await got()).length === 3, 'the last');
  assert.deepEqual((await got()).map(([id, data]) => [id, data]), [['back', 'missed'], ['bad', 'good'], ['more', 'last']]);
  await close();
});

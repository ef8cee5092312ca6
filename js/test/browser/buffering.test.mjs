// The client's streams behind nginx, with its own buffering and with one that nothing turns off.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Server, atBest, launch, until } from './support.mjs';

const NGINX = ['/usr/sbin/nginx', '/usr/bin/nginx', '/usr/local/sbin/nginx'].find(existsSync);
const skip = NGINX ? false : 'needs nginx';
const MODULE = readFileSync(new URL('../../realplexor.js', import.meta.url), 'utf8');
let server;
let browser;

before(async () => {
  server = await Server.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function freePort() {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address();
  listener.close();
  return port;
}

/** Runs `action` with the address of an nginx in front of the server, whose location has these lines. */
async function behind(lines, action) {
  const folder = mkdtempSync(join(tmpdir(), 'rplx-nginx-'));
  const port = await freePort();
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join(' ');
  const location = `location / { proxy_pass http://127.0.0.1:${server.wait}; ${lines} }`;
  const conf = `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log; events {}
    http { access_log off; ${paths} server { listen 127.0.0.1:${port}; ${location} } }`;
  writeFileSync(join(folder, 'nginx.conf'), conf);
  const nginx = spawn(NGINX, ['-e', `${folder}/error.log`, '-c', `${folder}/nginx.conf`], { stdio: 'ignore' });
  const isThere = () =>
    new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(socket.end()));
      socket.on('error', () => resolve(false));
    });
  try {
    await until(isThere, 'nginx listens');
    await action(`http://127.0.0.1:${port}/`);
  } finally {
    nginx.kill('SIGKILL');
    if (nginx.exitCode === null) await once(nginx, 'exit');
    rmSync(folder, { recursive: true });
  }
}

/** Listens from a page of the server itself, by the server's script or by the module. What came is in window.got; `page.streams` are counted. */
async function listen(url, isModule) {
  const page = await browser.newPage();
  page.streams = 0;
  page.on('request', (request) => (page.streams += request.url().includes('&stream')));
  await page.goto(`${url}health`);
  if (isModule) await page.addScriptTag({ type: 'module', content: `${MODULE}\nwindow.Realplexor = Realplexor;` });
  else await page.addScriptTag({ url: `${url}?identifier=SCRIPT` });
  await page.waitForFunction(() => window.Realplexor);
  await page.evaluate(() => {
    window.got = [];
    window.faults = [];
    window.client = new Realplexor(location.origin, { shared: false });
    for (const type of ['error', 'disconnected', 'gap']) client.on(type, () => faults.push(type));
    client.subscribe('a', (data) => got.push(data));
    return client.ready;
  });
  return page;
}

const HOLDS = 'proxy_ignore_headers X-Accel-Buffering;';

for (const [what, lines, transport, isModule] of [
  ['nginx as it is', '', 'stream'],
  ['nginx without buffering', 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;', 'stream'],
  ['nginx that holds bytes back', HOLDS, 'poll'],
  ['nginx that holds bytes back', HOLDS, 'poll', true],
]) {
  test(`behind ${what} a page listens by a ${transport}, with the ${isModule ? 'module' : 'script'}`, { skip }, async () => {
    // A stall of the machine within the client's 3 s looks like a proxy that holds bytes back.
    await atBest(() => behind(lines, async (url) => {
      const page = await listen(url, isModule);
      if (transport === 'stream') await until(() => page.evaluate(() => client.transport === 'stream'), 'a stream');
      else await until(() => page.evaluate(() => Object.keys(sessionStorage).some((key) => key.startsWith('rplx stream'))), 'streams left out');
      for (let i = 0; i < 20; i++) await server.send('a', i);
      await until(() => page.evaluate(() => got.length === 20), 'all messages');
      assert.deepEqual(await page.evaluate(() => [got, faults]), [Array.from({ length: 20 }, (_, i) => i), []]);
      assert.equal(await page.evaluate(() => client.transport), transport);
      assert.equal(page.streams, 1);
      await page.close();
    }));
  });
}

test('the next page of the session polls from the start, and nothing sent while the stream is held is lost', { skip }, async () => {
  await behind(HOLDS, async (url) => {
    const page = await browser.newPage();
    const asked = [];
    page.on('request', (request) => request.url().includes('ncrnd=') && asked.push(request.url()));
    const load = async () => {
      await page.goto(`${url}health`);
      await page.addScriptTag({ type: 'module', content: `${MODULE}\nwindow.Realplexor = Realplexor;` });
      await page.waitForFunction(() => window.Realplexor);
    };
    await load();
    const { cursor } = await page.evaluate(() => fetch('/?identifier=b&json&position').then((answer) => ({ cursor: answer.headers.get('X-Realplexor-Cursor') })));
    const listening = page.evaluate((cursor) => {
      window.got = [];
      window.client = new Realplexor(location.origin, { shared: false });
      client.setCursor('b', cursor).subscribe('b', (data) => got.push(data));
      return client.ready;
    }, cursor);
    await until(() => asked.length === 1, 'a stream');
    for (let i = 0; i < 10; i++) await server.send('b', i);
    await listening;
    await until(() => page.evaluate(() => got.length === 10), 'all messages');
    assert.match(asked[0], /&stream&/);
    const reached = await page.evaluate(() => client.getCursor('b'));
    asked.length = 0;
    await load();
    await page.evaluate((cursor) => {
      window.got = [];
      window.client = new Realplexor(location.origin, { shared: false });
      client.setCursor('b', cursor).subscribe('b', (data) => got.push(data));
      return client.ready;
    }, reached);
    await server.send('b', 10);
    await until(() => page.evaluate(() => got.length), 'a message');
    assert.deepEqual(await page.evaluate(() => got), [10]);
    assert.ok(!asked.some((address) => address.includes('&stream')), asked.join());
    await page.close();
  });
});

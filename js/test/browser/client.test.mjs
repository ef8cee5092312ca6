// The JavaScript client in Chromium against the real server, from a page of another origin unless said otherwise.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { Server, launch, site, sleep, until } from './support.mjs';

let browser;
let host;
let server;
let page;
let faults;

const options = () => ['--set', `wait.allowed_origins=["${host.url.slice(0, -1)}"]`, '--set', 'history.max_messages=3000'];

before(async () => {
  host = await site({ '/': '<!DOCTYPE html><title>A site</title>' });
  server = await Server.start({}, ...options());
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  host?.stop();
});

beforeEach(async () => {
  page = await browser.newPage();
  faults = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  await page.goto(host.url);
  await page.addScriptTag({ url: `${server.url}?identifier=SCRIPT&1234` });
});

afterEach(async () => {
  await page.close();
  assert.deepEqual(faults, []);
});

/** Has window.client in the page listen to `ids`. window.got keeps its messages as [id, data, cursor], window.events its events. */
async function listen(ids, { namespace = null, login = null, at = page } = {}) {
  await at.evaluate(
    async ({ url, ids, namespace, login }) => {
      window.got = [];
      window.events = [];
      window.client = new Dklab_Realplexor(url, namespace);
      client.logon(login);
      for (const type of ['connected', 'disconnected', 'gap', 'error']) {
        client.on(type, ({ ids, reason }) => events.push(ids ? `${type} ${ids}` : reason ? `${type} ${reason}` : type));
      }
      for (const id of ids) client.subscribe(id, (data, id, cursor) => got.push([id, data, cursor]));
      client.execute();
      await client.ready;
    },
    { url: server.url, ids, namespace, login },
  );
}

const got = (at = page) => at.evaluate(() => window.got);
const events = () => page.evaluate(() => window.events);
const count = (number, at = page) => until(async () => (await got(at)).length >= number, `${number} messages`);

test('subscribe and receive', async () => {
  await listen(['one']);
  const receipt = await server.send('one', { text: 'Привет', list: [1, { deep: null }] });
  await count(1);
  const [[id, data, cursor]] = await got();
  assert.deepEqual([id, data], ['one', { text: 'Привет', list: [1, { deep: null }] }]);
  assert.equal(receipt, `one ${cursor}\n`);
  assert.deepEqual(await events(), ['connected']);
});

test('many channels, added and closed on the fly, one message in several of them', async () => {
  await listen(['m1', 'm2']);
  await page.evaluate(async () => {
    client.subscribe(['m3', 'm4'], (data, id, cursor) => got.push([id, data, cursor]));
    client.unsubscribe('m1', null);
    await client.ready;
  });
  await server.send('m1,m2,m3', 'several');
  await server.send('m1', 'closed');
  await server.send('m4', 'last');
  await count(3);
  assert.deepEqual((await got()).map(([id, data]) => [id, data]), [['m2', 'several'], ['m3', 'several'], ['m4', 'last']]);
});

test('namespace and login prefix', async () => {
  await listen(['a'], { namespace: 'shop_', login: 'anna' });
  await server.send('a', 'not for us');
  await server.send('shop_a', 'not for us');
  await server.send('anna_shop_a', 'ours');
  await count(1);
  assert.deepEqual((await got()).map(([id, data]) => [id, data]), [['a', 'ours']]);
  await page.evaluate(() => client.logon('ben').ready);
  await server.send('anna_shop_a', 'not ours any more');
  await server.send('ben_shop_a', 'ours now');
  await count(2);
  assert.equal((await got())[1][1], 'ours now');
});

test('2,000 messages back to back, alternating over two channels without a cursor, arrive once and in order', async () => {
  await listen(['left', 'right']);
  for (let i = 0; i < 2000; i++) await server.send(i % 2 ? 'left' : 'right', i);
  await count(2000);
  await sleep(200);
  assert.deepEqual((await got()).map(([, data]) => data), Array.from({ length: 2000 }, (_, i) => i));
  assert.ok(!(await events()).some((event) => event.startsWith('gap')));
});

test('nothing is lost while channels come and go', async () => {
  await listen(['steady']);
  let isChurning = true;
  const churn = page.evaluate(async () => {
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    for (let round = 0; round < 50; round++) {
      client.subscribe(`passing_${round}`, () => {});
      await pause(round % 7);
      client.unsubscribe(`passing_${round}`);
      await pause(round % 5);
    }
  });
  churn.finally(() => (isChurning = false));
  const sent = [];
  while (isChurning || sent.length < 50) {
    sent.push(sent.length);
    await server.send('steady', sent.at(-1));
  }
  await churn;
  await count(sent.length);
  assert.deepEqual((await got()).map(([, data]) => data), sent);
});

test('300 channels in one subscription travel in a POST without preflight', async () => {
  const requests = [];
  page.on('request', (request) => requests.push(`${request.method()} ${request.postData()?.length ?? 0}`));
  const ids = Array.from({ length: 300 }, (_, i) => `crowd_${i}`);
  await listen(ids);
  for (const i of [0, 150, 299]) await server.send(`crowd_${i}`, i);
  await count(3);
  assert.deepEqual((await got()).map(([id, data]) => [id, data]), [0, 150, 299].map((i) => [`crowd_${i}`, i]));
  assert.ok(requests.length && requests.every((request) => /^POST \d{4,}$/.test(request)), String(requests));
});

test('a page goes on where the last one ended', async () => {
  await listen(['story']);
  await server.send('story', 1);
  await count(1);
  const cursor = await page.evaluate(() => client.getCursor('story'));
  await page.reload();
  await server.send('story', 2);
  await page.addScriptTag({ url: `${server.url}?identifier=SCRIPT` });
  await page.evaluate(
    ([url, cursor]) => {
      window.got = [];
      new Dklab_Realplexor(url).setCursor('story', cursor).subscribe('story', (data) => got.push(data)).execute();
    },
    [server.url, cursor],
  );
  await count(1);
  assert.deepEqual(await got(), [2]);
});

test('leaving the page ends its request', async () => {
  await listen(['presence']);
  await until(async () => (await server.online()).presence === '1', 'one listener');
  await page.goto('about:blank');
  await until(async () => (await server.online()).presence === '0', 'no listener');
});

test('going offline and online is noticed', async () => {
  await listen(['link']);
  await page.context().setOffline(true);
  await until(async () => (await events()).includes('disconnected offline'), 'offline told');
  await server.send('link', 'meanwhile');
  await page.context().setOffline(false);
  await count(1);
  assert.equal((await events()).at(-1), 'connected');
});

test('back and forward: a page out of the cache listens again', async () => {
  await listen(['history']);
  await page.evaluate(() => {
    window.dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }));
  });
  await until(async () => (await server.online()).history === '0', 'no listener');
  await server.send('history', 'meanwhile');
  await page.evaluate(() => window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })));
  await count(1);
  assert.deepEqual(await events(), ['connected', 'disconnected hidden', 'connected']);
});

test('an origin that is not allowed hears nothing, and is told so', async () => {
  const stranger = await site({ '/': '<!DOCTYPE html><title>Another site</title>' });
  try {
    const at = await browser.newPage();
    await at.goto(stranger.url);
    await at.addScriptTag({ url: `${server.url}?identifier=SCRIPT` });
    const told = await at.evaluate(
      (url) => new Promise((resolve) => new Dklab_Realplexor(url).on('error', ({ error }) => resolve(error.message)).subscribe('a', () => {})),
      server.url,
    );
    assert.match(told, /fetch/i);
    await at.close();
  } finally {
    stranger.stop();
  }
});

test('a refusal is told with the server\'s reason', async () => {
  const told = await page.evaluate(
    (url) =>
      new Promise((resolve) => {
        const ids = Array.from({ length: 501 }, (_, i) => `many_${i}`);
        new Dklab_Realplexor(url).on('error', ({ error }) => resolve(error.message)).subscribe(ids, () => {});
      }),
    server.url,
  );
  assert.match(told, /^HTTP 413: .*500/);
});

test('a page of the server itself needs no permission', async () => {
  const at = await browser.newPage();
  await at.route(server.url + 'own', (route) => route.fulfill({ contentType: 'text/html', body: '<!DOCTYPE html>' }));
  await at.goto(server.url + 'own');
  await at.addScriptTag({ url: '/?identifier=SCRIPT' });
  await listen(['own'], { at });
  await server.send('own', 'hello');
  await count(1, at);
  await at.close();
});

test('a restart of the server is survived, and what is sent behind it arrives', async () => {
  const first = await Server.start({}, ...options());
  let second;
  try {
    await page.evaluate(
      async (url) => {
        window.got = [];
        window.events = [];
        window.client = new Dklab_Realplexor(url);
        client.on('connected', () => events.push('connected')).on('disconnected', ({ reason }) => events.push(reason));
        client.on('gap', ({ ids }) => events.push(`gap ${ids}`));
        client.subscribe('a', (data) => got.push(data));
        await client.ready;
      },
      first.url,
    );
    await first.send('a', 'before');
    await count(1);
    await first.stop('SIGKILL');
    await until(async () => (await events()).at(-1) === 'error', 'the loss told');
    second = await Server.start({ wait: first.wait, in_: first.in_ }, ...options());
    await until(async () => (await events()).includes('connected', 2), 'connected again');
    await second.send('a', 'behind');
    await count(2);
    assert.deepEqual(await got(), ['before', 'behind']);
    assert.deepEqual([...new Set(await events())].sort(), ['connected', 'error', 'gap a']);
  } finally {
    await first.stop('SIGKILL');
    await second?.stop();
  }
});

// The sandbox page, used as by two people.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { Server, launch, until } from './support.mjs';

let browser;
let server;
let one;
let two;
let faults;

before(async () => {
  server = await Server.start({}, '--demo', '--set', 'presence.offline_timeout=1');
  browser = await launch();
  faults = [];
  [one, two] = await Promise.all([open(), open()]);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Opens the page in a context of its own, like another person's browser. */
async function open(query = '', viewport = { width: 1180, height: 900 }) {
  const page = await (await browser.newContext({ viewport })).newPage();
  page.setDefaultTimeout(60_000);
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  page.on('request', (request) => request.url().startsWith(server.url) || request.url().startsWith('data:') || faults.push(request.url()));
  await visit(page, query);
  return page;
}

async function visit(page, query = '') {
  await page.goto(server.url + query);
  await page.waitForFunction(() => document.querySelectorAll('.state.good').length === 2);
}

beforeEach(async () => {
  faults = [];
  await Promise.all([visit(one), visit(two)]);
});

afterEach(() => {
  assert.deepEqual(faults, []);
});

const lines = (page, browserIndex, id) => page.locator(`.browser:nth-child(${browserIndex}) [data-channel="${id}"] li`);
const target = (page, id) => page.locator(`#targets input[value="${id}"]`);

test('a message sent in one page appears in the other within a second', async () => {
  const took = [];
  // The best of twenty counts, since a busy machine may delay any one.
  while (took.length < 20 && !(took.at(-1) < 1000)) {
    const text = `Hello from one, ${took.length}`;
    await one.fill('#message [name=text]', text);
    const started = Date.now();
    await one.click('#message button');
    for (const page of [one, two]) {
      for (const index of [1, 2]) await lines(page, index, 'Alpha').filter({ hasText: text }).waitFor();
    }
    took.push(Date.now() - started);
  }
  assert.ok(took.at(-1) < 1000, `${took} ms`);
  assert.equal(await lines(two, 1, 'Beta').count(), 0);
});

test('several channels at once, a burst in order, a nested object', async () => {
  await target(one, 'Beta').check();
  await one.fill('#burst [name=count]', '30');
  await one.click('#burst button');
  for (const id of ['Alpha', 'Beta']) {
    await until(async () => (await lines(two, 2, id).count()) === 30, `30 messages in ${id}`);
    const texts = await lines(two, 2, id).locator('span').allTextContents();
    assert.deepEqual(texts, Array.from({ length: 30 }, (_, i) => `burst ${30 - i}`));
  }
  await one.click('#nested button');
  await until(async () => (await lines(two, 1, 'Beta').count()) === 31, 'the object');
  const object = JSON.parse(await lines(two, 1, 'Beta').first().locator('pre').textContent());
  assert.deepEqual(object.lines[1], { sku: 'cup', count: 1 });
});

test('a burst that outruns the history comes whole by a stream, and is told as a gap to who polls', async () => {
  const by = (page, transport) => page.locator('.browser:nth-child(1) .transport', { hasText: transport }).waitFor();
  await visit(two, '?transports=poll');
  await by(one, 'stream');
  await by(two, 'polls');
  await one.fill('#burst [name=count]', '500');
  await one.click('#burst button');
  for (const page of [one, two]) await lines(page, 1, 'Alpha').filter({ hasText: 'burst 500' }).waitFor();
  assert.deepEqual(await lines(one, 1, 'Alpha').locator('span').allTextContents(), Array.from({ length: 100 }, (_, i) => `burst ${500 - i}`));
  // A page that listens again during the burst and falls behind once more is told twice.
  await lines(two, 1, 'Alpha').filter({ hasText: 'no longer has all' }).first().waitFor();
});

test('a channel is added, used and closed; the online list follows', async () => {
  await two.fill('.browser:nth-child(2) .add input', 'Gamma');
  await two.click('.browser:nth-child(2) .add button');
  await one.locator('#online [data-id="Gamma"] b', { hasText: '1' }).waitFor();
  await one.locator('#online [data-id="Alpha"] b', { hasText: '4' }).waitFor();
  await one.fill('[name=others]', 'Gamma');
  await target(one, 'Alpha').uncheck();
  await one.click('#message button');
  await lines(two, 2, 'Gamma').first().waitFor();
  assert.equal(await two.locator('.browser:nth-child(1) [data-channel="Gamma"]').count(), 0);
  await two.click('.browser:nth-child(2) [data-channel="Gamma"] button');
  assert.equal(await two.locator('[data-channel="Gamma"]').count(), 0);
  await until(async () => (await one.locator('#online [data-id="Gamma"]').count()) === 0, 'Gamma gone from the list');
});

test('bad names and bad JSON get a clear error, and nothing is sent', async () => {
  await two.fill('.browser:nth-child(1) .add input', 'Ж');
  await two.click('.browser:nth-child(1) .add button');
  await two.locator('#result.bad', { hasText: '“Ж” cannot be a channel' }).waitFor();
  await two.fill('[name=others]', '-dash');
  await two.click('#message button');
  await two.locator('#result.bad', { hasText: '“-dash” cannot be a channel' }).waitFor();
  await two.fill('[name=others]', '');
  await two.fill('[name=json]', '{"a": }');
  await two.click('#nested button');
  await two.locator('#result.bad', { hasText: 'This is no JSON' }).waitFor();
  await target(two, 'Alpha').uncheck();
  await two.click('#message button');
  await two.locator('#result.bad', { hasText: 'Tick a channel' }).waitFor();
  assert.equal(await lines(one, 1, 'Alpha').count(), 0);
});

test('?ids= chooses the channels, and names what cannot be one', async () => {
  const page = await open('?ids=News,-name,Sport');
  assert.deepEqual(await page.locator('.browser:nth-child(1) .board h3 span').allTextContents(), ['News', 'Sport']);
  assert.match(await page.locator('#warning').textContent(), /“-name”/);
  await page.context().close();
});

test('markup in a message stays text', async () => {
  await one.fill('#message [name=text]', '<img src=x onerror=alert(1)>');
  await one.click('#message button');
  await lines(two, 1, 'Alpha').filter({ hasText: '<img src=x' }).waitFor();
  assert.equal(await two.locator('.board img').count(), 0);
});

test('fits a phone', async () => {
  const page = await open('', { width: 360, height: 740 });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  await page.context().close();
});

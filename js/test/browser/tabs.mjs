/** Tabs of one browser that share one poll, and what the tests of sharing ask them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Server, launch, site, until } from './support.mjs';

export const CHANNELS = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
export let host;
export let server;
export let context;
/** The open tabs: {page, ids, faults, polls, running}. A test takes out those that it ends. */
export const tabs = [];
let browser;
const MODULE = readFileSync(new URL('../../realplexor.js', import.meta.url), 'utf8');

export async function startAll() {
  host = await site({ '/': '<!DOCTYPE html><title>A site</title>' });
  server = await Server.start({}, ...options());
  browser = await launch();
}

export async function stopAll() {
  await browser?.close();
  await server?.stop();
  host?.stop();
}

export async function openContext() {
  context = await browser.newContext();
  tabs.length = 0;
}

export async function closeContext() {
  const faults = tabs.flatMap(({ faults }) => faults);
  await context.close();
  assert.deepEqual(faults, []);
}

export const options = () => ['--set', `wait.allowed_origins=["${host.url.slice(0, -1)}"]`, '--set', 'history.max_messages=3000'];
export const takeOut = (tab) => tabs.splice(tabs.indexOf(tab), 1);

/** Opens a tab that listens to `ids`, by the server's script or by the module. It keeps window.got as [id, data] and window.events, and here its polls, streams and WebSockets that are running. */
export async function open(ids, { url = server.url, options = {}, isModule = false } = {}) {
  const page = await context.newPage();
  const tab = { page, ids, faults: [], polls: 0, running: new Set() };
  tabs.push(tab);
  page.on('pageerror', (error) => tab.faults.push(String(error)));
  page.on('request', (request) => {
    if (!request.url().includes('ncrnd=')) return;
    tab.polls++;
    tab.running.add(request);
  });
  page.on('websocket', (socket) => {
    tab.running.add(socket);
    socket.on('close', () => tab.running.delete(socket));
  });
  for (const type of ['requestfinished', 'requestfailed']) page.on(type, (request) => tab.running.delete(request));
  await page.goto(host.url);
  if (isModule) await page.addScriptTag({ type: 'module', content: `${MODULE}\nwindow.Realplexor = Realplexor;` });
  else await page.addScriptTag({ url: `${server.url}?identifier=SCRIPT` });
  await page.waitForFunction(() => window.Realplexor);
  await page.evaluate(
    ([url, ids, options]) => {
      window.got = [];
      window.events = [];
      window.at = url;
      window.client = new Realplexor(url, options);
      for (const type of ['connected', 'disconnected', 'gap', 'error', 'stalled']) client.on(type, ({ reason }) => events.push(reason ?? type));
      for (const id of ids) client.subscribe(id, (data, id) => got.push([id, data]));
    },
    [url, ids, options],
  );
  return tab;
}

export const ready = (...tabs) => Promise.all(tabs.map(({ page }) => page.evaluate(() => client.ready)));
export const got = ({ page }) => page.evaluate(() => window.got);
export const events = ({ page }) => page.evaluate(() => window.events);
export const running = () => tabs.flatMap(({ running }) => [...running]).length;
export const leader = () => until(() => running() === 1 && tabs.find((tab) => tab.running.size), 'a tab that polls');
export const heard = (tab, number, what = 'messages') => until(async () => (await got(tab)).length >= number, `${number} ${what}`);

/** Nine tabs, each with two or three of the seven channels. */
export async function nine(options = {}) {
  for (let i = 0; i < 9; i++) await open([0, 2, 3].slice(0, 2 + (i % 2)).map((step) => CHANNELS[(i + step) % 7]), { options });
  await ready(...tabs);
}

/** Sends numbers from `from` on, over all channels in turn. Returns what was sent, as [id, number]. */
export async function sendAll(number, from = 0) {
  const sent = [];
  for (let i = from; i < from + number; i++) {
    sent.push([CHANNELS[i % 7], i]);
    await server.send(CHANNELS[i % 7], i);
  }
  return sent;
}

/** Each tab has all of its own, once and in order, and nothing else. */
export async function assertAll(sent, ...of) {
  for (const tab of of) {
    const own = sent.filter(([id]) => tab.ids.includes(id));
    await heard(tab, own.length);
    assert.deepEqual(await got(tab), own);
  }
}

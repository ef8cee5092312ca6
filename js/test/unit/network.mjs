/** A network for tests without a server: requests wait until a test answers them, and a clock moves when it says so. */
import assert from 'node:assert/strict';
import { mock } from 'node:test';
import { faults } from './checked.mjs';

const originals = { fetch: globalThis.fetch, error: console.error };
const GIVEN = ['addEventListener', 'removeEventListener', 'document', 'sessionStorage'];
export const requests = [];
export let page;
export const settled = () => new Promise(setImmediate);

export function begin() {
  requests.length = 0;
  page = new EventTarget();
  globalThis.addEventListener = (...given) => page.addEventListener(...given);
  globalThis.removeEventListener = (...given) => page.removeEventListener(...given);
  globalThis.document = { visibilityState: 'visible', addEventListener, removeEventListener };
  globalThis.sessionStorage = {};
  globalThis.fetch = (url, { signal, method, body }) =>
    new Promise((resolve, reject) => {
      const request = new Request_(url, method, body, resolve, reject);
      requests.push(request);
      signal.addEventListener('abort', () => request.abort());
    });
  console.error = () => {}; // refusals
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
}

export function end() {
  mock.timers.reset();
  Object.assign(globalThis, { fetch: originals.fetch });
  Object.assign(console, { error: originals.error });
  for (const name of GIVEN) delete globalThis[name];
  assert.deepEqual(faults, []);
}

/** Moves the clock on, in steps between which promises go on. */
export async function pass(seconds) {
  await settled();
  for (let ms = 0; ms < seconds * 1000; ms += 100) {
    mock.timers.tick(100);
    await settled();
  }
}

/** Returns the last request, which has to be running. */
export async function last() {
  await settled();
  const request = requests.at(-1);
  assert.ok(request.isRunning, 'a request runs');
  return request;
}

class Request_ {
  isRunning = true;
  #pieces = [];
  #wake = null;

  constructor(url, method, body, resolve, reject) {
    Object.assign(this, { url, method, body, resolve, reject });
  }

  get isStream() {
    return /&json&position&stream&client=\d{16,}$/.test(this.url);
  }

  get list() {
    return /\bidentifier=([*\w,.:-]*)/.exec(`${this.url}\n${this.body}`)[1];
  }

  abort() {
    this.isRunning = false;
    this.#put(new DOMException('aborted', 'AbortError'));
  }

  #put(piece) {
    this.#pieces.push(piece);
    this.#wake?.();
  }

  async #read() {
    while (!this.#pieces.length) await new Promise((wake) => (this.#wake = wake));
    const piece = this.#pieces.shift();
    if (piece instanceof Error) throw piece;
    return piece ? { done: false, value: piece } : { done: true };
  }

  #head(status, headers) {
    const given = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
    return { status, statusText: 'Reason', headers: { get: (name) => given[name.toLowerCase()] ?? null } };
  }

  /** Answers with a body in one piece, or fails with a reset for status 0. */
  async answer(status = 200, text = ' \r\n', headers = { 'X-Realplexor-Cursor': '1000' }) {
    assert.ok(this.isRunning);
    this.isRunning = false;
    if (status) this.resolve({ ...this.#head(status, headers), text: async () => text });
    else this.reject(new TypeError('Failed to fetch'));
    await settled();
  }

  /** Answers with a head alone. */
  async head(headers = {}) {
    this.resolve({ ...this.#head(200, headers), text: () => new Promise(() => {}) });
    await settled();
  }

  /** Answers with an event stream that begins with these events. */
  async stream(...events) {
    this.resolve({ ...this.#head(200, { 'Content-Type': 'text/event-stream' }), body: { getReader: () => ({ read: () => this.#read() }) } });
    await this.send(...events);
  }

  /** Goes on with pieces, each text or bytes. */
  async send(...pieces) {
    for (const piece of pieces) this.#put(typeof piece === 'string' ? new TextEncoder().encode(piece) : piece);
    await settled();
  }

  /** Ends the stream, by a reset or in an orderly way. */
  async stop(isReset = true) {
    assert.ok(this.isRunning);
    this.isRunning = false;
    this.#put(isReset ? new TypeError('network error') : null);
    await settled();
  }
}

export const opened = (cursor = '1000', gaps = []) => `retry: 1000\nid: ${cursor}:*\nevent: open\ndata: ${JSON.stringify({ cursor, gaps })}\n\n`;
export const message = (ids, data) => `id: ${Object.values(ids)[0]}:*\ndata: ${JSON.stringify({ ids, data })}\n\n`;
export const gap = (...ids) => `event: gap\ndata: ${JSON.stringify({ ids })}\n\n`;
export const beat = (mark) => `id: ${mark}\n\n`;
export const bye = (retry) => `retry: ${retry}\nevent: bye\ndata: {"retry":${retry}}\n\n`;

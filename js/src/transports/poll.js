/**
 * One poll: a request that the server answers once, with its position or with messages (protocol page, parts 2, 7 and 9).
 *
 * A client starts a transport with {cursors, asks, seconds}: what is to be heard, as cursors by their names on the wire, whether the
 * server is to answer at once with its position, and after how many seconds it is to end the poll else (0: when it likes). Hooks tell
 * the client what happens: `began(asks)` that a request goes to the server, `accepted` that the head of the answer has come, and
 * `done` its end, with the response, which `readAnswer` reads: {status, text, position, gaps, retryAfter, waited, asks}. Its `status` is
 * 0 and its `text` the reason if there was none, `retryAfter` are seconds, and `waited` are the milliseconds that it took. A
 * transport returns a function that ends it. But for `began` it calls nothing before it has returned, nor once it was ended.
 * It may throw if it cannot begin.
 */

import { log } from '../options.js';

/** Characters from which on the list of channels travels in a POST body: proxies cut longer addresses. */
const POST_FROM = 1700;

export function poll(options, { cursors, asks, seconds }, { began, accepted, done }) {
  const { url, identifier, client } = options;
  const items = Object.keys(cursors).map((name) => (cursors[name] === null ? name : `${cursors[name]}:${name}`));
  const marker = `${identifier}=${items.join()}`;
  const isPost = marker.length >= POST_FROM;
  const wait = (seconds ? '&timeout=' + seconds : '') + '&client=' + client;
  const query = `${isPost ? '' : marker + '&'}ncrnd=${Date.now()}&json${asks ? '&position' : wait}`;
  const request = {
    url: url + (url.indexOf('?') < 0 ? '?' : '&') + query,
    method: isPost ? 'POST' : 'GET',
    body: isPost ? marker + '\n' : undefined, // text/plain: no preflight across origins
    credentials: options.credentials,
  };
  const started = Date.now();
  let isOver = false;
  const once = (action) => (response) => {
    if (isOver) return;
    isOver = true;
    action(response);
  };
  const ended = once((response) => {
    response.waited = Date.now() - started;
    response.asks = asks;
    done(response);
  });
  log(options, request.method, query);
  began(asks);
  return once((typeof fetch === 'function' ? askByFetch : askByXhr)(request, () => isOver || accepted(), ended));
}

const failure = (text) => ({ status: 0, text });

/** Asks by fetch, and returns a function that aborts. */
function askByFetch({ url, method, body, credentials }, accepted, ended) {
  const controller = typeof AbortController === 'function' && new AbortController();
  const signal = controller ? controller.signal : undefined;
  fetch(url, { method, body, credentials, signal, cache: 'no-store' })
    .then((response) => {
      accepted();
      return response.text().then((text) => responseOf(response, text, (name) => response.headers.get(name)));
    })
    .then(ended, (error) => ended(failure(error.message)));
  return () => controller && controller.abort();
}

/** Asks by XMLHttpRequest, in browsers that have no fetch, and returns a function that aborts. */
function askByXhr({ url, method, body, credentials }, accepted, ended) {
  const request = new XMLHttpRequest();
  request.open(method, url, true);
  if (credentials === 'include') request.withCredentials = true;
  if (body) request.setRequestHeader('Content-Type', 'text/plain;charset=UTF-8');
  request.onreadystatechange = () => {
    const { readyState, status } = request;
    if (readyState > 1 && status) accepted();
    if (readyState !== 4) return;
    ended(status ? responseOf(request, request.responseText, (name) => request.getResponseHeader(name)) : failure('Failed to fetch'));
  };
  request.send(body);
  return () => request.abort();
}

function responseOf({ status, statusText }, text, header) {
  const after = status === 429 || status === 503 ? header('Retry-After') : 0;
  return {
    status,
    text: text.trim() || (status === 200 ? '' : statusText),
    position: header('X-Realplexor-Cursor'),
    gaps: header('X-Realplexor-Gap') || '',
    retryAfter: Math.max(0, isNaN(after) ? (Date.parse(after) - Date.now()) / 1000 : after) || 0,
  };
}

/**
 * Returns what an answer says: blocks [{ids, data}], the position (null: none) and the names on the wire that have a gap, where
 * `*` stands for all. Throws Error for a refusal, with its status, and for what cannot be read.
 */
export function readAnswer(response) {
  const { status, text, position, gaps } = response;
  if (!status) throw new TypeError(text);
  if (status < 200 || status > 299) {
    const error = new Error(`HTTP ${status}: ${text}`);
    error.status = status;
    throw error;
  }
  const blocks = readBlocks(text);
  if (!Array.isArray(blocks) || !blocks.every((block) => block && block.ids)) throw new Error('Answer is no list of messages');
  return { blocks, position, gaps: gaps.split(',').map((name) => name.trim()) };
}

/**
 * Returns the blocks of a body. A server that does not check its messages may send one that is no JSON, which must cost no
 * other: if a body that came to its end cannot be parsed, each block is parsed by itself, and such a block has an error in place
 * of its data.
 */
function readBlocks(text) {
  if (!text) return [];
  try {
    return JSON.parse(text);
  } catch (broken) {
    if (!/^\[\n[^]*\n  \}\n\]$/.test(text)) throw broken;
    return text
      .slice(1, -1)
      .split(/,(?=\n  \{\n    "ids": \{)/)
      .map((block) => {
        try {
          return JSON.parse(block);
        } catch (error) {
          const ids = /^\s*\{\s*"ids": (\{[^}]*\})/.exec(block);
          if (!ids) throw broken;
          return { ids: JSON.parse(ids[1]), error };
        }
      });
  }
}

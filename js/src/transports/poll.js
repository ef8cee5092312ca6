/**
 * One request to the server, and its answer (protocol page, parts 2, 7 and 9).
 *
 * A client starts a request with {cursors, asks, seconds}: what is to be heard, as cursors by their names on the wire, whether the
 * server is to answer at once with its position, and after how many seconds it is to end the poll else (0: when it likes). Hooks tell
 * the client what happens: `began(asks)` that a request goes to the server, `accepted` that the head of the answer has come, `silent(seconds)`
 * that nothing has come for so long, and `done` the answer: {status, text, blocks, position, gaps, retryAfter, waited, asks, by, more}.
 *
 * `blocks` are messages, [{ids, data}], with a text `broken` in place of data that is no JSON, or with `isMark` where the cursors alone
 * move. They are undefined for a refusal, with the reason as `text`, for what cannot be read, and where there was no
 * answer; its `status` is 0 then. `position` is null where the server gives none, `gaps` are the names on the wire that have a gap, where `*`
 * stands for all; `refused` are those that the server lets nobody hear without another grant. `expires` are seconds until the grant ends. `retryAfter` are seconds, `waited` the milliseconds since the request began.
 *
 * By another transport, named `by`, a request may go on behind an answer, which says so by `more`. Of its answers only the first has a
 * `position`, and of the others those alone have `gaps` that tell of some.
 *
 * The request is ended by the function that is returned. But for `began` it calls nothing before it has returned, nor once it was ended.
 * It may throw if it cannot begin.
 */

import { log } from '../options.js';

/** Characters from which on the list of channels travels in a POST body: proxies cut longer addresses. */
const POST_FROM = 1700;

/** Polls, with a `grant` if there is one, or asks by another transport's `ask`, with its `tail` behind the address (transports/stream.js). */
export function poll(options, { cursors, asks, seconds, grant }, hooks, by) {
  const { url, identifier, client } = options;
  const items = Object.keys(cursors).map((name) => (cursors[name] === null ? name : `${cursors[name]}:${name}`));
  const marker = `${identifier}=${items.join()}`;
  const isPost = grant || marker.length >= POST_FROM;
  const wait = (seconds ? '&timeout=' + seconds : '') + '&client=' + client;
  const query = `${isPost ? '' : marker + '&'}ncrnd=${Date.now()}&json${asks ? '&position' : wait}${by ? by.tail : ''}`;
  const request = {
    url: url + (url.indexOf('?') < 0 ? '?' : '&') + query,
    method: isPost ? 'POST' : 'GET',
    body: isPost ? marker + '\n' + (grant ? `grant=${grant}\n` : '') : undefined, // text/plain: no preflight across origins
    credentials: options.credentials,
  };
  const started = Date.now();
  let isOver = false;
  const accepted = () => isOver || hooks.accepted();
  const give = (response) => {
    if (isOver) return;
    isOver = !response.more;
    response.waited = Date.now() - started;
    response.asks ??= asks;
    hooks.done(response);
  };
  const ask = !CLASSIC || typeof fetch === 'function' ? askByFetch : askByXhr;
  log(options, request.method, query);
  hooks.began(asks);
  const end = by ? by.ask(request, accepted, give, ask) : ask(request, accepted, give);
  return () => {
    if (isOver) return;
    isOver = true;
    end();
  };
}

const failure = (text) => ({ status: 0, text });

/** Asks by fetch, and returns a function that aborts. What `read(body, type)` gives a promise for is read by it. */
function askByFetch({ url, method, body, credentials }, accepted, give, read) {
  const controller = CLASSIC && typeof AbortController !== 'function' ? { abort() {} } : new AbortController();
  const { signal } = controller;
  fetch(url, { method, body, credentials, signal, cache: 'no-store' })
    .then((response) => {
      const header = (name) => response.headers.get(name);
      accepted();
      return (read && read(response.body, header('Content-Type'))) || response.text().then((text) => responseOf(response, text, header));
    })
    .then(give, (error) => give(failure(error.message)));
  return () => controller.abort();
}

/** Asks by XMLHttpRequest, in browsers that have no fetch, and returns a function that aborts. */
function askByXhr({ url, method, body, credentials }, accepted, give) {
  const request = new XMLHttpRequest();
  request.open(method, url, true);
  if (credentials === 'include') request.withCredentials = true;
  if (body) request.setRequestHeader('Content-Type', 'text/plain;charset=UTF-8');
  request.onreadystatechange = () => {
    const { readyState, status } = request;
    if (readyState > 1 && status) accepted();
    if (readyState !== 4) return;
    give(status ? responseOf(request, request.responseText, (name) => request.getResponseHeader(name)) : failure('Failed to fetch'));
  };
  request.send(body);
  return () => request.abort();
}

function responseOf({ status, statusText }, text, header) {
  const list = (name) => (header(name) || '').split(/\s*,\s*/);
  const after = status === 429 || status === 503 ? header('Retry-After') : 0;
  const response = {
    status,
    text: status < 300 ? '' : `HTTP ${status}: ${text.trim() || statusText}`,
    position: header('X-Realplexor-Cursor'),
    gaps: list('X-Realplexor-Gap'),
    refused: list('X-Realplexor-Refused'),
    expires: header('X-Realplexor-Grant-TTL'),
    retryAfter: Math.max(0, isNaN(after) ? (Date.parse(after) - Date.now()) / 1000 : after) || 0,
  };
  try {
    if (status < 300) response.blocks = blocksOf(text.trim() || '[]');
  } catch (error) {
    response.text = error.message;
  }
  return response;
}

/** Returns the blocks of a body. Throws Error for what is no list of messages. */
function blocksOf(text) {
  const blocks = parsed(text);
  if (!blocks.every?.((block) => block.ids)) throw new Error('Answer is no list of messages');
  return blocks;
}

/**
 * Returns what a body says. A server that does not check its messages may send one that is no JSON, which must cost no
 * other: if a body that came to its end cannot be parsed, each block is parsed by itself, and such a block says why it is
 * broken in place of its data.
 */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!/^\[\n[^]*\n  \}\n\]$/.test(text)) throw error;
    return text
      .slice(1, -1)
      .split(/,(?=\n  \{\n    "ids": \{)/)
      .map((block) => {
        try {
          return JSON.parse(block);
        } catch ({ message }) {
          const ids = /^\s*\{\s*"ids": (\{[^}]*\})/.exec(block);
          if (!ids) throw error;
          return { ids: JSON.parse(ids[1]), broken: message };
        }
      });
  }
}

/** Returns the error that tells of a response without blocks. That of a refusal has its status. */
export function errorOf({ status, text }) {
  const error = new (status ? Error : TypeError)(text);
  if (status > 299) error.status = status;
  return error;
}

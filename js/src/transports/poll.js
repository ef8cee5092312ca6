/**
 * One poll: a request that the server answers once, with its position or with messages (protocol page, parts 2 and 7).
 *
 * The client starts a transport with what is to be heard and with two functions: `answered` gets {blocks, position, gaps}, and
 * `failed` gets an Error, whose `status` is the HTTP status of a refusal. A transport returns a function that ends it. It calls
 * neither of the two before it has returned, nor once it was ended. It may throw if it cannot begin.
 */

import { log } from '../options.js';

/** Characters from which on the list of channels travels in a POST body: proxies cut longer addresses. */
const POST_FROM = 1700;

/**
 * Polls for `channels`, which are {cursor} by their names on the wire. `asks` has the server answer at once with its position.
 * Of `answered` and `failed` one is called, once.
 */
export function poll(options, channels, asks, answered, failed) {
  const { url, identifier } = options;
  const items = Object.keys(channels).map((name) => {
    const { cursor } = channels[name];
    return cursor === null ? name : `${cursor}:${name}`;
  });
  const marker = `${identifier}=${items.join()}`;
  const isPost = marker.length >= POST_FROM;
  const query = `${isPost ? '' : marker + '&'}ncrnd=${Date.now()}&json${asks ? '&position' : ''}`;
  const request = {
    url: url + (url.indexOf('?') < 0 ? '?' : '&') + query,
    method: isPost ? 'POST' : 'GET',
    body: isPost ? marker + '\n' : undefined, // text/plain: no preflight across origins
    credentials: options.credentials,
  };
  let isOver = false;
  const once = (action) => (value) => {
    if (isOver) return;
    isOver = true;
    action(value);
  };
  log(options, request.method, query);
  return once((typeof fetch === 'function' ? askByFetch : askByXhr)(request, once(answered), once(failed)));
}

/** Asks by fetch, and returns a function that aborts. */
function askByFetch({ url, method, body, credentials }, answered, failed) {
  const controller = typeof AbortController === 'function' && new AbortController();
  const signal = controller ? controller.signal : undefined;
  fetch(url, { method, body, credentials, signal, cache: 'no-store' })
    .then((response) => response.text().then((text) => readAnswer(response, text, (name) => response.headers.get(name))))
    .then(answered, failed);
  return () => controller && controller.abort();
}

/** Asks by XMLHttpRequest, in browsers that have no fetch, and returns a function that aborts. */
function askByXhr({ url, method, body, credentials }, answered, failed) {
  const request = new XMLHttpRequest();
  request.open(method, url, true);
  if (credentials === 'include') request.withCredentials = true;
  if (body) request.setRequestHeader('Content-Type', 'text/plain;charset=UTF-8');
  request.onreadystatechange = () => {
    if (request.readyState !== 4) return;
    let answer;
    try {
      if (!request.status) throw new TypeError('Failed to fetch');
      answer = readAnswer(request, request.responseText, (name) => request.getResponseHeader(name));
    } catch (error) {
      return failed(error);
    }
    answered(answer);
  };
  request.send(body);
  return () => request.abort();
}

/**
 * Returns what an answer says: blocks [{ids, data}], the position (null: none) and the names on the wire that have a gap. Throws
 * Error for a refusal, with its status, and for what cannot be read.
 */
function readAnswer({ status, statusText }, text, header) {
  if (status < 200 || status > 299) {
    const error = new Error(`HTTP ${status}: ${text.trim() || statusText}`);
    error.status = status;
    throw error;
  }
  const blocks = readBlocks(text.trim());
  if (!Array.isArray(blocks) || !blocks.every((block) => block && block.ids)) throw new Error('Answer is no list of messages');
  return {
    blocks,
    position: header('X-Realplexor-Cursor'),
    gaps: (header('X-Realplexor-Gap') || '').split(',').map((name) => name.trim()),
  };
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

/**
 * A WAIT line on loopback that does what a test tells it, also what no real server does on purpose.
 *
 * `answer(poll, response)` handles each poll; polls are kept as {method, url, query, list, asks, body, type, gone}.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';

export class ScriptedServer {
  polls = [];
  #waiters = [];

  static async start(answer) {
    const self = new ScriptedServer();
    self.answer = answer;
    self.server = createServer((request, response) => self.#receive(request, response));
    self.server.listen(0, '127.0.0.1');
    await once(self.server, 'listening');
    self.url = `http://127.0.0.1:${self.server.address().port}/`;
    return self;
  }

  async #receive(request, response) {
    let body = '';
    for await (const piece of request) body += piece;
    const list = /\bidentifier=([*\w,.:-]*)/.exec(request.url + '\n' + body)?.[1];
    const asks = /[?&]position(=1)?(&|$)/.test(request.url);
    const poll = { method: request.method, url: request.url, list, asks, body, type: request.headers['content-type'], gone: false };
    response.on('close', () => (poll.gone = true));
    this.polls.push(poll);
    this.answer(poll, response);
    for (const wake of this.#waiters.splice(0)) wake();
  }

  /** Returns the poll with this number, from 0, once it has come. */
  async poll(number) {
    while (this.polls.length <= number) await new Promise((wake) => this.#waiters.push(wake));
    return this.polls[number];
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}

/** Answers as the protocol page says in parts 2 and 7.4. Messages are [{ids, data}]; position and gaps go into the head. */
export function reply(response, messages = [], { position = '1000.000000', gaps = [] } = {}) {
  const headers = { 'Content-Type': 'text/javascript; charset=utf-8' };
  if (position) headers['X-Realplexor-Cursor'] = position;
  if (gaps.length) headers['X-Realplexor-Gap'] = gaps.join();
  response.writeHead(200, headers);
  response.end(' \r\n' + (messages.length ? JSON.stringify(messages) : ''));
}

/** Returns a handler that answers questions for the position at once, and the n-th other poll with the n-th script, if there is one. */
export function script(...steps) {
  return (poll, response) => {
    if (poll.asks) reply(response);
    else steps.shift()?.(response, poll);
  };
}

/**
 * What checks grants in front of a WAIT line, and the site that gives them, on one host: part 12 of the protocol page as far as browsers see it.
 * Signatures are not looked at: a grant is what this site has given.
 */
import { once } from 'node:events';
import { createServer, request as ask } from 'node:http';

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const now = () => Date.now() / 1000;
/** Milliseconds that a stream goes on behind the end of its grant. */
const GRACE = 1000;

export class Granting {
  given = 0; // grants
  asked = 0; // requests of clients, and those of them that brought no grant, or one that had ended
  guests = 0;
  late = 0;
  isLoggedIn = true;
  #grants = new Map(); // text -> {exp, channels}

  /** `port` is the WAIT line's. Each grant is for `channels`, and lasts so many seconds. */
  static async start(port, { seconds, channels }) {
    const self = new Granting();
    Object.assign(self, { port, seconds, channels });
    self.server = createServer((request, response) => self.#answer(request, response));
    self.server.listen(0, '127.0.0.1');
    await once(self.server, 'listening');
    self.url = `http://127.0.0.1:${self.server.address().port}/`;
    return self;
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }

  async #answer(request, response) {
    const end = (status, text) => response.writeHead(status, { 'Content-Type': 'text/html' }).end(text);
    if (request.url === '/page') return end(200, '<!DOCTYPE html><title>A site</title>');
    if (request.url === '/favicon.ico') return end(204);
    if (request.url === '/grant') return this.isLoggedIn ? end(200, this.#given()) : end(401, 'log in');
    let body = '';
    for await (const piece of request) body += piece;
    if (/identifier=SCRIPT/.test(request.url)) return this.#pass(request, response, '');
    this.asked++;
    const [, marker, token] = /^identifier=(\S+)\n(?:grant=(\S+)\n)?$/.exec(body) ?? [];
    const grant = this.#grants.get(token);
    if (!grant) {
      this.guests++;
      return end(403, 'a guest');
    }
    if (now() > grant.exp) {
      this.late++;
      return end(401, 'the grant has ended');
    }
    const items = marker.split(',');
    const isOpen = (item) => grant.channels.includes(item.split(':').pop());
    const refused = items.filter((item) => !isOpen(item)).map((item) => item.split(':').pop());
    return this.#pass(request, response, `identifier=${items.filter(isOpen).join()}\n`, grant, refused);
  }

  #given() {
    this.given++;
    const claims = { iat: Math.floor(now()), exp: Math.floor(now()) + this.seconds, channels: this.channels };
    const token = `${part({ alg: 'HS256' })}.${part({ ...claims, jti: this.given })}.c2ln`;
    this.#grants.set(token, claims);
    return token;
  }

  /** Hands a request on to the WAIT line, and its answer back until the grant ends. */
  #pass({ method, url, headers }, response, body, grant, refused = []) {
    const { 'accept-encoding': _, 'content-length': __, ...others } = headers;
    const isStream = /&stream/.test(url);
    const left = () => Math.max(0, grant.exp - now());
    const onward = ask({ host: '127.0.0.1', port: this.port, method, path: url, headers: { ...others, 'Content-Length': body.length } });
    onward.on('response', (answer) => {
      if (grant && !isStream) answer.headers['x-realplexor-grant-ttl'] = Math.floor(left());
      if (refused.length && !isStream) answer.headers['x-realplexor-refused'] = refused.join();
      response.writeHead(answer.statusCode, answer.headers);
      answer.once('data', () => {
        if (refused.length && isStream) response.write(`event: refused\ndata: ${JSON.stringify({ ids: refused })}\n\n`);
        if (isStream) response.write(`event: expires\ndata: {"in":${Math.min(25, left())}}\n\n`);
      });
      answer.pipe(response);
      answer.on('error', () => response.end());
    });
    const timer = grant && setTimeout(() => onward.destroy(), left() * 1000 + (isStream ? GRACE : 0));
    onward.on('error', () => {
      if (!response.headersSent) response.writeHead(200, { 'Content-Type': 'text/javascript; charset=utf-8' }).write(' \r\n');
      response.end();
    });
    response.on('close', () => {
      clearTimeout(timer);
      onward.destroy();
    });
    onward.end(body);
  }
}

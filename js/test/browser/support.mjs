/** What all browser tests need: real servers, a real Chromium, and pages on hosts of their own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const PYTHON = process.env.PYTHON || 'python3';
const CHROMIUM = process.env.CHROMIUM || ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);

/** `python -m rplx serve` on loopback; `wait` and `in_` are {host, port}, `url` the WAIT line's address. */
export class Server {
  log = '';

  static async start({ wait = 0, in_ = 0 } = {}, ...options) {
    return Server.#run(['-m', 'rplx', 'serve', '--wait', `127.0.0.1:${wait}`, '--in', `127.0.0.1:${in_}`, ...options]);
  }

  /** `dklab_realplexor` as installed, but for its ports. */
  static async startOld() {
    const folder = mkdtempSync(join(tmpdir(), 'rplx-'));
    const conf = join(folder, 'old.conf');
    writeFileSync(conf, '%CONFIG = (WAIT_ADDR => ["127.0.0.1:0"], IN_ADDR => ["127.0.0.1:0"], SU_USER => "");\n');
    try {
      return await Server.#run(['-c', 'import sys; from rplx.cli.old_command import main; sys.exit(main())', conf]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  static async #run(command) {
    const self = new Server();
    self.process = spawn(PYTHON, command, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const pipe of [self.process.stdout, self.process.stderr]) pipe.on('data', (text) => (self.log += text));
    self.wait = await self.#bound('WAIT');
    self.in_ = await self.#bound('IN');
    self.url = `http://127.0.0.1:${self.wait}/`;
    self.agent = new Agent({ keepAlive: true, maxSockets: 1 });
    return self;
  }

  async #bound(line) {
    const pattern = new RegExp(`\\b${line}: listening \\S+:(\\d+)`);
    const end = Date.now() + 60_000;
    while (Date.now() < end) {
      const match = pattern.exec(this.log);
      if (match) return Number(match[1]);
      if (this.process.exitCode !== null) break;
      await sleep(10);
    }
    throw new Error(`the server does not listen on ${line}:\n${this.log}`);
  }

  /** Sends `data` as JSON to the marker's list `ids` over one kept connection. Returns the receipt's text. */
  async send(ids, data) {
    const body = JSON.stringify(data);
    const headers = { 'X-Realplexor': `identifier=${ids}`, 'Content-Length': Buffer.byteLength(body) };
    return this.#in({ method: 'POST', headers }, body);
  }

  /** Returns the ids that are online, with their counts. */
  async online() {
    const text = await this.#in({ method: 'POST', headers: { 'Content-Length': 8 } }, 'ONLINE\n\n');
    return Object.fromEntries(text.split('\n').filter(Boolean).map((line) => line.split(' ')));
  }

  async #in(options, body) {
    const sent = request({ host: '127.0.0.1', port: this.in_, agent: this.agent, ...options });
    sent.end(body);
    const [response] = await once(sent, 'response');
    let text = '';
    for await (const piece of response) text += piece;
    if (response.statusCode !== 200) throw new Error(`IN: ${response.statusCode} ${text}`);
    return text;
  }

  async stop(signal = 'SIGINT') {
    this.agent.destroy();
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.kill(signal);
    await once(this.process, 'exit');
  }
}

/** Serves the given pages, path -> HTML or a script, on loopback as a site of its own, by whatever name it is asked for. */
export async function site(pages, headers = {}) {
  const server = createServer((request, response) => {
    const path = new URL(request.url, 'http://site').pathname;
    const page = path === '/favicon.ico' ? '' : pages[path];
    const type = path.endsWith('.js') ? 'text/javascript' : 'text/html';
    response.writeHead(page === undefined ? 404 : 200, { 'Content-Type': `${type}; charset=utf-8`, ...headers });
    response.end(page);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  return {
    port,
    pages,
    url: `http://127.0.0.1:${port}/`,
    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Launches Chromium. The name site, names below it and names below .test lead to loopback there. */
export function launch() {
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--host-resolver-rules=MAP *.test 127.0.0.1, MAP site 127.0.0.1, MAP *.site 127.0.0.1',
    ],
  });
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `condition` returns something true, and returns it. Fails with `what` after `timeout` milliseconds. */
export async function until(condition, what, timeout = 60_000) {
  const end = Date.now() + timeout;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${timeout} ms: ${what}`);
    await sleep(10);
  }
}

/** Does `action` until it succeeds, once of so many tries: for what fails if the machine stalls in the midst of it. */
export async function atBest(action, tries = 5) {
  for (let left = tries; ; ) {
    try {
      return await action();
    } catch (error) {
      if (--left === 0) throw error;
    }
  }
}

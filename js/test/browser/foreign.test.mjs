// A page of another site in a real Chromium can neither publish on the IN line nor read on the WAIT line.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { Server, launch, site, sleep, until } from './support.mjs';

let browser;
let host;
let server;
let page;
let inUrl;
let canary = 0;

before(async () => {
  host = await site({ '/': '<!DOCTYPE html><title>Another site</title>' });
  server = await Server.start();
  // The server is asked by name over plain HTTP. To such an address, neither TLS nor loopback, Chromium sends no Sec-Fetch headers.
  inUrl = `http://in.test:${server.in_}/`;
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  host?.stop();
});

beforeEach(async () => {
  page = await (await browser.newContext()).newPage();
  await page.goto(`http://foreign.test:${host.port}/`);
});

afterEach(() => page.context().close());

/** Returns all that was ever stored in `id`, as the texts that a listener of our own gets. */
async function stored(id) {
  const response = await fetch(`${server.url}?identifier=1:${id}&position`);
  const text = (await response.text()).trim();
  return text ? JSON.parse(text).map(({ data }) => data) : [];
}

/** Checks what every foreign attack on IN must end with: nothing is stored, and the server still takes sends. */
async function nothingPublished(id) {
  assert.deepEqual(await stored(id), []);
  const sent = `canary ${++canary}`;
  await server.send('canary', sent);
  assert.equal((await stored('canary')).at(-1), sent);
}

const messageBody = (id) => `identifier=${id}\n\n"from a browser"`;

// The ways in which a page can send. Each returns what the page could read, or the name of the error.
const fetches = {
  'a plain POST': (url, body) => [url, { method: 'POST', body }],
  'a POST without CORS': (url, body) => [url, { method: 'POST', body, mode: 'no-cors' }],
  'a POST without a Referer': (url, body) => [url, { method: 'POST', body, mode: 'no-cors', referrerPolicy: 'no-referrer' }],
  'a GET': (url) => [url, { mode: 'no-cors' }],
  'a GET without a Referer': (url) => [url, { mode: 'no-cors', referrerPolicy: 'no-referrer' }],
  'a header of back-ends': (url, body, id) => [url, { method: 'POST', body: '"x"', headers: { 'X-Realplexor': `identifier=${id}` } }],
};

for (const [number, [name, make]] of Object.entries(fetches).entries()) {
  test(`IN: fetch, ${name}`, async () => {
    const id = `fetch${number}`;
    const [url, options] = make(`${inUrl}?identifier=${id}`, messageBody(id), id);
    const read = await page.evaluate(
      async ([url, options]) => {
        const giveUp = AbortSignal.timeout(1000);
        try {
          const response = await fetch(url, { ...options, signal: giveUp });
          return response.type === 'opaque' ? await response.text() : `read ${await response.text()}`;
        } catch (error) {
          return error.name;
        }
      },
      [url, options],
    );
    assert.ok(['', 'TypeError', 'TimeoutError', 'AbortError'].includes(read), read);
    await nothingPublished(id);
  });
}

for (const [number, enctype] of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'].entries()) {
  for (const policy of ['', 'no-referrer']) {
    test(`IN: a form, ${enctype} ${policy}`, async () => {
      const id = `form${number}${policy ? 'n' : ''}`;
      const [response] = await Promise.all([
        page.waitForResponse((response) => response.url().startsWith(inUrl)),
        page.evaluate(
          ([url, enctype, id, policy]) => {
            if (policy) document.head.insertAdjacentHTML('beforeend', `<meta name="referrer" content="${policy}">`);
            const form = document.createElement('form');
            Object.assign(form, { method: 'POST', action: `${url}?identifier=${id}`, enctype });
            const field = document.createElement('textarea');
            field.name = `identifier=${id}\n\n{"a":"`;
            field.value = '"}';
            form.append(field);
            document.body.append(form);
            form.submit();
          },
          [inUrl, enctype, id, policy],
        ),
      ]);
      assert.equal(response.status(), 403);
      await nothingPublished(id);
    });
  }
}

test('IN: beacons, scripts, images, frames, EventSource and WebSocket', async () => {
  await page.evaluate(
    ([url, body]) => {
      navigator.sendBeacon(`${url}?identifier=tags`, body);
      for (const name of ['script', 'img', 'iframe']) {
        const element = document.createElement(name);
        element.referrerPolicy = 'no-referrer';
        element.src = `${url}?identifier=tags&ONLINE`;
        document.body.append(element);
      }
      new EventSource(`${url}?identifier=tags`);
      new WebSocket(`${url.replace('http', 'ws')}?identifier=tags`).onopen = (event) => event.target.send(body);
    },
    [inUrl, messageBody('tags')],
  );
  await sleep(300);
  await page.goto('about:blank'); // ends what is still open
  await nothingPublished('tags');
});

test('IN: a page whose name is turned to our address (DNS rebinding) is refused by its Origin', async () => {
  // For the browser, this is the same origin as IN.
  await page.route(`${inUrl}own`, (route) => route.fulfill({ contentType: 'text/html', body: '<!DOCTYPE html>' }));
  await page.goto(`${inUrl}own`);
  const [response] = await Promise.all([
    page.waitForResponse((response) => response.url().endsWith('/?identifier=rebound')),
    page.evaluate(() => {
      document.head.insertAdjacentHTML('beforeend', '<meta name="referrer" content="no-referrer">');
      document.body.innerHTML = '<form method="post" enctype="text/plain" action="/?identifier=rebound"><input name="x">';
      document.forms[0].submit();
    }),
  ]);
  assert.equal(response.status(), 403);
  assert.equal(await response.text(), 'this address is for back-ends, not for browsers\n');
  await nothingPublished('rebound');
});

test('IN: a method of its own, longer than any, does not turn a rebound page\'s request into plain text', async () => {
  await page.route(`${inUrl}own`, (route) => route.fulfill({ contentType: 'text/html', body: '<!DOCTYPE html>' }));
  await page.goto(`${inUrl}own`);
  for (const length of [32, 33, 64]) {
    const texts = await page.evaluate(async (length) => {
      const method = 'M'.repeat(length);
      const bodies = ['STATS\n\n', 'identifier=rebound\n\n"x"'];
      const read = bodies.map((body) => fetch('/', { method, body, referrerPolicy: 'no-referrer' }).then((r) => r.text()));
      return (await Promise.allSettled(read)).map(({ value }) => value ?? '');
    }, length);
    for (const text of texts) assert.doesNotMatch(text, /data_to_send|rebound/);
  }
  await nothingPublished('rebound');
});

test('WAIT: fetch reads nothing, with CORS and without', async () => {
  await server.send('secret', 'for our pages');
  const url = `${server.url}?identifier=1:secret`;
  const read = await page.evaluate(
    async (url) => {
      const found = [];
      for (const options of [{}, { credentials: 'include' }, { method: 'POST', body: 'identifier=1:secret ' }]) {
        found.push(await fetch(url, options).then((response) => response.text(), (error) => error.name));
      }
      const opaque = await fetch(url, { mode: 'no-cors' });
      return [...found, opaque.type, await opaque.text(), opaque.headers.get('X-Realplexor-Cursor')];
    },
    url,
  );
  assert.deepEqual(read, ['TypeError', 'TypeError', 'TypeError', 'opaque', '', null]);
});

/** Loads polls of `id` in the page by script and image. Returns how each ended, and what the page could read of them. */
const byTags = (url, ids) =>
  page.evaluate(
    async ([url, ids]) => {
      const leaked = [];
      const became = [];
      // In old browsers an array that is a script could be read in these ways.
      const { Array: whole } = window;
      window.Array = function Array() { leaked.push('Array'); };
      for (const name of ['ids', 'data', 'text']) {
        Object.defineProperty(Object.prototype, name, { configurable: true, set: () => leaked.push(name) });
      }
      window.onerror = (message) => leaked.push(message);
      for (const tag of ['script', 'img']) {
        for (const id of ids) {
          const element = document.createElement(tag);
          element.src = `${url}?identifier=${id}`;
          document.body.append(element);
          became.push(await new Promise((resolve) => {
            element.onload = () => resolve('loaded');
            element.onerror = () => resolve('refused');
            setTimeout(() => resolve('waits'), 30_000);
          }));
        }
      }
      window.Array = whole;
      for (const name of ['ids', 'data', 'text']) delete Object.prototype[name];
      return { leaked, became };
    },
    [url, ids],
  );

test('WAIT: a script or an image learns nothing, not even that a message came', async () => {
  await server.send('secret', { text: 'for our pages' });
  const refused = { leaked: [], became: ['refused', 'refused', 'refused', 'refused'] };
  assert.deepEqual(await byTags(server.url, ['1:secret', 'waiting']), refused);
  assert.ok(!('waiting' in (await server.online())));
});

test('WAIT: without Sec-Fetch headers a script or an image learns that a message is there, and nothing of it', async () => {
  await server.send('secret', { text: 'for our pages' });
  const told = { leaked: [], became: ['loaded', 'refused'] };
  assert.deepEqual(await byTags(`http://wait.test:${server.wait}/`, ['1:secret']), told);
});

test('WAIT: EventSource and WebSocket do not open', async () => {
  const opened = await page.evaluate(
    async ([url, ws]) => {
      const opened = [];
      for (const source of [new EventSource(url), new WebSocket(ws)]) {
        source.onopen = () => opened.push(source.constructor.name);
        source.onmessage = ({ data }) => opened.push(data);
      }
      await new Promise((resolve) => setTimeout(resolve, 300));
      return opened;
    },
    [`${server.url}?identifier=1:secret`, `${server.url.replace('http', 'ws')}?identifier=ws`],
  );
  assert.deepEqual(opened, []);
  await until(async () => !Number((await server.online()).ws ?? 0) || (await page.goto('about:blank')), 'the WebSocket gone');
});

test('WAIT: a foreign form shows the answer to the user alone', async () => {
  await server.send('secret', 'for our pages');
  const seen = await page.evaluate(async (url) => {
    const frame = document.createElement('iframe');
    frame.src = `${url}?identifier=1:secret`;
    document.body.append(frame);
    await new Promise((resolve) => (frame.onload = resolve));
    try {
      return frame.contentDocument && frame.contentDocument.body.textContent;
    } catch (error) {
      return error.name;
    }
  }, server.url);
  assert.ok(seen === null || seen === 'SecurityError', String(seen));
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import vm from 'node:vm';
import { parse } from 'acorn';
import * as shipped from '../../realplexor.js';

const js = fileURLToPath(new URL('../../', import.meta.url));
const read = (path) => readFileSync(js + path, 'utf8');
const SERVED = '../rplx/served/';
const OPTIONS = ['IDENTIFIER', 'JS_DEBUG', 'JS_MAX_BOUNCES', 'JS_WAIT_RECONNECT_DELAY', 'JS_WAIT_URI', 'WAIT_TIMEOUT'];

/** Returns the file as the server sends it with these options. */
const filled = (text, options) => text.replace(/\$([A-Z][A-Z0-9_]*)/g, (_, name) => options[name] ?? `undefined-${name}`);

/** Runs the classic script as a page would, and returns the address of its first request. */
async function firstRequest(script, url) {
  let arrived;
  const request = new Promise((resolve) => (arrived = resolve));
  const page = {
    location: { href: 'http://site.example/page' },
    fetch: (address) => new Promise(() => arrived(address)),
    ...{ URL, AbortController, setTimeout, clearTimeout, clearInterval, queueMicrotask, console: { ...console, debug() {} } },
    setInterval: () => 0,
  };
  vm.runInNewContext(`${script}; client = new Dklab_Realplexor(${JSON.stringify(url)}, 'ns_'); client.subscribe('a', () => {})`, page);
  try {
    return await request;
  } finally {
    page.client.close();
  }
}

test('served files name the known options and nothing else that the server would replace', () => {
  for (const [name, more] of Object.entries({ 'script.js': ['SCRIPT_ID'], 'iframe.html': [], 'shared.js': null, 'websocket.js': null })) {
    const names = new Set([...read(SERVED + name).matchAll(/\$([A-Z][A-Z0-9_]*)/g)].map((match) => match[1]));
    assert.deepEqual([...names].sort(), more ? [...OPTIONS, ...more].sort() : [], name);
  }
});

test('the classic script takes the options of the server that served it', async () => {
  const options = { JS_WAIT_URI: '/rpl/', IDENTIFIER: 'marker', WAIT_TIMEOUT: '300.0', JS_MAX_BOUNCES: '10', JS_WAIT_RECONNECT_DELAY: '0.01', JS_DEBUG: '1' };
  assert.match(await firstRequest(filled(read(SERVED + 'script.js'), options), 'http://rpl.example:8088/'), /^http:\/\/rpl\.example:8088\/rpl\/\?marker=ns_a&ncrnd=\d+&json&position$/);
});

test('a copy that no server has filled in has the defaults, and so has one with options unknown', async () => {
  for (const script of [read(SERVED + 'script.js'), filled(read(SERVED + 'script.js'), {})]) {
    assert.match(await firstRequest(script, 'http://rpl.example:8088/?0'), /^http:\/\/rpl\.example:8088\/\?0&identifier=ns_a&ncrnd=\d+&json&position$/);
    assert.match(await firstRequest(script, null), /^http:\/\/site\.example\/\?identifier=ns_a&/);
  }
});

test('what the server sends has no syntax beyond ES5', () => {
  const [, inline] = read(SERVED + 'iframe.html').match(/<script>([^]*)<\/script>/);
  for (const [name, code] of Object.entries({ 'script.js': read(SERVED + 'script.js'), 'iframe.html': inline })) {
    assert.doesNotThrow(() => parse(code, { ecmaVersion: 5 }), name);
    assert.doesNotThrow(() => parse(filled(code, {}), { ecmaVersion: 5 }), name);
  }
  assert.throws(() => parse('let a = () => 1', { ecmaVersion: 5 }));
});

test('the module that npm publishes has its names, and no trace of what the tests check', () => {
  const names = ['Dklab_Realplexor', 'Realplexor', 'compareCursors', 'default'];
  assert.deepEqual(Object.keys(shipped), names);
  assert.equal(shipped.default, shipped.Realplexor);
  for (const path of ['realplexor.js', SERVED + 'script.js', SERVED + 'iframe.html']) assert.doesNotMatch(read(path), /PHASE_CHECK|follows/);
});

test('the declarations name every public member and no other', () => {
  const declared = read('realplexor.d.ts').match(/declare class Realplexor {(.*?)\n}/s)[1];
  const names = new Set([...declared.matchAll(/^ {2}(?:readonly )?([a-zA-Z]+)[<(:]/gm)].map((match) => match[1]));
  assert.deepEqual([...names].sort(), Object.getOwnPropertyNames(shipped.Realplexor.prototype).sort());
});

test('npm packs what its package.json promises', async () => {
  const [{ name, files }] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--silent'], { cwd: js, encoding: 'utf8' }).replace(/^[^[]*/, ''));
  const paths = files.map((file) => file.path);
  const { exports, main, types, unpkg } = JSON.parse(read('package.json'));
  assert.equal(name, 'rplx');
  const promised = [main, types, unpkg, exports['.'].default, exports['.'].types, exports['./classic']];
  for (const path of promised) assert.ok(paths.includes(path.replace('./', '')), `${path} is not among ${paths}`);
  assert.deepEqual(Object.keys(await import('../../dist/realplexor.min.mjs')), Object.keys(shipped));
  assert.deepEqual(paths.filter((path) => /^(test|node_modules|src)\//.test(path)), []);
});

test('the page for old clients starts whatever its address names as the host', () => {
  const [, script] = read(SERVED + 'iframe.html').match(/<script>(.*?)<\/script>/s);
  for (const host of ['%E0%A4%A', '%', '%zz', '%FF', 'a%20b', '']) {
    const page = { location: { href: 'http://rpl.example/', search: `?identifier=IFRAME&HOST=${host}&version=1.32` }, URL, setTimeout, setInterval: () => 0, console };
    Object.assign(page, { window: page, document: {}, parent: {} }); // a host page that the frame may not look into
    vm.runInNewContext(script, page);
    assert.equal(typeof page.Dklab_Realplexor_Loader.execute, 'function', host);
  }
});

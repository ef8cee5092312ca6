/**
 * Builds from src/: realplexor.js and dist/, which npm publishes, and rplx/served/, which the server sends. Fails if the client
 * outgrows its limit. With --check nothing is written: it fails if a built file that the repository keeps is stale.
 */
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { parse } from 'acorn';
import { minify } from 'terser';
import ts from 'typescript';

/** Bytes, minified and gzipped. The module holds in one file what the server sends as two scripts, the second to browsers that can use it. */
const LIMITS = { 'classic script': 6.3 * 1024, 'shared script': 3.5 * 1024, 'WebSocket script': 1024, 'ES module': 7.95 * 1024, 'WebSocket module': 1024 };
const SERVED = '../rplx/served/';
const here = new URL('./', import.meta.url);
const text = (path) => readFileSync(new URL(path, here), 'utf8');
const NOTICE = `rplx ${JSON.parse(text('package.json')).version}, MIT licence`;
const banner = { js: `/* ${NOTICE} */` };

/**
 * Members that only our own modules know, whose names are shortened. Not among them is what tabs say to each other, or anything of a page.
 * Each name becomes what its place says, as the classic script and what it loads apart have to agree: new ones stand at the end.
 */
const OWN = (
  'functions told began accepted alive waits hooks stays left queued ends isNew tabs look leave client answered failed ' +
  'patience holdFor isHeld isBad renew pause retryDelay tail isAlone'
).split(' ');
const shortening = (names) => new RegExp(`^(_[a-z].*|${names.join('|')})$`);
const SHORTENED = { mangleProps: shortening(OWN), mangleCache: Object.fromEntries(OWN.map((name, i) => [name, `$${i.toString(36)}`])) };

async function bundle(contents, { isClassic, ...options }) {
  const stdin = { contents, resolveDir: fileURLToPath(here) };
  const usual = { bundle: true, write: false, charset: 'utf8', target: 'es2022' };
  const define = { PHASE_CHECK: 'false', CLASSIC: String(!!isClassic) };
  const result = await build({ stdin, ...usual, define, ...options });
  return result.outputFiles[0].text;
}

/** Minifies a script of syntax up to `ecma`, behind the notice. */
async function minified(code, ecma, options) {
  const { code: short } = await minify(code, { ecma, compress: { passes: 3, unsafe: true, keep_fargs: false, pure_getters: true, unsafe_arrows: ecma > 5 }, format: { ecma }, ...options });
  return `${banner.js}\n${short}\n`;
}

/** The helper that TypeScript calls for a class that extends another. Static members are not inherited, since there are none. */
const EXTENDS = `function __extends(derived, base) {
  derived.prototype = Object.create(base.prototype);
  derived.prototype.constructor = derived;
}`;

/** Syntax that esbuild lowers in fewer bytes than TypeScript does. */
const LONG = { 'optional-chain': false, 'nullish-coalescing': false, 'logical-assignment': false };

/** Shortens what TypeScript makes of classes: their prototypes get a name, and that a getter is like others is not said. */
function shortened(code) {
  return code
    .replace(/(?<=\(function \(\) \{\s*)function (\w+)/g, 'var own_$1 = $1.prototype; function $1')
    .replace(/\b(\w+)\.prototype\b(?!;)/g, 'own_$1')
    .replace(/,\s*enumerable: false,\s*configurable: true/g, '');
}

/** Has private members become plain ones, whose names are then shortened. */
const plain = {
  name: 'plain members',
  setup: (building) =>
    building.onLoad({ filter: /\.js$/ }, ({ path }) => ({ contents: readFileSync(path, 'utf8').replace(/#(?=[a-z])/gi, '_') })),
};

/** Returns a script without syntax beyond ES5. */
async function es5(contents) {
  const modern = await bundle(contents, { isClassic: true, format: 'esm', plugins: [plain], minifySyntax: true, supported: LONG });
  const compilerOptions = { target: ts.ScriptTarget.ES5, module: ts.ModuleKind.None, noEmitHelpers: true, removeComments: true };
  const { outputText } = ts.transpileModule(modern, { compilerOptions, fileName: 'script.js' });
  const plainly = await bundle(EXTENDS + shortened(outputText), { format: 'iife', target: 'es5', minifySyntax: true, ...SHORTENED });
  const code = await minified(plainly, 5);
  const helper = /\b__(?!extends)[a-z]+(?=\()/i.exec(outputText);
  if (helper) throw new Error(`the classic script needs ${helper[0]}`);
  parse(code, { ecmaVersion: 5 });
  return code;
}

/** Has the module load WebSockets from a file beside it, of this name. */
const apart = (path) => ({
  name: 'apart',
  setup: (building) => building.onResolve({ filter: /websocket/ }, ({ kind }) => (kind === 'dynamic-import' ? { path, external: true } : undefined)),
});

/** What the module and the WebSockets beside it both know is not shortened, since each is built by itself. */
const ofModule = { format: 'esm', minifySyntax: true, mangleProps: shortening(OWN.filter((name) => !/^(client|tail)$/.test(name))) };

const exported = `export * from './src/index.js'; export { default } from './src/index.js';`;
const sockets = `export * from './src/transports/websocket.js';`;
const module_ = await minified(await bundle(exported, { ...ofModule, plugins: [plain, apart('./websocket.min.mjs')] }), 2022, { module: true });
const moduleSockets = await minified(await bundle(sockets, ofModule), 2022, { module: true });
const readably = { format: 'esm', banner: { js: `/* ${NOTICE}. Built from src/ by build.mjs. */` } };
const readable = await bundle(exported, { ...readably, plugins: [apart('./websocket.js')] });
const readableSockets = await bundle(sockets, readably);
const classic = await es5(`import './src/classic.js';`);
const part = async (name) => minified(await bundle(`import './src/classic-${name}.js';`, { isClassic: true, format: 'iife', target: 'es2018', ...SHORTENED }), 2018);
const shared = await part('shared');
const websocket = await part('websocket');
const loader = await es5(`import './src/loader.js';`);

const iframe = text('iframe.html').replace('<script src="src/loader.js"></script>', () => `<script>${loader}</script>`);
if (!iframe.includes(loader)) throw new Error('iframe.html has no place for the loader');

// The sandbox page is written by hand; only the version of the script in it is built. Browsers may keep the script until
// 2037 (the server's Expires), so a new script needs a new address.
const version = createHash('sha256').update(classic).digest('hex').slice(0, 8);
const sandbox = text(SERVED + 'sandbox.html').replace(/(?<="\?identifier=SCRIPT&amp;)[0-9a-f]*(?=")/, version);
if (!sandbox.includes(version)) throw new Error('sandbox.html does not load the script');

/** The built files that the repository keeps, by their paths from here. */
const kept = {
  'realplexor.js': readable,
  'websocket.js': readableSockets,
  [SERVED + 'script.js']: classic,
  [SERVED + 'shared.js']: shared,
  [SERVED + 'websocket.js']: websocket,
  [SERVED + 'iframe.html']: iframe,
  [SERVED + 'sandbox.html']: sandbox,
};

const sized = { 'ES module': module_, 'WebSocket module': moduleSockets, 'classic script': classic, 'shared script': shared, 'WebSocket script': websocket };
for (const [name, code] of Object.entries(sized)) {
  const size = gzipSync(code, { level: 9 }).length;
  console.log(`${name}: ${size} bytes minified and gzipped (limit ${LIMITS[name]})`);
  if (size >= LIMITS[name]) throw new Error(`${name} has ${size} bytes, the limit is ${LIMITS[name]}`);
}

if (process.argv.includes('--check')) {
  const stale = Object.keys(kept).filter((path) => !existsSync(new URL(path, here)) || text(path) !== kept[path]);
  if (stale.length) throw new Error(`stale: ${stale.join(', ')}; run: npm run build`);
} else {
  mkdirSync(new URL('dist/', here), { recursive: true });
  for (const [path, code] of Object.entries(kept)) writeFileSync(new URL(path, here), code);
  writeFileSync(new URL('dist/realplexor.min.js', here), classic);
  writeFileSync(new URL('dist/realplexor.min.mjs', here), module_);
  writeFileSync(new URL('dist/websocket.min.mjs', here), moduleSockets);
  const licence = new URL('../LICENSE', here);
  if (existsSync(licence)) copyFileSync(licence, new URL('LICENSE', here));
}

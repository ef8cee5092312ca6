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
import ts from 'typescript';

/** Bytes, minified and gzipped. The module holds in one file what the server sends as two scripts, the second to browsers that can use it. */
const LIMITS = { 'classic script': 6 * 1024, 'shared script': 2 * 1024, 'ES module': 7 * 1024 };
const SERVED = '../rplx/served/';
const here = new URL('./', import.meta.url);
const text = (path) => readFileSync(new URL(path, here), 'utf8');
const NOTICE = `rplx ${JSON.parse(text('package.json')).version}, MIT licence`;
const banner = { js: `/* ${NOTICE} */` };

async function bundle(contents, options) {
  const stdin = { contents, resolveDir: fileURLToPath(here) };
  const usual = { bundle: true, write: false, charset: 'utf8', target: 'es2022', define: { PHASE_CHECK: 'false' } };
  const result = await build({ stdin, ...usual, ...options });
  return result.outputFiles[0].text;
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

/** Returns a script without syntax beyond ES5. Private members become plain ones, whose names are then shortened. */
async function es5(contents) {
  const plain = {
    name: 'plain members',
    setup: (building) =>
      building.onLoad({ filter: /\.js$/ }, ({ path }) => ({ contents: readFileSync(path, 'utf8').replace(/#(?=[a-z])/gi, '_') })),
  };
  const modern = await bundle(contents, { format: 'esm', plugins: [plain], minifySyntax: true, supported: LONG });
  const compilerOptions = { target: ts.ScriptTarget.ES5, module: ts.ModuleKind.None, noEmitHelpers: true, removeComments: true };
  const { outputText } = ts.transpileModule(modern, { compilerOptions, fileName: 'script.js' });
  const code = await bundle(EXTENDS + shortened(outputText), { format: 'iife', target: 'es5', minify: true, mangleProps: /^_[a-z]/, banner });
  const helper = /\b__(?!extends)[a-z]+(?=\()/i.exec(outputText);
  if (helper) throw new Error(`the classic script needs ${helper[0]}`);
  parse(code, { ecmaVersion: 5 });
  return code;
}

const exported = `export * from './src/index.js'; export { default } from './src/index.js';`;
const module_ = await bundle(exported, { format: 'esm', minify: true, banner });
const readable = await bundle(exported, { format: 'esm', banner: { js: `/* ${NOTICE}. Built from src/ by build.mjs. */` } });
const classic = await es5(`import './src/classic.js';`);
const shared = await bundle(`import './src/classic-shared.js';`, { format: 'iife', target: 'es2020', minify: true, banner });
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
  [SERVED + 'script.js']: classic,
  [SERVED + 'shared.js']: shared,
  [SERVED + 'iframe.html']: iframe,
  [SERVED + 'sandbox.html']: sandbox,
};

for (const [name, code] of Object.entries({ 'ES module': module_, 'classic script': classic, 'shared script': shared })) {
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
  const licence = new URL('../LICENSE', here);
  if (existsSync(licence)) copyFileSync(licence, new URL('LICENSE', here));
}

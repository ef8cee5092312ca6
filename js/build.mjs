/**
 * Builds dist/ (what npm publishes) and served/ (what the server sends) from realplexor.js, and fails when the client
 * outgrows its limit. With --check nothing in served/ is written: it fails when that folder is stale.
 */
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const LIMIT = 5 * 1024; // bytes, minified and gzipped
const here = new URL('./', import.meta.url);
const text = (path) => readFileSync(new URL(path, here), 'utf8');
const banner = { js: `/* rplx ${JSON.parse(text('package.json')).version}, MIT licence */` };

async function bundle(contents, format) {
  const result = await build({
    stdin: { contents, resolveDir: fileURLToPath(here) },
    bundle: true,
    minify: true,
    write: false,
    charset: 'utf8',
    target: 'es2022',
    format,
    banner,
  });
  return result.outputFiles[0].text;
}

const module_ = await bundle(`export * from './realplexor.js'; export { default } from './realplexor.js';`, 'esm');
const classic = await bundle(
  `import { Dklab_Realplexor } from './realplexor.js'; globalThis.Dklab_Realplexor = Dklab_Realplexor;`,
  'iife',
);
const loader = await bundle(`import './src/loader.js';`, 'iife');

const iframe = text('iframe.html').replace('<script src="src/loader.js"></script>', () => `<script>${loader}</script>`);
if (!iframe.includes(loader)) throw new Error('iframe.html has no place for the loader');

// Browsers may keep the script until 2037 (the server's Expires), so a new one needs a new address.
const version = createHash('sha256').update(classic).digest('hex').slice(0, 8);
const sandbox = text('sandbox.html').replace('"?identifier=SCRIPT"', `"?identifier=SCRIPT&amp;${version}"`);
if (!sandbox.includes(version)) throw new Error('sandbox.html does not load the script');

const served = { 'script.js': classic, 'iframe.html': iframe, 'sandbox.html': sandbox };

for (const [name, code] of Object.entries({ 'ES module': module_, 'classic script': classic })) {
  const size = gzipSync(code, { level: 9 }).length;
  console.log(`${name}: ${size} bytes minified and gzipped (limit ${LIMIT})`);
  if (size >= LIMIT) throw new Error(`${name} has ${size} bytes, the limit is ${LIMIT}`);
}

if (process.argv.includes('--check')) {
  const stale = Object.keys(served).filter((name) => {
    const url = new URL(`served/${name}`, here);
    return !existsSync(url) || readFileSync(url, 'utf8') !== served[name];
  });
  if (stale.length) throw new Error(`served/ is stale: ${stale.join(', ')}; run: npm run build`);
} else {
  for (const folder of ['dist/', 'served/']) mkdirSync(new URL(folder, here), { recursive: true });
  for (const [name, code] of Object.entries(served)) writeFileSync(new URL(`served/${name}`, here), code);
  writeFileSync(new URL('dist/realplexor.min.js', here), classic);
  writeFileSync(new URL('dist/realplexor.min.mjs', here), module_);
  const licence = new URL('../LICENSE', here);
  if (existsSync(licence)) copyFileSync(licence, new URL('LICENSE', here));
}

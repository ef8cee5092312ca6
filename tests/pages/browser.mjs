// Shows a page in Chromium and prints what it writes to the console. Arguments: the page's file, a port, the browser.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { chromium } from '../../js/node_modules/playwright-core/index.mjs';

const [file, port, executablePath] = process.argv.slice(2);
createServer((request, response) => {
  response.setHeader('Content-Type', 'text/html; charset=utf-8');
  response.end(readFileSync(file));
}).listen(port, '127.0.0.1');
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'], handleSIGTERM: false });
process.on('SIGTERM', () => browser.close().then(() => process.exit()));
const page = await browser.newPage();
page.on('console', (message) => message.type() === 'debug' || console.log(message.text()));
page.on('pageerror', (error) => console.log(`exception: ${error}`));
await page.goto(`http://127.0.0.1:${port}/`);

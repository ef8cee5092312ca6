// Opens a page in Chromium and prints the first thing that its Realplexor complains of. Arguments: the page, the browser.
import { chromium } from '../../js/node_modules/playwright-core/index.mjs';

const [address, executablePath] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const page = await browser.newPage();
const complaint = page.waitForEvent('console', (message) => message.type() === 'error' && /^Realplexor/.test(message.text()));
await page.goto(address);
console.log((await complaint).text());
await browser.close();

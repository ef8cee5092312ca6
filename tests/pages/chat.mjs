// Opens a chat page in Chromium, writes a line and prints what the page then shows. Arguments: the page, the browser.
import { chromium } from '../../js/node_modules/playwright-core/index.mjs';

const [address, executablePath] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const page = await browser.newPage();
const positioned = page.waitForResponse((response) => response.url().includes('position'));
await page.goto(address);
await positioned;
await page.fill('input[name=text]', 'written in the page');
await page.press('input[name=text]', 'Enter');
await page.waitForSelector('#chat li', { timeout: 60000 });
console.log(await page.textContent('#chat'));
await browser.close();

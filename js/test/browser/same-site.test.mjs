// Pages of one site with the old command as installed: the page on http://site, the WAIT line on http://rpl.site.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Server, launch, site, sleep, until } from './support.mjs';

let browser;
let host;
let server;

before(async () => {
  server = await Server.startOld();
  host = await site({
    '/': `<!DOCTYPE html><title>A site</title>
      <script>
        var heard = [];
        var rpl = location.search.slice(1);
        document.write('<script src="' + rpl + '?identifier=SCRIPT"><' + '/script>');
      </script>
      <script>
        var realplexor = new Dklab_Realplexor(rpl);
        realplexor.subscribe('news', function (data) { heard.push(data); });
        realplexor.execute();
      </script>`,
  });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  host?.stop();
});

/** Returns whether a page on `name` hears a message within two seconds if its WAIT line is on `rpl`. */
async function heardBy(name, rpl, expected) {
  const page = await (await browser.newContext()).newPage();
  await page.goto(`http://${name}:${host.port}/?http://${rpl}:${server.wait}/`);
  const stop = Date.now() + 2000;
  const heard = async () => (await page.evaluate('heard')).includes('for you');
  const sends = async () => {
    await server.send('news', 'for you');
    await sleep(50);
    return (await heard()) || (!expected && Date.now() > stop);
  };
  await until(sends, `a message on ${name} from ${rpl}`);
  const found = await heard();
  await page.context().close();
  return found;
}

for (const [name, rpl] of [
  ['site', 'rpl.site'],
  ['site.test', 'rpl.site.test'],
  ['www.site.test', 'rpl.site.test'],
  ['shop.site.test', 'site.test'],
  ['site.test', 'site.test'],
]) {
  test(`a page on ${name} listens on ${rpl}`, async () => assert.equal(await heardBy(name, rpl, true), true));
}

for (const [name, rpl] of [
  ['foreign.test', 'rpl.site.test'],
  ['other.site.test', 'rpl.site.test'],
  ['notsite.test', 'site.test'],
]) {
  test(`a page on ${name} hears nothing on ${rpl}`, async () => assert.equal(await heardBy(name, rpl, false), false));
}

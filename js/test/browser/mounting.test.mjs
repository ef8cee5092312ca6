// Pages that make clients twice, leave and come back: each connection ends with what has opened it.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { until } from './support.mjs';
import { closeContext, got, heard, host, open, openContext, ready, running, server, startAll, stopAll } from './tabs.mjs';

before(startAll);
after(stopAll);
beforeEach(openContext);
afterEach(closeContext);

const online = async () => Number((await server.online()).mount ?? 0);
const counts = (number) => until(async () => (await online()) === number, `${number} online`);

for (const transports of [['stream', 'poll'], ['websocket', 'poll'], ['poll']]) {
  for (const shared of [false, true]) {
    const how = `by ${transports[0]}${shared ? ', shared' : ''}`;

    test(`a component that is mounted, unmounted and mounted again holds one connection, ${how}`, async () => {
      const tab = await open([], { options: { transports, shared } });
      await tab.page.evaluate(
        ([url, options]) => {
          client.close();
          const mount = () => {
            const own = new Realplexor(url, options).subscribe('mount', (data, id) => got.push([id, data]));
            return () => own.close();
          };
          for (let i = 0; i < 20; i++) mount()(); // as in React's strict mode, where an effect is cleaned up at once
          window.unmount = mount();
        },
        [server.url, { transports, shared }],
      );
      await counts(1);
      await until(() => running() === 1, 'one connection');
      await server.send('mount', 1);
      await heard(tab, 1);
      assert.deepEqual(await got(tab), [['mount', 1]]);
      await tab.page.evaluate(() => unmount());
      await until(() => running() === 0, 'no connection');
      await until(async () => (await online()) === 0, 'nobody online');
    });

    test(`a page that is left holds no connection, and goes on from its cursor when it is back, ${how}`, async () => {
      const tab = await open(['mount'], { options: { transports, shared } });
      await ready(tab);
      await until(async () => (await tab.page.evaluate(() => client.transport)) === transports[0], transports[0]);
      await tab.page.evaluate(() => {
        window.mark = 1;
        dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }));
      });
      await until(() => running() === 0, 'no connection');
      await server.send('mount', 'while away');
      await tab.page.evaluate(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })));
      await heard(tab, 1);
      await until(() => running() === 1, 'one connection');
      await tab.page.goto(`${host.url}?elsewhere`);
      await until(async () => (await online()) === 0, 'nobody online');
      await tab.page.goBack();
      if (await tab.page.evaluate(() => window.mark)) {
        await server.send('mount', 'out of the cache');
        await heard(tab, 2);
      }
    });
  }
}

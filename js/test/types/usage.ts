// This is compiled and never run: it shows what the declarations allow and refuse. The package is imported by its name, as by users.
import Default, { Dklab_Realplexor, Realplexor, compareCursors, type RealplexorOptions } from 'rplx';

const options: RealplexorOptions = { namespace: 'shop_', timeout: 25, waitTimeout: 60, credentials: 'include', shared: false };
const old: Dklab_Realplexor = new Dklab_Realplexor('http://rpl.example.com', 'ns', true);
const client: Realplexor = new Realplexor(new URL('https://rpl.example.com/'), options);
new Default();

old.subscribe('a', (data, id: string, cursor: string) => data.anything + id + cursor)
  .unsubscribe('a', null)
  .setCursor('a', '12345.678')
  .logon('anna')
  .execute();
client.subscribe<{ price: number }>(['a', 'b', 7], (data) => data.price.toFixed(2)).setCursor('a', null);
client.on('gap', ({ ids }) => ids.map((id) => id.length)).off('error', ({ error }) => error.message);
client.on('disconnected', ({ reason }) => reason === 'silence');
client.on('refused', ({ ids, status }) => status === 401 && ids.join());
for (const grant of ['a.b.c', () => null, async () => 'a.b.c', () => fetch('/grant')]) new Realplexor('https://h/', { grant });
client.on('stalled', ({ seconds }) => seconds.toFixed());
const ready: Promise<void> = client.ready;
const isConnected: boolean = client.connected;
const cursor: string | null = client.getCursor('a');
const order: number = compareCursors('1', '2');
client.close();

// @ts-expect-error a callback is needed
client.subscribe('a');
// @ts-expect-error no such option
new Realplexor('https://h/', { namespcae: 'a' });
client.on('error', ({ error, ids }) => [error.status === 403, ids?.length]);
// @ts-expect-error no such event
client.on('closed', () => undefined);
// @ts-expect-error the state is read only
client.connected = true;
// @ts-expect-error no such reason
client.on('disconnected', ({ reason }) => reason === 'boredom');

export { ready, isConnected, cursor, order };

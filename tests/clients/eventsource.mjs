// npm's `eventsource` as a client: node eventsource.mjs HOST:PORT ID,ID. Prints each message's data, one line each.
import { createRequire } from 'node:module';

const { EventSource } = createRequire(new URL('../../js/package.json', import.meta.url))('eventsource');
const source = new EventSource(`http://${process.argv[2]}/?identifier=${process.argv[3]}`);

source.onmessage = ({ data }) => data && console.log(JSON.stringify(JSON.parse(data).data));

// npm's `ws` as a client that comes back: node websocket_back.mjs HOST:PORT ID,ID. Prints each message's data, one line
// each.
import { createRequire } from 'node:module';

const WebSocket = createRequire(new URL('../../js/package.json', import.meta.url))('ws');
const cursors = Object.fromEntries(process.argv[3].split(',').map((id) => [id, null]));

function listen() {
  const socket = new WebSocket(`ws://${process.argv[2]}/`);
  socket.on('open', () => socket.send(JSON.stringify({ listen: cursors })));
  socket.on('message', (text) => {
    const said = JSON.parse(text);
    if (said.open) for (const id in cursors) cursors[id] ??= said.open;
    if (!('data' in said)) return;
    Object.assign(cursors, said.ids);
    console.log(JSON.stringify(said.data));
  });
  socket.on('error', () => {}); // `close` follows
  socket.on('close', () => setTimeout(listen, 50));
}

listen();

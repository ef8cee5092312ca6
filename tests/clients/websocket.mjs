// npm's `ws` as a client: node websocket.mjs URL. Says what a line of stdin says, prints what comes, one line each.
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const WebSocket = createRequire(new URL('../../js/package.json', import.meta.url))('ws');
const socket = new WebSocket(process.argv[2], 'rplx.1');
const print = (...values) => console.log(JSON.stringify(values));

socket.on('open', () => print('open', socket.protocol, socket.extensions));
socket.on('message', (data) => print('message', JSON.parse(data)));
socket.on('pong', (data) => print('pong', data.toString()));
socket.on('error', (error) => print('error', error.message));
socket.on('close', (code, reason) => print('close', code, reason.toString()));
createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'ping') socket.ping('are you there?');
  else if (line === 'close') socket.close(1000);
  else socket.send(line);
});

/** What the classic script loads for pages that ask for WebSockets, behind src/classic-shared.js. */
import { websocket } from './transports/websocket.js';

Realplexor.websocket = websocket;

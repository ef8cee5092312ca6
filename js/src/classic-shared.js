/** What the classic script loads in browsers that can use it. */
import { loadBy } from './choice.js';
import { lineOf } from './parts.js';

Realplexor.shared = lineOf;
loadBy((options, callback) => Realplexor.load('websocket', options, callback));

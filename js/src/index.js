/** What the ES module gives: the build bundles it into realplexor.js. */
import { loadBy } from './choice.js';
import { extendBy } from './client.js';
import { lineOf } from './parts.js';

export { Dklab_Realplexor, Realplexor, Realplexor as default } from './client.js';
export { compareCursors } from './cursors.js';

extendBy((options, callback) => callback(lineOf));
loadBy((_, callback) =>
  import('./transports/websocket.js').then(({ websocket }) => callback(websocket)).catch(() => {}), // what does not come does not fit
);

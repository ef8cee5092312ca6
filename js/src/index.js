/** What the ES module gives: the build bundles it into realplexor.js. */
import { extendBy } from './client.js';
import { lineOf } from './parts.js';

export { Dklab_Realplexor, Realplexor, Realplexor as default } from './client.js';
export { compareCursors } from './cursors.js';

extendBy((options, callback) => callback(lineOf));

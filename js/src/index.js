/** What the ES module gives: the build bundles it into realplexor.js. */
import { shareBy } from './client.js';
import { sharing } from './transports/shared.js';

export { Dklab_Realplexor, Realplexor, Realplexor as default } from './client.js';
export { compareCursors } from './cursors.js';

shareBy((options, callback) => callback(sharing));

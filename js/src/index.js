/** What the ES module gives: the build bundles it into realplexor.js. */
export { Dklab_Realplexor, Realplexor, Realplexor as default } from './client.js';
export { compareCursors } from './cursors.js';

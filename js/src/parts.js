/** What not every page needs: connections that tabs share, and transports besides polls. */
import { choosing } from './choice.js';
import { sharing } from './transports/shared.js';

/** Returns a client's line to the server, as in transports/shared.js. */
export function lineOf(options, isShared, { poll, compareCursors }) {
  return sharing(options, isShared, { poll: choosing(options, poll), compareCursors });
}

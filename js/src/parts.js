/** What not every page needs: connections that tabs share, transports besides polls, and grants. */
import { choosing } from './choice.js';
import { granting } from './grants.js';
import { sharing } from './transports/shared.js';

/** Returns a client's line to the server, as in transports/shared.js. */
export function lineOf(options, isShared, { poll, compareCursors }) {
  return sharing(options, isShared, { poll: granting(options, choosing(options, poll)), compareCursors });
}

/**
 * The channels that a client knows, and how their cursors grow. Nothing here asks a server or reads a clock.
 *
 * A channel is {id, cursor, functions, ready, told, refused}. A `cursor` of null means "from now on". `ready` says that the server has
 * answered a request which named the channel. `told` is the cursor at which the page was told of a gap; it is undefined
 * unless the last answer named that gap.
 */

/** Returns a channel that has no cursor and no functions yet. */
export function newChannel(id) {
  return { id: String(id), cursor: null, functions: [], ready: false, told: undefined, refused: false };
}

/** Returns the cursor without needless zeros at either end, and without a needless point. */
const plain = (cursor) => cursor.replace(/^0+(?=\d)/, '').replace(/\.0*$|(\.\d*?)0+$/, '$1');

/**
 * Returns a number below, at or above 0 as cursor a is below, at or above b. The comparison is exact: as floats, cursors that
 * differ would be equal.
 */
export function compareCursors(a, b) {
  const x = plain(a);
  const y = plain(b);
  return x.split('.')[0].length - y.split('.')[0].length || (x < y ? -1 : +(x > y));
}

/** Moves the channel on to the cursor of a message. Returns false, and moves nothing, if the channel has had that message. */
export function advance(channel, cursor) {
  const isNew = channel.cursor === null || compareCursors(cursor, channel.cursor) > 0;
  if (isNew) channel.cursor = cursor;
  return isNew;
}

/**
 * Takes in the head of an answer, before its messages: the server's `position` (null: none given), and which of the channels
 * `asked` for `missed` messages. Returns those of the missed whose gap the page has not been told of.
 */
export function takeHead(asked, missed, position) {
  const untold = missed.filter((channel) => channel.told !== channel.cursor);
  for (const channel of asked) {
    const isMissed = missed.indexOf(channel) >= 0;
    channel.told = isMissed ? channel.cursor : undefined;
    channel.ready = true;
    channel.cursor ??= position;
    // If the server's clock was set back, the cursor is ahead of it, and messages come from below the cursor.
    if (isMissed && position && compareCursors(channel.cursor, position) > 0) channel.cursor = position;
  }
  return untold;
}

/**
 * Ends an answer, after its messages. A missed channel without a message behind its gap goes on from the present. If others had
 * messages, the answer may have been cut at the server's limit: the channel is asked for once more, and answered at once.
 */
export function passGaps(missed, position, hasMessages) {
  for (const channel of missed) {
    if (channel.cursor !== channel.told || !position) continue;
    if (hasMessages) channel.ready = false;
    else advance(channel, position);
  }
}

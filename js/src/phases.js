/**
 * What a client is doing, and what it may do next.
 *
 * A client is in one phase at a time. A phase owns at most one request and one timer, and leaving it ends both: so there
 * is never a second request, and no late answer or timer is taken for one of the present phase.
 *
 *   idle        There is nothing to listen to, or the page has just been made.
 *   asking      A request asks for the server's position, so that `ready` can tell that later messages will arrive. It is answered
 *               at once. Its timer gives up a server that is silent.
 *   waiting     A request waits for messages. Its timer gives up a connection that has been silent for too long.
 *   delivering  An answer is handed to the page's functions. They may call the client, but no request starts before all of
 *               them have run, since the cursors are still growing.
 *   pausing     An answer has been delivered, or something on the path has cut a request that waited; a timer runs until the next
 *               request. A change of the channels ends the pause.
 *   retrying    The server is out of reach or refuses; a timer runs until the next try. A change of the channels waits for it.
 *   asleep      The browser has hidden the page for good, or keeps it in its cache until it is shown again.
 *   closed      The page has closed the client. Nothing follows.
 *
 * Only waiting and pausing follow an answer that is still true. A request from any other phase asks for the position first,
 * unless the server is known to give none: then it waits.
 *
 * Two facts outlive phases. The client counts as connected from an answer until it is idle, asleep or closed, or has failed
 * otherwise than by the cut of a request that waited (a cut with Retry-After is retried without a word, and so is a reset, as
 * browsers end all requests when their network changes: then a question for the position shows whether the server is there). And a
 * change that the page has made is applied at the end of the running task, in whatever phase the client is then.
 *
 * A request by a transport that goes on, such as a stream, outlives its answers: from waiting the client goes to delivering and back with
 * one and the same request.
 */
export const IDLE = 1;
export const ASKING = 2;
export const WAITING = 3;
export const DELIVERING = 4;
export const PAUSING = 5;
export const RETRYING = 6;
export const ASLEEP = 7;
export const CLOSED = 8;

/** Returns what may follow each phase. The tests hold the client against it; what is shipped does not contain it. */
export const follows = () => ({
  [IDLE]: [IDLE, ASKING, WAITING, ASLEEP, CLOSED],
  [ASKING]: [IDLE, ASKING, DELIVERING, RETRYING, ASLEEP, CLOSED],
  [WAITING]: [IDLE, ASKING, WAITING, DELIVERING, PAUSING, RETRYING, ASLEEP, CLOSED],
  [DELIVERING]: [WAITING, PAUSING, RETRYING, ASLEEP, CLOSED],
  [PAUSING]: [IDLE, ASKING, WAITING, RETRYING, ASLEEP, CLOSED],
  [RETRYING]: [IDLE, ASKING, WAITING, RETRYING, ASLEEP, CLOSED],
  [ASLEEP]: [IDLE, ASKING, WAITING, ASLEEP, CLOSED],
  [CLOSED]: [],
});

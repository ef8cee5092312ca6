/**
 * Where the client runs, and what is there.
 *
 * The build puts true for CLASSIC into the scripts that a server sends, which old browsers run, too, and false into the module.
 */

/** The page, or what stands for it where there is none. */
export const world = CLASSIC && typeof globalThis === 'undefined' ? window : globalThis;

export const isHidden = () => world.document?.visibilityState === 'hidden';

/** Whether this is a page whose browser has all that tabs need to share a connection. Web Locks need HTTPS, or localhost. */
export const canShare = () => !!(world.location && world.BroadcastChannel && world.navigator?.locks);

/** Whether the browser can read an answer that goes on. Who has these two has fetch and TextDecoder. */
export const canStream = () => !!(world.ReadableStream && world.AbortController);

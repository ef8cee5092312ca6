/** Is called for each message with its data as from JSON.parse, the id without namespace and login, and the cursor's text. */
export type RealplexorCallback<Data = any> = (data: Data, id: string, cursor: string) => void;

export type RealplexorTransport = 'poll' | 'stream' | 'websocket';

export interface RealplexorOptions {
  /** Text before each id on the wire: letters, digits and underscores. Default: none. */
  namespace?: string | null;
  /** The login, as in logon(). Default: none. */
  login?: string | null;
  /** The word before = in the marker, the server's option `pages.identifier`. Default: "identifier". */
  identifier?: string;
  /**
   * Seconds after which the server is asked to end a poll without a message; it may end it sooner. 0 leaves it to the server.
   * Proxies cut what is silent for longer, some after 30 s. Default: 25.
   */
  timeout?: number;
  /** Seconds after which the server itself ends a poll, its option `wait.timeout`; 0 means never. Default: 300. */
  waitTimeout?: number;
  /** Seconds between an answer and the next poll. Default: 0.01. */
  reconnectDelay?: number;
  /** Empty or broken answers in a row before the client slows down. Default: 10. */
  maxBounces?: number;
  /** Logs each poll to the console. Default: false. */
  debug?: boolean;
  /** Whether cookies travel, as in fetch(). Default: "same-origin". */
  credentials?: 'omit' | 'same-origin' | 'include';
  /**
   * Whether all tabs of the page's origin share one connection. Where the browser or the server cannot (no HTTPS, no Web Locks, no position
   * from the server), each tab listens by itself. Default: true; false for Dklab_Realplexor.
   */
  shared?: boolean;
  /**
   * The ways to listen, the best first. One that does not work between browser and server is left out, for ten minutes or until the next
   * session; polls always work. Default: ["stream", "poll"]; ["poll"] for Dklab_Realplexor.
   */
  transports?: readonly RealplexorTransport[];
  /**
   * A grant, for channels that not everybody may hear, or a function that gives one: the text, or the Response of a fetch whose body it
   * is. It is asked for the first one, again 10 to 25 s before each one's end, and once where the server does not take one. A text that is no
   * grant, null, and a Response of 400 to 499 but 429 say that there is none any more: the client stops, and tells `refused`. Needs the
   * module, or the script from the server and a browser that knows promises.
   */
  grant?: string | (() => RealplexorGrant | Promise<RealplexorGrant>) | null;
}

export type RealplexorGrant = string | Response | null | undefined;

/** Why there is no connection now; "idle" means that nothing is subscribed. */
export type RealplexorDisconnectReason = 'error' | 'silence' | 'offline' | 'hidden' | 'idle' | 'refused' | 'closed';

export interface RealplexorEvents {
  /** The server has answered, for the first time or again. */
  connected: { type: 'connected' };
  disconnected: { type: 'disconnected'; reason: RealplexorDisconnectReason };
  /** The server's history no longer reached back to where these channels were: messages may have been missed. */
  gap: { type: 'gap'; ids: string[] };
  /**
   * A poll failed: the server refused or was out of reach, or its answer could not be read. The client tries again by itself. The
   * error of a refusal has the HTTP status. A poll that waited and was then cut on its way is no error. If there are `ids`, a message in these channels was no JSON and was left out; all
   * others came.
   */
  error: { type: 'error'; error: Error & { status?: number }; ids?: string[] };
  /**
   * Nothing has come, not even the head of an answer, for 10 s past what a poll may wait: it has lasted for so many `seconds`. The
   * connection is dead, or the request has never left the browser. It is given up, and the server asked again.
   */
  stalled: { type: 'stalled'; seconds: number };
  /**
   * The server does not let this page hear these channels. With status 403 the others are heard, if there are others; with 401 there is
   * no grant, or none that counts, and nothing is heard: the client has stopped, until subscribe(), execute() or the like.
   */
  refused: { type: 'refused'; ids: string[]; status: 401 | 403 };
  message: { type: 'message'; data: any; id: string; cursor: string };
}

/**
 * One listener, over at most one request at a time, to any number of channels. Tabs share that request where they can.
 *
 * Changes made in one task are applied together at its end; the client polls again and reconnects by itself.
 */
export declare class Realplexor {
  /**
   * @param fullUrl address of the WAIT line, absolute or relative to the page; default: "/" of the page's own server
   * @param namespaceOrOptions the namespace, or options
   * @param viaDocumentWrite accepted for old pages, without effect
   * @throws TypeError for an address, an option, a namespace or a login that cannot be one
   */
  constructor(
    fullUrl?: string | URL | null,
    namespaceOrOptions?: string | RealplexorOptions | null,
    viaDocumentWrite?: boolean,
  );

  /** Whether the server answered last. */
  readonly connected: boolean;

  /** How the server answered last: by a stream, a WebSocket or a poll; null before its first answer. */
  readonly transport: RealplexorTransport | null;

  /**
   * A new promise that resolves when the server has taken notice of all channels subscribed so far, so that what is
   * sent from then on will arrive. If the client is closed meanwhile, it never settles. That of a closed client rejects.
   */
  readonly ready: Promise<void>;

  /**
   * Calls back for each message in the channel or channels. The same function twice in one id is called once, until it is
   * unsubscribed as often.
   *
   * @throws TypeError for an id that is none or a callback that is no function; Error when closed
   */
  subscribe<Data = any>(ids: string | number | readonly (string | number)[], callback: RealplexorCallback<Data>): this;

  /** Takes off one callback, or with null or none all of the id. The id's cursor is kept for the next subscription. */
  unsubscribe(
    ids: string | number | readonly (string | number)[],
    callback?: RealplexorCallback<any> | null,
  ): this;

  /** Has the channels go on behind this cursor; null means from now on. Give it as text, since a number may lose digits. */
  setCursor(ids: string | number | readonly (string | number)[], cursor: string | number | null): this;

  /** Returns the channel's cursor, or null if it has none yet. */
  getCursor(id: string | number): string | null;

  /** Listens to channels that belong to this login; null means to those without a login. */
  logon(login: string | null): this;

  /** Applies changes at once, not at the end of the task. Needed by no new code. */
  execute(): void;

  /** Ends the request and forgets all callbacks, for good. */
  close(): void;

  on<Type extends keyof RealplexorEvents>(type: Type, listener: (event: RealplexorEvents[Type]) => void): this;
  off<Type extends keyof RealplexorEvents>(type: Type, listener: (event: RealplexorEvents[Type]) => void): this;
}

/**
 * The class of old pages. Where Realplexor throws for an id, cursor, namespace, login or callback that cannot be, it leaves
 * that out, with a line on the console. It keeps the same function twice in one id once.
 */
export declare class Dklab_Realplexor extends Realplexor {}

export default Realplexor;

/** Returns a number below, at or above 0 as cursor a is below, at or above b, both taken as exact decimals. */
export declare function compareCursors(a: string, b: string): number;

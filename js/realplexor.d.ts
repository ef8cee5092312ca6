/** Called for each message: its data as JSON.parse gave it, the id without namespace and login, the cursor's text. */
export type RealplexorCallback<Data = any> = (data: Data, id: string, cursor: string) => void;

export interface RealplexorOptions {
  /** Stands before each id on the wire; letters, digits and underscores. Default: none. */
  namespace?: string | null;
  /** As with logon(). Default: none. */
  login?: string | null;
  /** The word before = in the marker, the server's option `pages.identifier`. Default: "identifier". */
  identifier?: string;
  /** Seconds after which the server ends a poll with nothing to send, its option `wait.timeout`; 0: never. Default: 300. */
  waitTimeout?: number;
  /** Seconds between an answer and the next poll. Default: 0.01. */
  reconnectDelay?: number;
  /** Empty or broken answers in a row before the client slows down. Default: 10. */
  maxBounces?: number;
  /** Logs each poll to the console. Default: false. */
  debug?: boolean;
  /** Whether cookies travel, as in fetch(). Default: "same-origin". */
  credentials?: 'omit' | 'same-origin' | 'include';
}

/** Why there is no connection now; "idle": nothing is subscribed. */
export type RealplexorDisconnectReason = 'error' | 'silence' | 'offline' | 'hidden' | 'idle' | 'closed';

export interface RealplexorEvents {
  /** The server has answered, for the first time or again. */
  connected: { type: 'connected' };
  disconnected: { type: 'disconnected'; reason: RealplexorDisconnectReason };
  /** The server's history no longer reached back to where these channels were: messages may have been missed. */
  gap: { type: 'gap'; ids: string[] };
  /**
   * A poll failed: refused, unreachable or unreadable. The client tries again by itself. A refusal's error has its HTTP
   * status. With `ids` a message in these channels is no JSON and was left out; all others came.
   */
  error: { type: 'error'; error: Error & { status?: number }; ids?: string[] };
  message: { type: 'message'; data: any; id: string; cursor: string };
}

/**
 * One listener, over at most one request at a time, to any number of channels.
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

  /**
   * A new promise that resolves when the server has taken notice of all channels subscribed so far, so that what is
   * sent from then on will arrive. One that the client is closed under never settles; of a closed client it rejects.
   */
  readonly ready: Promise<void>;

  /**
   * Calls back for each message in the channel or channels. The same function twice in one id is called once, until it is
   * unsubscribed as often.
   *
   * @throws TypeError for an id that is not alphanumeric or a callback that is no function; Error when closed
   */
  subscribe<Data = any>(ids: string | number | readonly (string | number)[], callback: RealplexorCallback<Data>): this;

  /** Takes off one callback; null or none: all of the id. The id's cursor is kept for the next subscription. */
  unsubscribe(
    ids: string | number | readonly (string | number)[],
    callback?: RealplexorCallback<any> | null,
  ): this;

  /** Messages behind this cursor are wanted; null: from now on. Give it as text: a number may lose digits. */
  setCursor(ids: string | number | readonly (string | number)[], cursor: string | number | null): this;

  /** The channel's cursor now, null if it has none yet. */
  getCursor(id: string | number): string | null;

  /** Listens to channels that belong to this login; null: to those of nobody. */
  logon(login: string | null): this;

  /** Applies changes at once, not at the end of the task. Needed by no new code. */
  execute(): void;

  /** Ends the request and forgets all callbacks, for good. */
  close(): void;

  on<Type extends keyof RealplexorEvents>(type: Type, listener: (event: RealplexorEvents[Type]) => void): this;
  off<Type extends keyof RealplexorEvents>(type: Type, listener: (event: RealplexorEvents[Type]) => void): this;
}

/**
 * The class of old pages: leaves out ids, cursors, namespaces, logins and callbacks that cannot be, with a line on the
 * console, where Realplexor throws; and keeps the same function twice in one id once.
 */
export declare class Dklab_Realplexor extends Realplexor {}

export default Realplexor;

/** Negative, 0 or positive as cursor a is below, at or above b, as exact decimals. */
export declare function compareCursors(a: string, b: string): number;

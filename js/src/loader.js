/**
 * Defines Dklab_Realplexor_Loader in the page for old clients, for the scripts of old pages, which call its execute().
 *
 * The host page's script hands over its own map {id: {cursor, callbacks: [...]}}. The map stays the host's: callbacks are
 * looked up in it when a message comes, and cursors are written into it, so that a later execute() goes on from there. An id or
 * a cursor that the wire has no form for is left out, and the others go on.
 */
import { Dklab_Realplexor } from './client.js';

/** Returns the host page's domain as our address names it, or '' for none and for one that cannot be read. */
function namedHost() {
  try {
    return decodeURIComponent((/[?&]HOST=([^&:]*)/.exec(location.search) || [])[1] || '');
  } catch (malformed) {
    return '';
  }
}

/** Moves this frame to the document.domain that the host page has, unless the two may see each other as they are. */
function joinHost() {
  let domain = namedHost();
  while (!seesHost() && domain) {
    try {
      document.domain = domain;
    } catch {
      // The domain is no parent of ours, but its own parent may be one.
    }
    domain = domain.replace(/^[^.]*\.?/, '');
  }
}

function seesHost() {
  try {
    return !!parent.document;
  } catch {
    return false;
  }
}

class Loader {
  #client = null;
  #prefix = null;
  #map = {};
  #applied = {}; // id -> true
  #call = null;
  #written = {};

  /**
   * Polls for the ids of `map` that have callbacks, from their cursors (null or none: from now on).
   *
   * `callAndReturnException(callback, arguments)` is the host page's: it calls, and returns the exception if one was
   * thrown. `namespace` stands before each id on the wire.
   */
  execute(map, callAndReturnException, namespace) {
    const prefix = namespace == null ? '' : String(namespace);
    if (prefix !== this.#prefix) {
      this.#client?.close();
      this.#client = new Dklab_Realplexor(null, prefix);
      this.#prefix = prefix;
      this.#applied = {};
      this.#written = {};
    }
    this.#call = callAndReturnException;
    this.#map = map;
    // The host may have taken an id out of the very map that it handed over last time.
    for (const id of Object.keys(this.#applied).concat(Object.keys(map))) this.#apply(id, map[id]);
    this.#client.execute();
  }

  #apply(id, entry) {
    if (!entry?.callbacks?.length) {
      if (this.#applied[id]) this.#client.unsubscribe(id, null);
      delete this.#applied[id];
      return;
    }
    const cursor = entry.cursor;
    if (cursor != null && cursor !== '' && cursor !== this.#written[id]) this.#client.setCursor(id, cursor);
    this.#client.subscribe(id, this.#receive);
    this.#applied[id] = true;
  }

  #receive = (data, id, cursor) => {
    const entry = this.#map[id];
    if (!entry) return;
    entry.cursor = this.#written[id] = cursor;
    for (const callback of entry.callbacks.slice()) {
      // Wrapped, so that the callback gets its arguments however the host page passes them on.
      const exception = this.#call(() => callback(data, id, cursor), [data, id, cursor]);
      if (exception) console.error('Realplexor: exception in a callback:', exception);
    }
  };
}

joinHost();
window.Dklab_Realplexor_Loader = new Loader();

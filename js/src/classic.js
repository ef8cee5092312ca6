/** The classic script, as the server sends it: it defines the globals Realplexor and Dklab_Realplexor. */
import { Dklab_Realplexor, Realplexor, extendBy } from './client.js';
import { world } from './world.js';

/** The server puts its option in place of the dollar name. What it does not serve knows no server to ask for the rest of it. */
const SCRIPT_ID = '$SCRIPT_ID';

/** Milliseconds until a script that did not come is loaded again for a page that needs it. */
const AGAIN_AFTER = 5000;

/** Loads the script that defines Realplexor[part] (src/classic-*.js) from the server, once for a page. */
function load(part, options, callback) {
  const { url, identifier } = options;
  if (Realplexor[part]) return callback(Realplexor[part]);
  if (/^(\$|undefined-)/.test(SCRIPT_ID) || !world.document) return;
  const script = document.createElement('script');
  script.src = `${url}${url.indexOf('?') < 0 ? '?' : '&'}${identifier}=${SCRIPT_ID}&${part}`;
  if (options.grant) script.onerror = () => setTimeout(() => load(part, options, callback), AGAIN_AFTER); // it is no guest meanwhile
  script.onload = () => Realplexor[part] && callback(Realplexor[part]);
  document.head.appendChild(script);
}

extendBy((options, callback) => load('shared', options, callback));
Realplexor.load = load;
world.Realplexor = Realplexor;
world.Dklab_Realplexor = Dklab_Realplexor;

/** What the classic script loads in browsers that can use it. */
import { lineOf } from './parts.js';

Realplexor.lineOf = lineOf;

/** What the classic script loads in browsers in which tabs can share a poll. */
import { sharing } from './transports/shared.js';

Realplexor.sharing = sharing;

/**
 * The client from its modules, held against the table of phases: a phase that may not follow throws, and is kept in `faults`, since
 * the client logs what its callbacks throw. `steps` are the changes so far, such as 'IDLE ASKING'.
 */
import * as phases from '../../src/phases.js';

const { follows, ...values } = phases;
const table = follows();
const nameOf = (value) => Object.keys(values).find((name) => values[name] === value);

/** Every change that the table allows, in the form of `steps`. */
export const ALLOWED = Object.values(values).flatMap((from) => table[from].map((to) => `${nameOf(from)} ${nameOf(to)}`));
export const steps = [];
export const faults = [];

globalThis.CLASSIC = true; // as in the script, with all that old browsers need
globalThis.PHASE_CHECK = (from, to) => {
  const step = `${nameOf(from)} ${nameOf(to)}`;
  steps.push(step);
  if (ALLOWED.includes(step)) return;
  faults.push(step);
  throw new Error(`phases: ${step}`);
};

export const { default: Default, Dklab_Realplexor, Realplexor } = await import('../../src/index.js');

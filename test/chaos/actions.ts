import type { Action } from './action.js';
import { CAPTURES } from './actions/captures.js';
import { NETWORK } from './actions/network.js';
import { IN_PROCESS_SYNCS, PROCESS_SYNCS } from './actions/syncs.js';
import { WRITES } from './actions/writes.js';

/** What happens in histories whose syncs are processes. */
export const ACTIONS: readonly Action[] = [...WRITES, ...PROCESS_SYNCS, ...CAPTURES, ...NETWORK];

/** What happens in histories whose syncs run in this process. */
export const FAST_ACTIONS: readonly Action[] = [
  ...WRITES,
  ...IN_PROCESS_SYNCS,
  ...CAPTURES,
  ...NETWORK,
];

import type { Action } from './action.js';
import { BAD_ROWS } from './actions/bad-rows.js';
import { CAPTURES, CAPTURE_KILLS } from './actions/captures.js';
import { DAMAGES } from './actions/damages.js';
import { DISKS } from './actions/disks.js';
import { NETWORK, SLOW_NETWORK } from './actions/network.js';
import { IN_PROCESS_SYNCS, PROCESS_SYNCS } from './actions/syncs.js';
import { REPAIRS, VERIFIES } from './actions/verifies.js';
import { WRITES } from './actions/writes.js';

/** What happens in histories whose syncs are processes. */
export const ACTIONS: readonly Action[] = [
  ...WRITES,
  ...PROCESS_SYNCS,
  ...CAPTURES,
  ...CAPTURE_KILLS,
  ...NETWORK,
  ...SLOW_NETWORK,
  ...VERIFIES,
  ...REPAIRS,
  ...DAMAGES,
  ...DISKS,
  ...BAD_ROWS,
];

/** What happens in histories whose syncs run in this process. */
export const FAST_ACTIONS: readonly Action[] = [
  ...WRITES,
  ...IN_PROCESS_SYNCS,
  ...CAPTURES,
  ...NETWORK,
  ...VERIFIES,
  ...BAD_ROWS,
];

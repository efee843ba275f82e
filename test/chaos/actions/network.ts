import { setTimeout as sleep } from 'node:timers/promises';
import type { FaultAction } from '../../support/hrana/faults.js';
import type { Random } from '../../support/random.js';
import type { Action } from '../action.js';
import type { History } from '../history.js';
import { describeEnd, describeOrder } from '../sync-order.js';
import { anyOrder } from './orders.js';
import { killed } from './syncs.js';

const overNetwork = ({ way }: History) => way === 'http';

const OUTAGE = ['SOURCE_UNAVAILABLE', 'SOURCE_TIMEOUT', 'SOURCE_PROTOCOL'] as const;

function anyFault(random: Random): FaultAction {
  const bytes = random.int(0, random.pick([100, 2000, 200_000]));
  const when = random.pick(['before', 'after'] as const);
  return random.pick<FaultAction>([
    { kind: 'latency', ms: random.int(1, 60) },
    { kind: 'reset', when },
    { kind: 'reset-after-bytes', bytes },
    { kind: 'end-after-bytes', bytes },
    { kind: 'stall', afterBytes: bytes },
    { kind: 'status', status: random.pick([500, 502, 503, 504, 429, 408]), when },
    { kind: 'status', status: random.pick([503, 429]), retryAfter: '0' },
    { kind: 'bad-json' },
  ]);
}

/** Some answers of the server do not come as they should. */
const serverFaults: Action = {
  name: 'faults of the server',
  weight: 6,
  applies: overNetwork,
  run: async (history, random) => {
    const faults = Array.from({ length: random.int(1, 3) }, () => ({
      action: anyFault(random),
      skip: random.int(0, random.pick([3, 20, 80])),
      times: random.pick([1, 1, 2, 5]),
    }));
    const order = anyOrder(history, random);
    const stalls = faults.some(({ action }) => action.kind === 'stall');
    const options = stalls ? { ...order.options, requestTimeoutMs: 400 } : order.options;
    const handles = [];
    for (const fault of faults) handles.push(await history.server.fault(fault));
    // A stalled answer is waited for as long as a busy machine may take for a good one.
    const end = await history.sync({ ...order, options }, { mayFail: OUTAGE });
    for (const handle of handles) history.journal.count('cuts', await handle.fired());
    await history.server.clearFaults();
    const kinds = faults.map(({ action }) => Object.values(action).join(' ')).join(', ');
    return `${describeOrder(order)}, with ${kinds}: ${describeEnd(end)}`;
  },
};

/** The server goes down in the middle of a sync, and comes back, in time or not. */
const serverRestarts: Action = {
  name: 'server restarts',
  weight: 2,
  applies: overNetwork,
  run: async (history, random) => {
    const order = anyOrder(history, random);
    const [upMs, downMs] = [random.int(0, 350), random.int(0, 150)];
    const syncing = history.sync(order, { mayFail: OUTAGE });
    syncing.catch(() => undefined);
    await sleep(upMs);
    await history.server.stop();
    await sleep(downMs);
    await history.server.start();
    const end = await syncing;
    return `${describeOrder(order)}, server down after ${upMs} ms for ${downMs} ms: ${describeEnd(end)}`;
  },
};

/** The server is away: the sync fails, the cache is served, and its age shows. */
const outage: Action = {
  name: 'outage',
  weight: 1,
  applies: overNetwork,
  run: async (history, random) => {
    await history.server.stop();
    const order = anyOrder(history, random);
    const end = await history.sync(order, { mayFail: ['SOURCE_UNAVAILABLE'] });
    await sleep(random.pick([0, 400]));
    await history.checkStatus();
    await history.server.start();
    return `${describeOrder(order)}: ${describeEnd(end)}`;
  },
};

/** Every answer takes its time, and the sync may be killed meanwhile. */
const slowNetwork: Action = {
  name: 'slow network',
  weight: 2,
  applies: overNetwork,
  run: async (history, random) => {
    const ms = random.int(2, 30);
    const order = anyOrder(history, random);
    const upset = random.chance(0.6) ? killed(history, random, order) : null;
    await history.server.fault({ action: { kind: 'latency', ms }, times: Infinity });
    const end = await history.sync({ ...order, upset });
    await history.server.clearFaults();
    return `${describeOrder({ ...order, upset })}, ${ms} ms an answer: ${describeEnd(end)}`;
  },
};

export const NETWORK: readonly Action[] = [serverFaults, serverRestarts, outage];
export const SLOW_NETWORK: readonly Action[] = [slowNetwork];

import {
  BEGINNING,
  BY_CURSOR,
  ENDING,
  FOLLOWING,
  READING,
  SWEEPING,
  SWEEPING_KEYS,
} from '../../support/kill/points.js';
import type { Action } from '../action.js';
import type { Mode } from '../mode.js';
import { BusyWriter } from '../busy-writer.js';
import type { History, Surroundings } from '../history.js';
import {
  describeEnd,
  describeOrder,
  type SyncEnd,
  type SyncOrder,
  type Upset,
} from '../sync-order.js';
import type { Random } from '../../support/random.js';
import { anyOrder, quietOrder } from './orders.js';

export async function syncAndTell(
  history: History,
  order: SyncOrder,
  surroundings?: Surroundings,
): Promise<string> {
  const end = await history.sync(order, surroundings);
  return `${describeOrder(order)}: ${describeEnd(end)}`;
}

/** A sync that something may befall, while a thread goes on writing. */
export async function syncWhileWriting(
  history: History,
  random: Random,
  order: SyncOrder,
): Promise<string> {
  const transactions = Array.from({ length: 20 }, () =>
    history.mode.statements(random, random.int(1, 5)),
  );
  const writer = new BusyWriter({ file: history.file, transactions, pauseMs: random.int(2, 30) });
  await writer.started();
  let end: SyncEnd;
  let committed: number;
  try {
    end = await history.sync(order, { moving: true });
  } finally {
    committed = await writer.stop();
    history.wasWritten(committed);
  }
  return `${describeOrder(order)}, during ${committed} transactions: ${describeEnd(end)}`;
}

const sync: Action = {
  name: 'sync',
  weight: 4,
  run: async (history, random) => await syncAndTell(history, anyOrder(history, random)),
};

const syncOfMovingSource: Action = {
  name: 'sync of a moving source',
  weight: 2,
  run: async (history, random) =>
    await syncWhileWriting(history, random, anyOrder(history, random)),
};

const LONGEST_SYNC_MS = 400;

/** Kills where this sync is likely to come to. */
export function killed(history: History, random: Random, order: SyncOrder): Upset {
  if (random.chance(0.4)) return { kind: 'kill after', ms: random.int(0, LONGEST_SYNC_MS) };
  const point = random.pick(pointsOf(history, order));
  const most = point.endsWith('-put')
    ? 40
    : /^(page|write|apply|sweep|follow|absentKeys)/.test(point)
      ? 4
      : 1;
  return { kind: 'kill at', point, occurrence: random.int(1, most) };
}

export function pointsOf({ mode, isPublished }: History, order: SyncOrder): readonly string[] {
  if (order.mode === 'rebuild' || !isPublished) return [...BEGINNING, ...READING, ...ENDING];
  const opening = BEGINNING.filter((point) => /^(environment|schema|prepare)/.test(point));
  const closing = ENDING.filter((point) => point.startsWith('complete'));
  const phases = order.full ? [...READING, ...SWEEPING] : phasesOf(mode, order);
  return [...opening, ...phases, ...phases, ...closing];
}

function phasesOf({ captured, sweptTables }: Mode, { sweep }: SyncOrder): readonly string[] {
  if (captured) return FOLLOWING;
  if (!sweptTables) return [...READING, ...SWEEPING];
  return sweep ? [...BY_CURSOR, ...SWEEPING_KEYS, ...SWEEPING] : BY_CURSOR;
}

const killedSync: Action = {
  name: 'kill',
  weight: 16,
  run: async (history, random) => {
    const order = anyOrder(history, random);
    const upset = killed(history, random, order);
    return random.chance(0.25)
      ? await syncWhileWriting(history, random, { ...order, upset })
      : await syncAndTell(history, { ...order, upset });
  },
};

const abortedSync: Action = {
  name: 'abort',
  weight: 2,
  run: async (history, random) => {
    const kind = random.pick(['abort after', 'interrupt after'] as const);
    const upset: Upset = { kind, ms: random.int(0, 600) };
    return await syncAndTell(history, { ...anyOrder(history, random), upset });
  },
};

const twoSyncs: Action = {
  name: 'two syncs at once',
  weight: 2,
  run: async (history, random) => {
    const orders = [anyOrder(history, random), anyOrder(history, random)];
    const ends = await history.syncTogether(orders, { mayFail: ['CACHE_LOCKED'] });
    return ends.map((end, i) => `${describeOrder(orders[i]!)}: ${describeEnd(end)}`).join('; ');
  },
};

const HOUR_MS = 3600_000;

const otherClock: Action = {
  name: 'clock step',
  weight: 1,
  run: async (history, random) => {
    const clockAheadMs = random.pick([-30, -5, -1, 1, 5, 30]) * HOUR_MS;
    const order = { ...anyOrder(history, random), clockAheadMs };
    const upset = random.chance(0.5) ? killed(history, random, order) : null;
    return await syncAndTell(history, { ...order, upset });
  },
};

const stoppedInProcess: Action = {
  name: 'upset',
  weight: 14,
  run: async (history, random) => {
    const at = random.int(1, random.pick([4, 15, 60]));
    const upset = random.pick<Upset>([
      { kind: 'abort at statement', statement: at },
      { kind: 'cut at statement', statement: at },
      { kind: 'fail at transaction', transaction: at },
      { kind: 'abort after', ms: random.int(0, 12) },
    ]);
    return await syncAndTell(history, { ...anyOrder(history, random), upset });
  },
};

const quietSync: Action = {
  name: 'quiet sync',
  weight: 3,
  run: async (history, random) => await syncAndTell(history, quietOrder(random)),
};

/** Syncs in processes of their own. */
export const PROCESS_SYNCS: readonly Action[] = [
  sync,
  syncOfMovingSource,
  killedSync,
  abortedSync,
  twoSyncs,
  otherClock,
];

/** Syncs in this process. */
export const IN_PROCESS_SYNCS: readonly Action[] = [sync, quietSync, stoppedInProcess];

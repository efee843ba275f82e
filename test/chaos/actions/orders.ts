import type { Random } from '../../support/random.js';
import { batchSizes } from '../batch-sizes.js';
import type { History } from '../history.js';
import type { SyncOrder } from '../sync-order.js';

/** A sync that nothing befalls. */
export function quietOrder(random: Random): SyncOrder {
  return {
    mode: 'sync',
    full: false,
    allowLoss: true,
    upset: null,
    clockAheadMs: 0,
    readerThreads: random.int(1, 2),
    sweep: false,
    options: {},
  };
}

/** A sync of any kind. */
export function anyOrder(history: History, random: Random): SyncOrder {
  const { together } = history.mode;
  const batchSize = random.pick([...batchSizes(history), undefined, undefined]);
  return {
    ...quietOrder(random),
    mode: !together && random.chance(0.2) ? 'rebuild' : 'sync',
    full: !together && random.chance(0.1),
    allowLoss: random.chance(0.85),
    sweep: history.mode.sweptTables !== undefined && random.chance(0.4),
    options: together || batchSize === undefined ? {} : { batchSize },
  };
}

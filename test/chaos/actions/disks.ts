import type { Action } from '../action.js';
import { describeEnd, describeOrder } from '../sync-order.js';
import { anyOrder, quietOrder } from './orders.js';
import { killed } from './syncs.js';

const MOST_ROOM_KIB = 600;

/** The disk fills up in a sync: it fails or has enough room, the cache is served, and with room it goes on. */
const fullDisk: Action = {
  name: 'full disk',
  weight: 4,
  applies: ({ disk }) => disk !== null,
  run: async (history, random) => {
    const room = random.pick([0, 4, 12, 40, random.int(0, MOST_ROOM_KIB)]);
    const told: string[] = [];
    const disk = history.disk!;
    disk.fill(room);
    try {
      for (let syncs = random.int(1, 2); syncs > 0; syncs--) {
        const order = anyOrder(history, random);
        const upset = random.chance(0.3) ? killed(history, random, order) : null;
        const end = await history.sync({ ...order, upset }, { mayFail: ['CACHE_FULL'] });
        told.push(`${describeOrder({ ...order, upset })}: ${describeEnd(end)}`);
      }
      await history.readSound();
    } finally {
      disk.grow();
    }
    const end = await history.sync(quietOrder(random));
    if (end.kind !== 'completed') throw new Error(`with room again: ${describeEnd(end)}`);
    return `${room} KiB left: ${told.join('; ')}; with room ${describeEnd(end)}`;
  },
};

export const DISKS: readonly Action[] = [fullDisk];

import type { ModeFactory } from './mode.js';
import { changeLog } from './modes/change-log.js';
import { cursor } from './modes/cursor.js';
import { full } from './modes/full.js';
import { limits } from './modes/limits.js';

/** Every mode, by its name on the command line. */
export const MODES = { full, 'change-log': changeLog, limits, cursor } as const satisfies Record<
  string,
  ModeFactory
>;

export type ModeName = keyof typeof MODES;
export const MODE_NAMES = Object.keys(MODES) as ModeName[];

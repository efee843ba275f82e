import type { LogLevel } from '../config.js';

export type { LogLevel };
export const LOG_LEVELS = [
  'debug',
  'info',
  'warn',
  'error',
  'silent',
] as const satisfies LogLevel[];

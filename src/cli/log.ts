import { pino } from 'pino';
import type { Logger } from '../logger.js';
import type { Secrets } from '../secrets.js';
import type { LogLevel } from './log-level.js';

/** A log on stderr: one JSON object a line, with `time`, `level`, `msg` and what is told of. */
export function openLog(level: LogLevel, secrets: Secrets): Logger {
  return pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => process.stderr.write(secrets.redact(line)) },
  );
}

import { Option, type Command } from 'commander';
import { duration, share, wholeNumber } from './flag-values.js';
import { LOG_LEVELS } from './log-level.js';

/** The flags of `storage-sync watch` beside those of a sync. */
export function watchOptions(command: Command): Command {
  return command
    .option('--interval <duration>', 'from one sync to the next (default: 5m)', duration)
    .option('--jitter <share>', 'of the interval, by which it varies (default: 0.1)', share)
    .option('--verify-cron <expression>', 'when to verify and repair besides, such as "0 3 * * *"')
    .option('--rebuild-cron <expression>', 'when to build the cache anew')
    .option(
      '--port <n>',
      'where to serve; 0 takes a free one (default: 9464)',
      wholeNumber(0, 65_535),
    )
    .option('--host <address>', 'the address to serve on (default: 127.0.0.1, this machine alone)')
    .option('--no-server', 'serve nothing')
    .addOption(
      new Option('--log-level <level>', 'of the log on stderr (default: info)').choices(LOG_LEVELS),
    )
    .option(
      '--stop-timeout <duration>',
      'for the end of a round that is told to stop (default: 10s)',
      duration,
    )
    .addHelpText('after', WATCH_HELP);
}

const WATCH_HELP = `
GET / is the status page, /metrics for Prometheus, /healthz and /readyz for a supervisor, /status.json for
programs. POST /sync, /verify and /rebuild need the token that STORAGE_SYNC_WATCH_TOKEN was set to, as
Authorization: Bearer <token>; without one they are off.
SIGHUP asks for a sync. SIGTERM and Ctrl-C stop the round under way at its next batch.`;

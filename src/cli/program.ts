import { Command, CommanderError, Option } from 'commander';
import { ConfigError } from '../errors.js';
import type { CaptureFlags, CompactFlags } from './capture.js';
import { duration, nameList, wholeNumber } from './flag-values.js';
import { runCommand, type Command as Work } from './command-run.js';
import { EXIT_DONE, EXIT_USAGE } from './exit-code.js';
import { Output, type OutputFlags } from './output.js';
import { Secrets } from '../secrets.js';
import type { InitFlags } from './init.js';
import type { CacheFlags, SourceFlags, SyncFlags } from './settings.js';
import { TRANSPORTS } from '../transports.js';
import { VERSION } from '../version.js';
import { watchOptions } from './watch-flags.js';
import type { WatchFlags } from './watch-settings.js';
import type { VerifyFlags } from './verify.js';

/**
 * Parses the command line and runs the command it names. The commands' own modules are imported only then, so that
 * `--help` is at once there.
 *
 * @returns the exit code.
 */
export async function runCommandLine(args: readonly string[]): Promise<number> {
  const secrets = Secrets.of(args, process.env);
  let exitCode = EXIT_DONE;
  const run = async (flags: OutputFlags, work: Work): Promise<void> => {
    exitCode = await runCommand(flags, secrets, work);
  };
  const program = buildProgram(run);
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return EXIT_DONE;
    // A bare `storage-sync` has been answered with the help.
    if (error.code === 'commander.help') return EXIT_USAGE;
    const output = new Output({ json: args.includes('--json') }, secrets);
    await output.failure(usageError(error, args));
    return EXIT_USAGE;
  }
}

function buildProgram(run: (flags: OutputFlags, work: Work) => Promise<void>): Command {
  const program = new Command('storage-sync')
    .description('Keeps a local LMDB cache true to a Turso/libSQL database.')
    .version(VERSION)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .helpCommand('help [command]', 'explain a command')
    .addHelpText('after', EXIT_CODES_HELP);

  syncOptions(program.command('sync'))
    .description('bring the cache up to the source, going on from where the last sync stopped')
    .option('--full', 'read every table in full, also where the change log tells what changed')
    .action(async (flags: SyncFlags & { readonly full?: boolean }) => {
      await run(flags, async (context) => {
        const { sync } = await import('./sync.js');
        return await sync(flags, context);
      });
    });

  syncOptions(program.command('rebuild'))
    .description('build the cache anew beside the one that is served, then publish it')
    .action(async (flags: SyncFlags) => {
      await run(flags, async (context) => {
        const { rebuild } = await import('./rebuild.js');
        return await rebuild(flags, context);
      });
    });

  verifyOptions(program.command('verify'))
    .description(
      'hold the cache against the source, row by row, and repair what differs on request',
    )
    .action(async (flags: VerifyFlags) => {
      await run(flags, async (context) => {
        const { verify } = await import('./verify.js');
        return await verify(flags, context);
      });
    });

  watchOptions(syncOptions(program.command('watch')))
    .description('keep the cache true until stopped; serve a status page, metrics and health')
    .action(async (flags: WatchFlags) => {
      await run(flags, async (context) => {
        const { watch } = await import('./watch.js');
        return await watch(flags, context);
      });
    });

  cacheOptions(program.command('status'))
    .description('tell the state and the age of the cache, and what it holds')
    .action(async (flags: CacheFlags) => {
      await run(flags, async (context) => {
        const { status } = await import('./status.js');
        return await status(flags, context);
      });
    });

  syncOptions(program.command('doctor'))
    .description('look at the host, the source and the cache, and say what to do; changes nothing')
    .addHelpText('after', DOCTOR_HELP)
    .action(async (flags: SyncFlags) => {
      await run(flags, async (context) => {
        const { doctor } = await import('./doctor.js');
        return await doctor(flags, context);
      });
    });

  initOptions(program.command('init'))
    .description('write a configuration file with comments, from what there is in the source')
    .action(async (flags: InitFlags) => {
      await run(flags, async (context) => {
        const { init } = await import('./init.js');
        return await init(flags, context);
      });
    });

  sourceOptions(program.command('tables'))
    .description("list the cache's tables; with --source, the source's, and what a sync leaves out")
    .action(async (flags: SourceFlags) => {
      await run(flags, async (context) => {
        const { tables } = await import('./tables.js');
        return await tables(flags, context);
      });
    });

  cacheOptions(program.command('get'))
    .description('print one row of the cache as JSON')
    .argument('<table>', 'the table')
    .argument('<key...>', "the row's key, one argument for each key column")
    .addHelpText('after', GET_HELP)
    .action(async (table: string, key: readonly string[], flags: CacheFlags) => {
      await run(flags, async (context) => {
        const { get } = await import('./get.js');
        return await get(table, key, flags, context);
      });
    });

  cacheOptions(program.command('export'))
    .description('print all rows of a cached table as JSON, one a line, in key order')
    .argument('<table>', 'the table')
    .addHelpText('after', EXPORT_HELP)
    .action(async (table: string, flags: CacheFlags) => {
      await run(flags, async (context) => {
        const { exportTable } = await import('./export.js');
        return await exportTable(table, flags, context);
      });
    });

  captureCommands(program, run);

  return program;
}

function captureCommands(
  program: Command,
  run: (flags: OutputFlags, work: Work) => Promise<void>,
): void {
  const capture = program
    .command('capture')
    .description("keep a log of changed keys in the source, by triggers on the source's tables");

  captureOptions(capture.command('install'))
    .description('begin to log changes; whole logs stay as they are, broken ones are replaced')
    .action(async (flags: CaptureFlags) => {
      await run(flags, async (context) => {
        const { captureInstall } = await import('./capture.js');
        return await captureInstall(flags, context);
      });
    });

  captureOptions(capture.command('status'))
    .description('tell which tables have a log, whether it is whole, and who reads it')
    .action(async (flags: CaptureFlags) => {
      await run(flags, async (context) => {
        const { captureStatus } = await import('./capture.js');
        return await captureStatus(flags, context);
      });
    });

  captureOptions(capture.command('compact'))
    .description('remove the changes that every reader has seen')
    .option('--before <version>', 'remove changes older than this version', wholeNumber(0))
    .option('--all', 'where a log has no reader, remove all changes but the newest')
    .option(
      '--forget-readers <duration>',
      'first forget readers that were not seen for so long, such as 12h or 30m',
      duration,
    )
    .action(async (flags: CompactFlags) => {
      await run(flags, async (context) => {
        const { captureCompact } = await import('./capture.js');
        return await captureCompact(flags, context);
      });
    });

  captureOptions(capture.command('uninstall'))
    .description('drop triggers and logs')
    .action(async (flags: CaptureFlags) => {
      await run(flags, async (context) => {
        const { captureUninstall } = await import('./capture.js');
        return await captureUninstall(flags, context);
      });
    });
}

function captureOptions(command: Command): Command {
  return outputOptions(
    networkOptions(command)
      .option('--tables <names>', 'only these, separated by commas (default: all)', nameList)
      .option(
        '--config <file>',
        'a file with the options (default: storage-sync.config.ts, .js or .json, if there is one)',
      ),
  );
}

function syncOptions(command: Command): Command {
  return sourceOptions(command)
    .addOption(
      new Option('--preset <name>', 'sync the tables of an agent-memory database').choices([
        'memory',
      ]),
    )
    .option(
      '--max-episodes <n>',
      'with the preset: keep the newest <n> episodes (default: 1000)',
      wholeNumber(1),
    )
    .option('--tables <names>', 'sync only these, separated by commas (default: all)', nameList)
    .option(
      '--batch-size <rows>',
      'rows in a page at most (default: 20000; preset: 100)',
      wholeNumber(1),
    )
    .addOption(
      new Option(
        '--on-row-error <policy>',
        'a row that cannot be cached stops the sync, or is set aside and reported (default: fail)',
      ).choices(['fail', 'quarantine']),
    )
    .option(
      '--concurrency <n>',
      'outstanding reads and writes at most (default: 10)',
      wholeNumber(1),
    )
    .option('--allow-loss', 'believe the source even when a table lost most of its rows')
    .option('--no-auto-rebuild', 'fail when the cache is damaged, rather than build it anew')
    .addHelpText('after', CONFIG_HELP);
}

function verifyOptions(command: Command): Command {
  return sourceOptions(command)
    .addOption(
      new Option('--level <level>', 'how closely to look (default: sample)').choices([
        'quick',
        'sample',
        'deep',
      ]),
    )
    .option('--repair', 'rewrite the rows and index entries that are wrong, and nothing else')
    .option(
      '--max-source-rows <n>',
      'rows to read from the source at most; a deep verify goes on from there the next time',
      wholeNumber(1),
    )
    .option('--seed <n>', 'take the ranges of the sample that had this seed', wholeNumber(0))
    .addOption(presetOption())
    .option('--max-episodes <n>', 'with the preset: as in sync (default: 1000)', wholeNumber(1))
    .option('--tables <names>', 'only these, separated by commas (default: all)', nameList)
    .addOption(rowErrorOption())
    .option('--allow-loss', 'with --repair: remove rows even where the source lost most of them')
    .addHelpText('after', VERIFY_HELP);
}

function presetOption(): Option {
  return new Option('--preset <name>', 'the tables of an agent-memory database').choices([
    'memory',
  ]);
}

function rowErrorOption(): Option {
  return new Option(
    '--on-row-error <policy>',
    'as in sync: with quarantine, a repair also removes rows whose new state cannot be cached',
  ).choices(['fail', 'quarantine']);
}

function sourceOptions(command: Command): Command {
  return cacheOptions(networkOptions(command)).addOption(transportOption());
}

function transportOption(): Option {
  return new Option(
    '--transport <name>',
    'how to read the source (default: auto, the fastest)',
  ).choices(TRANSPORTS);
}

function initOptions(command: Command): Command {
  return outputOptions(
    networkOptions(command)
      .option('--cache <dir>', 'the directory of the cache (default: ./.storage-sync)')
      .addOption(transportOption())
      .addOption(
        new Option('--format <format>', 'what to write it in (default: ts)').choices([
          'ts',
          'js',
          'json',
        ]),
      )
      .option('--force', 'write it anew where there is one'),
  ).addHelpText('after', INIT_HELP);
}

function networkOptions(command: Command): Command {
  return command
    .option(
      '--source <url>',
      "the database, by any URL that @libsql/client takes (default: the environment's TURSO_DATABASE_URL)",
    )
    .option(
      '--auth-token <token>',
      "the database's token; prefer the environment's TURSO_AUTH_TOKEN, because `ps` shows flags to everybody",
    )
    .option(
      '--request-timeout <duration>',
      'for one request to the source, such as 500ms, 30s or 5m (default: 30s)',
      duration,
    )
    .option('--retries <n>', 'further tries of a failed request (default: 5)', wholeNumber(0));
}

function cacheOptions(command: Command): Command {
  return outputOptions(
    command
      .option('--cache <dir>', 'the directory of the cache (default: ./.storage-sync)')
      .option(
        '--config <file>',
        'a file with the options (default: storage-sync.config.ts, .js or .json, if there is one)',
      ),
  );
}

function outputOptions(command: Command): Command {
  return command
    .option('--json', 'print one JSON document on stdout, for a failure too')
    .option('--quiet', 'no progress and no report: only what was asked for, warnings and errors');
}

const EXIT_CODES_HELP = `
Exit codes:
  0    done
  1    failed
  2    wrong usage or configuration
  3    verify found differences, and left some
  4    the source is unavailable; the cache is kept
  130  stopped by Ctrl-C (143: by SIGTERM) at a batch boundary; the next sync goes on from there`;

const CONFIG_HELP = `
A configuration file holds the fields of the library's StorageSyncOptions, for example
  { "source": { "url": "libsql://…" }, "cacheDir": "cache", "tables": ["users"], "batchSize": 500 }
or, for the preset, { "preset": "memory", "memory": { "maxEpisodesCache": 500 } }.
A module may also export what defineConfig gives, or a function. Variables of the environment (TURSO_DATABASE_URL,
TURSO_AUTH_TOKEN, STORAGE_SYNC_BATCH_SIZE …) win over the file, and flags over both. Relative paths start at the
working directory.`;

const INIT_HELP = `
Writes storage-sync.config.ts (.js, .json) into the working directory: the source without its token, its tables with
their keys, columns that may serve as cursors, and every option with its default, commented out. JSON has no comments.
Reads the schema, and counts rows of a file only.`;

const DOCTOR_HELP = `
Looks at the host (versions, native packages, memory, open files), the source (connection, latency, tables, cursors,
change logs) and the cache (directory, disk, every page of its file, damage, failed syncs, its writer, tables that are
read in full, readers of old states). Exits with 0 also where there are warnings, with 1 where a check failed, and with
4 where the source could not be reached and nothing else is wrong. --quiet prints warnings and failures alone.`;

const VERIFY_HELP = `
Levels:
  quick   counts, the newest rows, the schema and the cache's own books
  sample  random ranges of keys besides, compared row by row on both sides
  deep    every row and every index entry; goes on from where an interrupted one stopped
Rows are damaged (their checksum does not hold), differ, or are missing or extra in the cache. What changed
in the source since the last sync is pending where a change log tells so. Tables are defined as for sync.`;

const VALUES_HELP = `
What plain JSON cannot hold is wrapped: a BLOB as {"base64":"…"}, an integer beyond 2^53 as
{"integer":"…"}, an infinity as {"real":"Infinity"}.`;

const GET_HELP = `
A BLOB in a key is written x'00ff'. What looks like a number is looked up as one, then as text: in a
TEXT column there are no numbers, and in an INTEGER column no such texts. Exits with 1 when there is no
such row (--json: prints null).
${VALUES_HELP}`;

const EXPORT_HELP = `
All rows are of one snapshot, whatever a sync does meanwhile. With --json the lines are the elements of
one array; if the export fails midway, the array is left open.
${VALUES_HELP}`;

function usageError(error: CommanderError, args: readonly string[]): ConfigError {
  // `--auth-tokn=…` must not be quoted back whole.
  const message = error.message
    .replace(/^error: /, '')
    .replace(/(option '-[^'=]*)=[^']*'/, "$1'")
    .split('\n');
  const command = args.find((arg) => !arg.startsWith('-'));
  const known = [
    'sync',
    'rebuild',
    'verify',
    'watch',
    'doctor',
    'init',
    'status',
    'tables',
    'get',
    'export',
    'capture',
  ];
  const help = command !== undefined && known.includes(command) ? `${command} --help` : '--help';
  return new ConfigError(message.join(' '), { hint: `See storage-sync ${help}.` });
}

import type {
  ChangeLog,
  ChangeLogStatus,
  CompactReport,
  InstallReport,
} from '../source/change-log/change-log.js';
import type { CommandContext } from './command-run.js';
import { EXIT_DONE } from './exit-code.js';
import { formatCount, formatDuration, formatPlural, printable } from '../format.js';
import type { OutputFlags } from './output.js';
import { syncSettings } from './settings.js';
import { textTable } from './text-table.js';

export interface CaptureFlags extends OutputFlags {
  readonly source?: string;
  readonly authToken?: string;
  readonly config?: string;
  readonly requestTimeout?: number;
  readonly retries?: number;
  readonly tables?: readonly string[];
}

export interface CompactFlags extends CaptureFlags {
  readonly before?: number;
  readonly all?: boolean;
  readonly forgetReaders?: number;
}

/** `storage-sync capture install`: begins to log the source's changes. */
export async function captureInstall(
  flags: CaptureFlags,
  context: CommandContext,
): Promise<number> {
  const report = await withChangeLog(flags, context, (log) => log.install(flags.tables));
  return await tell(context, report, installText(report));
}

/** `storage-sync capture status`: tells what is logged. */
export async function captureStatus(flags: CaptureFlags, context: CommandContext): Promise<number> {
  const found = await withChangeLog(flags, context, (log) => log.status());
  const status = flags.tables === undefined ? found : only(found, flags.tables);
  if (context.output.json) await context.output.document(status);
  else await context.output.write(context.secrets.redact(statusText(status)));
  return EXIT_DONE;
}

/** `storage-sync capture compact`: removes changes that every reader has seen. */
export async function captureCompact(
  flags: CompactFlags,
  context: CommandContext,
): Promise<number> {
  const report = await withChangeLog(flags, context, (log) =>
    log.compact({
      tables: flags.tables,
      before: flags.before,
      all: flags.all,
      forgetReadersAfterMs: flags.forgetReaders,
    }),
  );
  return await tell(context, report, compactText(report));
}

/** `storage-sync capture uninstall`: ends the log. */
export async function captureUninstall(
  flags: CaptureFlags,
  context: CommandContext,
): Promise<number> {
  const report = await withChangeLog(flags, context, (log) => log.uninstall(flags.tables));
  const text = report.tables.map((table) => `${printable(table)}: uninstalled\n`).join('');
  return await tell(context, report, text || 'No changes were logged.\n');
}

async function withChangeLog<T>(
  flags: CaptureFlags,
  { secrets }: CommandContext,
  use: (log: ChangeLog) => Promise<T>,
): Promise<T> {
  const { tables: _, ...sourceFlags } = flags;
  const settings = await syncSettings(sourceFlags, secrets, process.env);
  const { openChangeLog } = await import('../source/change-log/change-log.js');
  const log = await openChangeLog({
    ...settings.source,
    requestTimeoutMs: settings.requestTimeoutMs,
    retries: settings.retries,
    retryInitialMs: settings.retryInitialMs,
    retryMaxMs: settings.retryMaxMs,
  });
  try {
    return await use(log);
  } finally {
    await log.close();
  }
}

/** Writes what was done, which `--quiet` leaves out and `--json` makes a document. */
async function tell(
  { output, secrets }: CommandContext,
  report: unknown,
  text: string,
): Promise<number> {
  if (output.json) await output.document(report);
  else if (!output.quiet) await output.write(secrets.redact(text));
  return EXIT_DONE;
}

function only(status: ChangeLogStatus, names: readonly string[]): ChangeLogStatus {
  const wanted = new Set(names.map((name) => name.toLowerCase()));
  const isWanted = ({ table }: { readonly table: string }) => wanted.has(table.toLowerCase());
  return {
    tables: status.tables.filter(isWanted),
    notCaptured: status.notCaptured.filter(isWanted),
  };
}

function installText({ tables, leftOut }: InstallReport): string {
  const lines = [
    ...tables.map(({ table, action, reason }) => `${table}: ${action}${because(reason)}`),
    ...leftOut.map(({ table, reason }) => `${table}: left out${because(reason)}`),
  ];
  return `${lines.map(printable).join('\n') || 'The source has no user tables.'}\n`;
}

function because(reason: string | null): string {
  return reason === null ? '' : ` (${reason})`;
}

function statusText({ tables, notCaptured }: ChangeLogStatus): string {
  const now = Date.now();
  const parts: string[] = [];
  if (tables.length > 0) {
    const rows = tables.map((table) => [
      table.table,
      table.state,
      table.rows === null ? '-' : formatCount(table.rows),
      table.newestVersion === null ? '-' : formatCount(table.newestVersion),
      formatCount(table.compacted),
      formatDuration(Math.max(0, now - table.installedAt)),
      table.problem ?? '',
    ]);
    const right = 'right' as const;
    const titles = [
      { title: 'table' },
      { title: 'state' },
      { title: 'rows', align: right },
      { title: 'newest', align: right },
      { title: 'compacted', align: right },
      { title: 'age', align: right },
      { title: 'problem' },
    ];
    parts.push(textTable(titles, rows));
  }
  const readers = tables.flatMap(({ table, readers: of }) =>
    of.map(({ reader, version, ageMs }) => [
      reader,
      table,
      formatCount(version),
      `${formatDuration(ageMs)} ago`,
    ]),
  );
  if (readers.length > 0) {
    const titles = ['reader', 'table', 'version', 'seen'].map((title) => ({ title }));
    parts.push(textTable(titles, readers));
  }
  if (notCaptured.length > 0) {
    const rows = notCaptured.map(({ table, reason }) => [table, reason ?? '']);
    parts.push(textTable([{ title: 'not captured' }, { title: 'why' }], rows));
  }
  return `${parts.join('\n\n') || 'The source has no user tables.'}\n`;
}

function compactText({ tables, readersForgotten }: CompactReport): string {
  const lines = tables.map(({ table, rowsRemoved, compacted, skipped }) =>
    skipped === null
      ? `${table}: ${formatPlural(rowsRemoved, 'row')} removed, compacted to version ${formatCount(compacted)}`
      : `${table}: nothing removed (${skipped})`,
  );
  if (readersForgotten > 0) lines.push(`${formatPlural(readersForgotten, 'reader')} forgotten`);
  return `${lines.map(printable).join('\n') || 'No changes are logged.'}\n`;
}

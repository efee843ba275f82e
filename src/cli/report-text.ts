import type { SchemaChange, SyncReport, TableReport } from '../report.js';
import { formatBytes, formatCount, formatDuration, formatPlural } from '../format.js';
import { textTable, type TextColumn } from './text-table.js';

const COLUMNS: readonly TextColumn[] = [
  { title: 'table' },
  { title: 'read', align: 'right' },
  { title: 'written', align: 'right' },
  { title: 'unchanged', align: 'right' },
  { title: 'deleted', align: 'right' },
  { title: 'quarantined', align: 'right' },
  { title: 'bytes', align: 'right' },
  { title: 'time', align: 'right' },
  { title: 'mode' },
];

/** A sync's report for people. Its warnings are not in it: they go to stderr. */
export function reportText(report: SyncReport): string {
  const paragraphs = [headline(report)];
  const tables = Object.entries(report.tables);
  if (tables.length > 0) {
    const rows = tables.map(([name, table]) => tableRow(name, table));
    paragraphs.push(textTable(COLUMNS, rows));
  }
  if (report.mode !== 'skipped') paragraphs.push(validationText(report));
  return `${paragraphs.join('\n\n')}\n`;
}

function headline({ mode, durationMs, generation, transport, retries }: SyncReport): string {
  if (mode === 'skipped') {
    return generation === null
      ? 'Skipped: the source is unavailable, and there is no cache yet.'
      : `Skipped: the source is unavailable. Generation ${generation} is served as it is.`;
  }
  const again = retries > 0 ? `, ${formatPlural(retries, 'retried request')}` : '';
  const done = mode === 'rebuild' ? 'Rebuilt' : 'Synced';
  return `${done} in ${formatDuration(durationMs)} (${mode}, generation ${generation}, ${transport}${again}).`;
}

function tableRow(name: string, table: TableReport): string[] {
  return [
    name,
    formatCount(table.rowsRead),
    formatCount(table.rowsWritten),
    formatCount(table.rowsUnchanged),
    formatCount(table.rowsDeleted),
    formatCount(table.rowsQuarantined),
    formatBytes(table.bytesWritten),
    formatDuration(table.durationMs),
    modeText(table),
  ];
}

function modeText({ mode, schemaChange, resumed }: TableReport): string {
  const change = schemaChange && CHANGE_TEXT[schemaChange.kind];
  return [mode, ...(change ? [change] : []), ...(resumed ? ['resumed'] : [])].join(', ');
}

const CHANGE_TEXT: Record<SchemaChange['kind'], string> = {
  'columns-added': 'columns added',
  redefined: 'built anew',
  renamed: 'renamed',
};

function validationText({ validation }: SyncReport): string {
  const failed = validation.checks.filter((check) => !check.passed);
  if (failed.length === 0) {
    return `Validation passed (${formatPlural(validation.checks.length, 'check')}).`;
  }
  const rows = failed.map(({ table, check, detail }) => [`  ${table}`, check, detail]);
  const titles = [{ title: '  table' }, { title: 'check' }, { title: 'detail' }];
  return `Validation failed:\n${textTable(titles, rows)}`;
}

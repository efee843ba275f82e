import type { VerifyReport, VerifyTableReport } from '../verify/report.js';
import { formatCount, formatDuration, formatPlural, printable } from '../format.js';
import { textTable, type TextColumn } from './text-table.js';

const COLUMNS: readonly TextColumn[] = [
  { title: 'table' },
  { title: 'compared', align: 'right' },
  { title: 'damaged', align: 'right' },
  { title: 'differs', align: 'right' },
  { title: 'missing', align: 'right' },
  { title: 'extra', align: 'right' },
  { title: 'index entries', align: 'right' },
  { title: 'repaired', align: 'right' },
  { title: 'pending', align: 'right' },
  { title: 'moving', align: 'right' },
];

/** A verify's report for people. Its warnings are not in it: they go to stderr. */
export function verifyText(report: VerifyReport): string {
  const tables = Object.entries(report.tables);
  const paragraphs = [headline(report)];
  if (tables.length > 0) {
    paragraphs.push(
      textTable(
        COLUMNS,
        tables.map(([name, table]) => tableRow(name, table)),
      ),
    );
  }
  for (const [name, table] of tables) {
    const lines = tableLines(table);
    if (lines.length > 0) paragraphs.push([printable(name), ...lines.map(indented)].join('\n'));
  }
  return `${paragraphs.join('\n\n')}\n`;
}

function headline(report: VerifyReport): string {
  const { level, seed, durationMs, generation, sourceRowsRead, complete, resumed } = report;
  const kind = seed === null ? level : `${level}, seed ${seed}`;
  const read = formatPlural(sourceRowsRead, 'source row');
  const extent = `${resumed ? ', going on from an earlier run' : ''}${complete ? '' : ', not complete'}`;
  return (
    `${outcome(report)} Verified in ${formatDuration(durationMs)} ` +
    `(${kind}, generation ${generation}, ${read} read${extent}).`
  );
}

function outcome({ differences, repaired, left }: VerifyReport): string {
  if (differences === 0) return 'No differences.';
  const found = formatPlural(differences, 'difference');
  if (left === 0) return `${found}, all repaired.`;
  return repaired === 0 ? `${found}.` : `${found}, ${formatCount(repaired)} repaired.`;
}

function tableRow(name: string, table: VerifyTableReport): string[] {
  const { rowsCompared, differences, indexEntries, repaired, pending, moving } = table;
  const counts = [
    rowsCompared,
    differences.damaged,
    differences.differs,
    differences.missing,
    differences.extra,
    indexEntries.missing + indexEntries.dangling,
    repaired,
    pending,
    moving,
  ];
  return [name, ...counts.map(formatCount)];
}

function tableLines(table: VerifyTableReport): string[] {
  const { checks, found, ranges, quarantined, complete, unverifiedBehind, notes } = table;
  const lines = checks
    .filter(({ passed }) => !passed)
    .map(({ check, detail }) => `check failed: ${check}: ${detail}`);
  for (const { first, last, differences } of ranges) {
    const count = formatPlural(differences, 'row');
    const extent = first === last ? `the key ${first}` : `keys ${first} to ${last}`;
    lines.push(differences === 1 ? `1 row differs, at ${extent}` : `${count} differ, ${extent}`);
  }
  for (const { key, kind, repaired } of found) {
    lines.push(`  ${kind.padEnd(8)} ${key}${repaired ? ' (repaired)' : ''}`);
  }
  const rows = Object.values(table.differences).reduce((sum, count) => sum + count, 0);
  if (rows > found.length) lines.push(`  and ${formatPlural(rows - found.length, 'more row')}`);
  if (quarantined > 0) {
    lines.push(`${formatPlural(quarantined, 'row')} of the source cannot be cached`);
  }
  if (!complete && unverifiedBehind !== null) {
    lines.push(`not looked at: rows behind the key ${unverifiedBehind}`);
  }
  return [...lines, ...notes].map(printable);
}

function indented(line: string): string {
  return `  ${line}`;
}

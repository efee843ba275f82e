import { printable } from '../format.js';

export interface TextColumn {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

/** Lines of columns padded to their widest cell, the titles first. */
export function textTable(
  columns: readonly TextColumn[],
  rows: readonly (readonly string[])[],
): string {
  const lines = [columns.map((column) => column.title), ...rows.map((row) => row.map(printable))];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  return lines
    .map((line) =>
      columns
        .map(({ align = 'left' }, i) => {
          const cell = line[i] ?? '';
          const width = widths[i] ?? 0;
          return align === 'right' ? cell.padStart(width) : cell.padEnd(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

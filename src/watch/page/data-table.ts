import { byId, create, patchChildren, setHidden, setText } from './dom.js';
import { createSign, setSign, type Level } from './sign.js';

export interface Column<T> {
  readonly title: string;
  readonly text: (item: T) => string;
  /** Of numbers: at the end of the cell. */
  readonly isNumber?: boolean;
  /** What the row is called. */
  readonly isName?: boolean;
  /** A sign before the text, or none. */
  readonly level?: (item: T) => Level | null;
}

export interface DataTableOptions<T> {
  /** For who does not see where the table stands. */
  readonly caption: string;
  readonly columns: readonly Column<T>[];
  readonly keyOf: (item: T) => string;
  /** What is said where there are no rows. */
  readonly empty: string;
}

/** A table that scrolls within itself, whose rows stay the same elements as long as their keys do. */
export class DataTable<T> {
  readonly #options: DataTableOptions<T>;
  readonly #scroll = create('div', 'scroll');
  readonly #body = create('tbody');
  readonly #empty: HTMLElement;

  constructor(host: HTMLElement | string, options: DataTableOptions<T>) {
    this.#options = options;
    const { caption, columns, empty } = options;
    const table = create('table');
    const head = create('tr');
    for (const { title, isNumber } of columns) {
      const cell = create('th', isNumber ? 'number' : '', title);
      cell.scope = 'col';
      head.append(cell);
    }
    const headRows = create('thead');
    headRows.append(head);
    table.append(create('caption', 'unseen', caption), headRows, this.#body);
    // Who has no mouse scrolls with the arrow keys, which takes the focus.
    this.#scroll.tabIndex = 0;
    this.#scroll.setAttribute('role', 'region');
    this.#scroll.setAttribute('aria-label', caption);
    this.#scroll.append(table);
    this.#empty = create('p', 'empty', empty);
    const element = typeof host === 'string' ? byId(host) : host;
    element.append(this.#scroll, this.#empty);
    this.show([]);
  }

  show(items: readonly T[]): void {
    const { keyOf, columns } = this.#options;
    setHidden(this.#scroll, items.length === 0);
    setHidden(this.#empty, items.length > 0);
    const make = () => makeRow(columns);
    patchChildren(this.#body, items, {
      keyOf,
      make,
      fill: (row, item) => fillRow(row, item, columns),
    });
  }
}

function makeRow<T>(columns: readonly Column<T>[]): HTMLElement {
  const row = create('tr');
  for (const { isName, isNumber, level } of columns) {
    const cell = create(isName ? 'th' : 'td', isNumber ? 'number' : '');
    if (isName) cell.setAttribute('scope', 'row');
    if (level) cell.append(createSign());
    cell.append(create('bdi'));
    row.append(cell);
  }
  return row;
}

function fillRow<T>(row: HTMLElement, item: T, columns: readonly Column<T>[]): void {
  for (const [i, { text, level }] of columns.entries()) {
    const cell = row.children[i]!;
    setText(cell.lastElementChild!, text(item));
    if (!level) continue;
    const sign = cell.firstElementChild!;
    const now = level(item);
    sign.toggleAttribute('hidden', now === null);
    if (now) setSign(sign, now);
  }
}

import type { TablePlan } from '../../src/source/plan.js';

/** A plan of `width` untyped columns whose first `keyColumns` are the key. */
export function planOf(width: number, keyColumns = 1): TablePlan {
  const names = Array.from({ length: width }, (_, i) => `c${i}`);
  const key = names.slice(0, keyColumns).map((_, i) => i);
  return {
    name: 't',
    encoding: 'utf8',
    columns: names.map((name) => ({ name, affinity: 'blob', notNull: false, strict: false })),
    key,
    keyNames: names.slice(0, keyColumns),
    keyNullable: false,
    readsRowid: false,
    rowidName: 'rowid',
    order: key.map((column) => ({
      sql: `"c${column}"`,
      collation: 'BINARY',
      descending: false,
      nullable: false,
      column,
    })),
    inKeyOrder: true,
    limit: null,
    filter: null,
    scopes: [],
    references: null,
    alive: null,
    cursor: null,
    mode: 'auto',
    indexes: [],
  };
}

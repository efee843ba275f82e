import { SourceError } from '../../errors.js';
import type { Query } from '../connection.js';
import type { TablePlan } from '../plan.js';
import { DatabasePages } from './database-pages.js';
import { StoredFormError } from './stored-form-error.js';
import { StoredTable } from './stored-table.js';

/** The tables of a SQLite file as they are stored, known for as long as the file stays as it is. */
export class StoredTables {
  readonly #remembers: boolean;
  #version: number | null = null;
  #pages: DatabasePages | null = null;
  readonly #tables = new Map<TablePlan['name'], { plan: string; table: StoredTable | null }>();
  #available = true;

  /** @param remembers true where all snapshots are of one connection: only then can it tell that nothing changed. */
  constructor(remembers: boolean) {
    this.#remembers = remembers;
  }

  /** `PRAGMA data_version` in the snapshot for which a table was opened last; null where others cannot be compared with it. */
  get version(): number | null {
    return this.#remembers ? this.#version : null;
  }

  /**
   * A plan's table, or null where its rows are to be read by SQL.
   *
   * @param query asks within the snapshot for which the table is wanted.
   */
  async open(query: Query, plan: TablePlan): Promise<StoredTable | null> {
    if (!this.#available) return null;
    try {
      await this.#notice(query);
      // Which rows are wanted does not change where they are, but may be where no row is.
      const planText = JSON.stringify({ ...plan, filter: plan.filter !== null });
      const known = this.#tables.get(plan.name);
      if (known?.plan === planText) return known.table;
      const table = await this.#find(query, plan);
      this.#tables.set(plan.name, { plan: planText, table });
      return table;
    } catch (error) {
      // A driver may be built without sqlite_dbpage, and a table may have the name of a function that is needed.
      if (!(error instanceof SourceError) || error.code !== 'SOURCE_SQL') throw error;
      this.#available = false;
      return null;
    }
  }

  /** Forgets all when the file is not as it was. */
  async #notice(query: Query): Promise<void> {
    const [row] = await query('SELECT data_version FROM pragma_data_version');
    const version = Number(row![0]);
    if (this.#remembers && version === this.#version) return;
    this.#version = version;
    this.#pages = null;
    this.#tables.clear();
  }

  async #find(query: Query, plan: TablePlan): Promise<StoredTable | null> {
    try {
      this.#pages ??= await DatabasePages.open(query, plan.encoding);
      return await StoredTable.open(query, this.#pages, plan);
    } catch (error) {
      if (error instanceof StoredFormError) return null;
      throw error;
    }
  }
}

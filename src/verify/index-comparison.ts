import type { EntryRepair } from '../cache/repair.js';
import type { VerifyContext } from './context.js';
import type { TableFindings } from './table-findings.js';
import type { InspectedTable, VerifyTasks } from './tasks.js';

/**
 * Holds the index entries of one table against its rows: each row must have its entries, and there must be no others.
 * The source is not asked.
 */
export class IndexComparison {
  readonly #context: VerifyContext;
  readonly #inspected: InspectedTable;
  readonly #findings: TableFindings;

  constructor(context: VerifyContext, inspected: InspectedTable, findings: TableFindings) {
    this.#context = context;
    this.#inspected = inspected;
    this.#findings = findings;
  }

  async run(): Promise<void> {
    const { indexes } = this.#inspected;
    // One that is being built lacks entries by right.
    if (indexes.length === 0 || !indexes.every((index) => index?.complete)) return;
    this.#context.meter.enter('validating');
    const found = await this.#checkRows();
    const { pool } = this.#context;
    const { entries } = await pool.read('countEntries', this.#asked);
    if (entries !== found) await this.#checkEntries();
    this.#context.meter.enter('reading');
  }

  get #asked() {
    const { source, generation } = this.#context;
    return { source, generation, table: this.#inspected.table };
  }

  /** @returns how many entries there are that rows call for. */
  async #checkRows(): Promise<number> {
    const { pool, throwIfAborted } = this.#context;
    let found = 0;
    let after: Uint8Array | null = null;
    for (let done = false; !done;) {
      throwIfAborted();
      const checked: EntriesOfRows = await pool.read('checkEntries', { ...this.#asked, after });
      ({ after, done } = checked);
      found += checked.found;
      if (checked.rows.length === 0) continue;
      const repaired = await this.#repair({ rows: checked.rows, entries: [] });
      this.#findings.addEntries(checked.missing, 0, repaired ? checked.missing : 0);
      if (repaired) found += checked.missing;
    }
    return found;
  }

  async #checkEntries(): Promise<void> {
    const { pool, throwIfAborted } = this.#context;
    let after: Uint8Array | null = null;
    for (let done = false; !done;) {
      throwIfAborted();
      const checked: DanglingEntries = await pool.read('danglingEntries', {
        ...this.#asked,
        after,
      });
      ({ after, done } = checked);
      const { entries } = checked;
      if (entries.length === 0) continue;
      const repaired = await this.#repair({ rows: [], entries });
      this.#findings.addEntries(0, entries.length, repaired ? entries.length : 0);
    }
  }

  /** @returns whether repairs are asked for. */
  async #repair(entries: Omit<EntryRepair, 'tableId'>): Promise<boolean> {
    const { pool, generation, repair } = this.#context;
    if (!repair) return false;
    const tableId = this.#inspected.table.id;
    await pool.write('repairEntries', { generation, tableId, ...entries });
    return true;
  }
}

type EntriesOfRows = VerifyTasks['checkEntries']['response'];
type DanglingEntries = VerifyTasks['danglingEntries']['response'];

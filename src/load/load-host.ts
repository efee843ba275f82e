import { workerData } from 'node:worker_threads';
import type { PlacedRun } from '../cache/bulk/bulk-file.js';
import type { SourceRef, SpareMemory } from '../pipeline/messages.js';
import type { WorkerData } from '../pipeline/serve.js';
import type { SourceConnection } from '../source/connection.js';
import { outlineTable, readRange } from '../source/file-scan.js';
import { BatchBuilder, recordsOf } from '../transform/batch.js';
import type { Checksum } from '../transform/checksum.js';
import { RowKernel } from './kernel/row-kernel.js';
import { LeafRecords } from './leaf-records.js';
import { PageWriter } from './page-writer.js';
import { sameKey, sortRecords } from './sort-records.js';
import { GroupReader, HEADER_BYTES, readParts, writeGroups } from './spool.js';
import type { LoadTasks, SpooledRows, SpoolPart, SpoolRef } from './tasks.js';

type Request<Name extends keyof LoadTasks> = LoadTasks[Name]['request'];
type Response<Name extends keyof LoadTasks> = Promise<LoadTasks[Name]['response']>;

/** Runs work on the connection of a session. */
type OnConnection = <T>(
  source: SourceRef,
  work: (connection: SourceConnection) => Promise<T>,
) => Promise<T>;

/** What a reader thread does for a load. Its memory is kept from one task to the next. */
export class LoadHost {
  readonly #checksum: Checksum;
  readonly #on: OnConnection;
  #kernel: Promise<RowKernel> | null = null;
  readonly #records = new GroupReader();
  readonly #writer = new PageWriter();
  #spare: SpareMemory | undefined;
  #group = Buffer.alloc(0);

  constructor(checksum: Checksum, on: OnConnection) {
    this.#checksum = checksum;
    this.#on = on;
  }

  async outline({ source, plan, rangeBytes, samples }: Request<'outline'>): Response<'outline'> {
    return await this.#on(source, async (connection) => {
      const builder = new BatchBuilder(plan, this.#checksum);
      const outline = await outlineTable(connection, plan, rangeBytes, samples, builder);
      if (outline === null) return { outline };
      const batch = builder.finish();
      const arena = new Uint8Array(batch.arena);
      const keys: Uint8Array[] = [];
      for (const { keyStart, valueStart } of recordsOf(batch)) {
        keys.push(arena.slice(keyStart, valueStart));
      }
      return { outline: { ...outline, keys } };
    });
  }

  async spool(request: Request<'spool'>): Response<'spool'> {
    const { source, plan, range, bounds, keys, spool } = request;
    return await this.#on(source, async (connection) => {
      const kernel = await (this.#kernel ??= RowKernel.load((workerData as WorkerData).kernel));
      const records = new LeafRecords(kernel, plan, keys, this.#checksum, this.#spare);
      this.#spare = undefined;
      const page = await readRange(connection, plan, range, bounds, records);
      if (page === null) return { spooled: null };
      const { groups, count, spare } = records.finish();
      this.#spare = spare;
      const spooled: SpooledRows = {
        groups: writeGroups(spool, groups),
        rows: count,
        bytes: groups.bytes.length - HEADER_BYTES * count,
        rejected: page.rejected,
        sourceRows: page.sourceRows,
        rest: page.rest,
      };
      return { spooled };
    });
  }

  async pack({ source, ...request }: Request<'pack'>): Response<'pack'> {
    return await this.#on(source, () => Promise.resolve({ runs: this.#pack(request) }));
  }

  #pack({ spool, file, parts, pages }: Omit<Request<'pack'>, 'source'>): PlacedRun[] | null {
    const group = this.#readGroup(spool, file, parts);
    const records = this.#records.read(group);
    const places = sortRecords(group, records);
    for (let i = 1; i < places.length; i++) {
      if (sameKey(group, records, places[i - 1]!, places[i]!)) return null;
    }
    return this.#writer.write(pages, group, records, places);
  }

  /** The parts, one behind the other. In memory that the next call uses again. */
  #readGroup(spool: SpoolRef, file: number, parts: readonly SpoolPart[]): Buffer {
    const size = parts.reduce((sum, { bytes }) => sum + bytes, 0);
    if (this.#group.length < size) this.#group = Buffer.allocUnsafeSlow(size);
    const group = this.#group.subarray(0, size);
    if (size > 0) readParts(spool, file, parts, group);
    return group;
  }
}

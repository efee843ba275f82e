import { workerData } from 'node:worker_threads';
import type { SourceRef, SpareMemory } from '../pipeline/messages.js';
import type { WorkerData } from '../pipeline/serve.js';
import type { SourceConnection } from '../source/connection.js';
import { outlineTable, readRange } from '../source/file-scan.js';
import type { LookAt } from '../source/stored/leaf-scan.js';
import type { Checksum } from '../transform/checksum.js';
import { Kernel } from './kernel/kernel.js';
import { PageKernel } from './kernel/page-kernel.js';
import { RowKernel } from './kernel/row-kernel.js';
import { KeySample } from './key-sample.js';
import { LeafRecords } from './leaf-records.js';
import { writeRuns } from './page-writer.js';
import { HEADER_BYTES, Spool } from './spool.js';
import type { LoadTasks, SpooledRows } from './tasks.js';

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
  #kernel: Promise<Kernel> | null = null;
  #spare: SpareMemory | undefined;

  constructor(checksum: Checksum, on: OnConnection) {
    this.#checksum = checksum;
    this.#on = on;
  }

  async outline({ source, plan, rangeBytes, samples }: Request<'outline'>): Response<'outline'> {
    return await this.#on(source, async (connection) => {
      const sample = new KeySample();
      const look: LookAt = (record, table, end) => sample.take(record, table, end);
      const outline = await outlineTable(connection, plan, rangeBytes, samples, look);
      return { outline: outline && { ...outline, keys: sample.keys } };
    });
  }

  async spool(request: Request<'spool'>): Response<'spool'> {
    const { source, plan, range, bounds, keys, spool } = request;
    return await this.#on(source, async (connection) => {
      const kernel = new RowKernel(await this.#loadKernel());
      const records = new LeafRecords(kernel, plan, keys, this.#checksum, this.#spare);
      this.#spare = undefined;
      const page = await readRange(connection, plan, range, bounds, records);
      if (page === null) return { spooled: null };
      const { groups, count, spare } = records.finish();
      this.#spare = spare;
      const written = new Spool(spool).write(groups);
      if (written === null) return { spooled: null };
      const spooled: SpooledRows = {
        groups: written,
        rows: count,
        bytes: groups.bytes.length - HEADER_BYTES * count,
        rejected: page.rejected,
        sourceRows: page.sourceRows,
        rest: page.rest,
      };
      return { spooled };
    });
  }

  async pack({ source, spool, file, parts }: Request<'pack'>): Response<'pack'> {
    return await this.#on(source, async () => {
      const kernel = new PageKernel(await this.#loadKernel());
      const group = kernel.groupMemory(parts.reduce((sum, { bytes }) => sum + bytes, 0));
      new Spool(spool).read(file, parts, group);
      return { runs: kernel.sort() ? writeRuns(spool, kernel.runs(spool.target.pageSize)) : null };
    });
  }

  #loadKernel(): Promise<Kernel> {
    this.#kernel ??= Kernel.load((workerData as WorkerData).kernel);
    return this.#kernel;
  }
}

import { workerData } from 'node:worker_threads';
import type { SourceRef, SpareMemory } from '../pipeline/messages.js';
import type { WorkerData } from '../pipeline/serve.js';
import type { SourceConnection } from '../source/connection.js';
import { outlineTable, readRange } from '../source/file-scan.js';
import type { LookAt } from '../source/stored/leaf-scan.js';
import type { Checksum } from '../transform/checksum.js';
import { Kernels, type Kernel } from './kernel/kernel.js';
import { PageKernel } from './kernel/page-kernel.js';
import { RowKernel } from './kernel/row-kernel.js';
import { KeySample } from './key-sample.js';
import { LeafRecords } from './leaf-records.js';
import { writeRuns } from './page-writer.js';
import { bytesOf, Spool } from './spool.js';
import type { LoadTasks, SpooledRows } from './tasks.js';
import { ValueWriter } from './value-writer.js';

type Request<Name extends keyof LoadTasks> = LoadTasks[Name]['request'];
type Response<Name extends keyof LoadTasks> = Promise<LoadTasks[Name]['response']>;

/** Runs work on the connection of a session. */
type OnConnection = <T>(
  source: SourceRef,
  work: (connection: SourceConnection) => Promise<T>,
) => Promise<T>;

/**
 * A larger group of records, far from the few megabytes that it was meant to have, is not packed, but its table read in
 * the order of its keys. With a sort's entries, 32 bytes for records of nine at least, it stays within the kernel's memory.
 */
const MAX_GROUP_BYTES = 64 * 1024 * 1024;

/** What a reader thread does for a load. Its memory is kept from one task to the next. */
export class LoadHost {
  readonly #checksum: Checksum;
  readonly #on: OnConnection;
  /** One for each task under way: tasks of two sessions take turns whenever one waits for its source. */
  readonly kernels: Kernels;
  #spare: SpareMemory | undefined;

  constructor(
    checksum: Checksum,
    on: OnConnection,
    kernelFile = () => (workerData as WorkerData).kernel,
  ) {
    this.#checksum = checksum;
    this.#on = on;
    this.kernels = new Kernels(kernelFile);
  }

  async outline({ source, plan, looking }: Request<'outline'>): Response<'outline'> {
    return await this.#on(source, async (connection) => {
      const sample = new KeySample();
      const look: LookAt = (record, table, end) => sample.take(record, table, end);
      const outline = await outlineTable(connection, plan, looking, look);
      return { outline: outline && { ...outline, keys: sample.keys } };
    });
  }

  async spool(request: Request<'spool'>): Response<'spool'> {
    const { source, plan, range, bounds, keys, spool } = request;
    const work = async (connection: SourceConnection, kernel: Kernel, values: ValueWriter) => {
      const records = new LeafRecords(
        new RowKernel(kernel),
        plan,
        keys,
        values,
        this.#checksum,
        this.#spare,
      );
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
        bytes: groups.contentBytes,
        rejected: page.rejected,
        sourceRows: page.sourceRows,
        rest: page.rest,
        values: values.ranges,
      };
      return { spooled };
    };
    return await this.#on(source, async (connection) => {
      return await this.kernels.use(async (kernel) => {
        const values = new ValueWriter(spool);
        try {
          return await work(connection, kernel, values);
        } finally {
          values.close();
        }
      });
    });
  }

  async pack({ source, spool, file, parts }: Request<'pack'>): Response<'pack'> {
    const size = bytesOf(parts);
    if (size > MAX_GROUP_BYTES) return { runs: null };
    const work = async (kernel: PageKernel): Response<'pack'> => {
      new Spool(spool).read(file, parts, kernel.groupMemory(size));
      return { runs: kernel.sort() ? writeRuns(spool, kernel.runs(spool.target.pageSize)) : null };
    };
    return await this.#on(source, async () => {
      return await this.kernels.use(async (kernel) => await work(new PageKernel(kernel)));
    });
  }
}

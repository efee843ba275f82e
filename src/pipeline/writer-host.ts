import { existsSync, mkdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { DamageLog } from '../cache/damage-notes.js';
import { abandonAnyBulk, abandonBulk, openBulk } from '../cache/bulk/bulk-file.js';
import { BulkTree } from '../cache/bulk/bulk-tree.js';
import { finishBulk } from '../cache/bulk/finish-bulk.js';
import { Environment, rowsName } from '../cache/environment.js';
import { addFetched } from '../cache/fetched-rows.js';
import { cacheIoError, DIRECTORY_MODE } from '../cache/files.js';
import { GenerationWriter } from '../cache/generation-writer.js';
import { dataPath } from '../cache/layout.js';
import { preflightForWriter } from '../cache/preflight.js';
import { refuseDamagedRecords } from '../cache/record-check.js';
import { refuseLinks } from '../cache/safe-directory.js';
import { isSealedWhole, sealFile, sealForWriter, sealPages } from '../cache/seal.js';
import { repairCount, repairEntries, repairRows } from '../cache/repair.js';
import { Segments } from '../load/segments.js';
import type { Checksum } from '../transform/checksum.js';
import type { GenerationRef, WriterTasks } from './messages.js';

export interface WriterHostOptions {
  readonly checksum: Checksum;
  /** How a generation is opened. The seam by which tests put faults between. */
  readonly openEnvironment?: (generation: GenerationRef) => Environment;
}

interface OpenGeneration {
  readonly environment: Environment;
  readonly writer: GenerationWriter;
  /** Whether it is not known that its records are sound. */
  unread: boolean;
}

/** What is known of a generation whose environment is closed while a table is loaded into its file. */
interface Loading {
  readonly writer: GenerationWriter;
  readonly unread: boolean;
  /** Of the table, once there are pages of it. */
  tree: BulkTree | null;
}

/** What a writer thread does: owns the write transactions of the generations that are sent to it. */
export class WriterHost {
  readonly #open = new Map<string, OpenGeneration>();
  readonly #loading = new Map<string, Loading>();
  readonly #checksum: Checksum;
  readonly #openEnvironment: (generation: GenerationRef) => Environment;

  constructor(options: WriterHostOptions) {
    this.#checksum = options.checksum;
    this.#openEnvironment = options.openEnvironment ?? openGeneration;
  }

  open({ generation }: WriterTasks['open']['request']): WriterTasks['open']['response'] {
    const { environment } = this.#generation(generation);
    return { source: environment.source(), setBack: environment.setBack };
  }

  prepare(request: WriterTasks['prepare']['request']): WriterTasks['prepare']['response'] {
    const { generation, ...preparation } = request;
    const open = this.#generation(generation);
    if (generation.unpublished) open.writer.dropUncounted();
    // What a sync compares with all of the source it does not rely on.
    if (open.unread && !preparation.full) {
      refuseDamagedRecords(open.environment, noteIn(generation));
      open.unread = false;
    }
    return { tables: open.writer.prepare({ ...preparation, unpublished: generation.unpublished }) };
  }

  /** Lets go of the file, so that pages can be written to it past LMDB. Any other task takes it again. */
  async beginLoad({
    generation,
    tableId,
  }: WriterTasks['beginLoad']['request']): Promise<WriterTasks['beginLoad']['response']> {
    const { environment, writer, unread } = this.#generation(generation);
    this.#open.delete(generation.dir);
    this.#loading.set(generation.dir, { writer, unread, tree: null });
    await environment.close();
    return { target: openBulk(generation.dir, [rowsName(tableId)]) };
  }

  /** Gives up what was written since. */
  abandonLoad({
    generation,
    target,
  }: WriterTasks['abandonLoad']['request']): WriterTasks['abandonLoad']['response'] {
    if (!this.#open.has(generation.dir)) abandonBulk(generation.dir, target);
    return {};
  }

  /** Enters pages into the tree of the table that is loaded. */
  addRuns({
    generation,
    tableId,
    target,
    segments,
    runs,
  }: WriterTasks['addRuns']['request']): WriterTasks['addRuns']['response'] {
    const loading = this.#loading.get(generation.dir)!;
    loading.tree ??= new BulkTree(rowsName(tableId), generation.dir, target, (pages) =>
      new Segments(target, segments).takePages(pages),
    );
    loading.tree.add(runs);
    return {};
  }

  endLoad({
    generation,
    target,
    segments,
    values,
    ...loaded
  }: WriterTasks['endLoad']['request']): WriterTasks['endLoad']['response'] {
    const tree = this.#loading.get(generation.dir)?.tree;
    const nextPage = () => new Segments(target, segments).nextPage;
    tree?.addOverflow(values);
    if (tree) finishBulk(generation.dir, target, [tree], nextPage);
    return { checkpoint: this.#generation(generation).writer.loaded(loaded) };
  }

  index({
    generation,
    tableId,
  }: WriterTasks['index']['request']): WriterTasks['index']['response'] {
    return this.#generation(generation).writer.buildIndexes(tableId);
  }

  write({ generation, write }: WriterTasks['write']['request']): WriterTasks['write']['response'] {
    const checkpoint = this.#generation(generation).writer.write(write);
    const { arena, spans } = write.batch;
    return { checkpoint, spare: { arena, spans } };
  }

  divide({
    generation,
    tableId,
    boundaries,
  }: WriterTasks['divide']['request']): WriterTasks['divide']['response'] {
    return { checkpoint: this.#generation(generation).writer.divide(tableId, boundaries) };
  }

  apply(request: WriterTasks['apply']['request']): WriterTasks['apply']['response'] {
    const { generation, changes, maxLossShare } = request;
    return { checkpoints: this.#generation(generation).writer.apply(changes, maxLossShare) };
  }

  restart({
    generation,
    tableId,
    logs,
  }: WriterTasks['restart']['request']): WriterTasks['restart']['response'] {
    return { checkpoint: this.#generation(generation).writer.restart(tableId, logs) };
  }

  follow({
    generation,
    steps,
    maxLossShare,
  }: WriterTasks['follow']['request']): WriterTasks['follow']['response'] {
    return { checkpoints: this.#generation(generation).writer.follow(steps, maxLossShare) };
  }

  beginSweep({
    generation,
    tableId,
  }: WriterTasks['beginSweep']['request']): WriterTasks['beginSweep']['response'] {
    return { checkpoint: this.#generation(generation).writer.beginSweep(tableId) };
  }

  absentKeys({
    generation,
    tableId,
    batch,
  }: WriterTasks['absentKeys']['request']): WriterTasks['absentKeys']['response'] {
    return { absent: this.#generation(generation).writer.absentKeys(tableId, batch), batch };
  }

  insertMissed({
    generation,
    rows,
  }: WriterTasks['insertMissed']['request']): WriterTasks['insertMissed']['response'] {
    this.#generation(generation).writer.insertMissed(rows);
    return {};
  }

  sweep({
    generation,
    tableId,
  }: WriterTasks['sweep']['request']): WriterTasks['sweep']['response'] {
    return this.#generation(generation).writer.sweep(tableId);
  }

  previewSweep({
    generation,
    tableId,
  }: WriterTasks['previewSweep']['request']): WriterTasks['previewSweep']['response'] {
    return this.#generation(generation).writer.previewSweep(tableId);
  }

  abandon({
    generation,
    tableId,
  }: WriterTasks['abandon']['request']): WriterTasks['abandon']['response'] {
    this.#generation(generation).writer.abandon(tableId);
    return {};
  }

  complete(request: WriterTasks['complete']['request']): WriterTasks['complete']['response'] {
    const { writer } = this.#generation(request.generation);
    const counts = request.tableIds.map((tableId) => ({ tableId, ...writer.countsAgree(tableId) }));
    if (counts.some(({ stored, counted }) => stored !== counted)) return { counts, violations: [] };
    const violations = writer.complete(request.record, request.tableIds, request.dropOthers);
    return { counts, violations };
  }

  repairRows({
    generation,
    ...repair
  }: WriterTasks['repairRows']['request']): WriterTasks['repairRows']['response'] {
    repairRows(this.#generation(generation).environment, this.#checksum, repair);
    return {};
  }

  repairEntries({
    generation,
    ...repair
  }: WriterTasks['repairEntries']['request']): WriterTasks['repairEntries']['response'] {
    repairEntries(this.#generation(generation).environment, this.#checksum, repair);
    return {};
  }

  repairCount({
    generation,
    tableId,
  }: WriterTasks['repairCount']['request']): WriterTasks['repairCount']['response'] {
    repairCount(this.#generation(generation).environment, tableId);
    return {};
  }

  addFetched({
    generation,
    fetched,
  }: WriterTasks['addFetched']['request']): WriterTasks['addFetched']['response'] {
    const { environment } = this.#generation(generation);
    return { added: addFetched(environment, this.#checksum, fetched) };
  }

  async close({
    generation,
  }: WriterTasks['close']['request']): Promise<WriterTasks['close']['response']> {
    const open = this.#open.get(generation.dir);
    this.#open.delete(generation.dir);
    this.#loading.delete(generation.dir);
    if (open) {
      await open.environment.close();
      if (open.unread) sealPages(generation.dir);
      else sealFile(generation.dir);
    }
    return {};
  }

  #generation(ref: GenerationRef): OpenGeneration {
    let open = this.#open.get(ref.dir);
    if (!open) {
      const loading = this.#loading.get(ref.dir);
      this.#loading.delete(ref.dir);
      // What this thread itself has just written needs no look before.
      const environment = this.#openEnvironment(loading ? { ...ref, create: true } : ref);
      const writer =
        loading?.writer.over(environment) ?? new GenerationWriter(environment, this.#checksum);
      open = { environment, writer, unread: loading?.unread ?? environment.unread };
      this.#open.set(ref.dir, open);
    }
    return open;
  }
}

/** Notes damaged records as reads do: the next sync fetches them again. One that is not served is dropped as a whole. */
function noteIn({ dir, unpublished }: GenerationRef): (tableId: number, key: Uint8Array) => void {
  if (unpublished) return () => undefined;
  const log = new DamageLog(dirname(dirname(dir)));
  const generation = Number(basename(dir));
  return (tableId, key) => log.note({ generation, record: { tableId, key } });
}

/** Opens a generation, after looking whether its file can be one. */
export function openGeneration({ dir, create, unpublished }: GenerationRef): Environment {
  let setBack = false;
  refuseLinks(dir);
  const unread = !create && !isSealedWhole(dir);
  if (create) {
    try {
      mkdirSync(dir, { recursive: true, mode: DIRECTORY_MODE });
    } catch (error) {
      throw cacheIoError(error, dir);
    }
  } else setBack = preflightForWriter(dir);
  if (unpublished && existsSync(dataPath(dir))) abandonAnyBulk(dir);
  sealForWriter(dir);
  const environment = new Environment(dir, { unpublished, setBack, unread });
  if (unpublished) return environment;
  try {
    environment.refuseIncomplete();
    return environment;
  } catch (error) {
    void environment.close();
    throw error;
  }
}

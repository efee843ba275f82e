import { SourceError, SyncAbortedError } from '../errors.js';
import type { EncodedChanges } from '../cache/generation-writer.js';
import type { Query, SourceConnection } from '../source/connection.js';
import { readChanges } from '../source/changes.js';
import { isScoped } from '../source/plan.js';
import { readScopedChanges } from '../source/scoped-changes.js';
import { countRows, introspect, readVersion } from '../source/introspection.js';
import { acknowledgement, isKept, readKeptChanges, readLogStates } from '../source/log-state.js';
import { connect as connectToSource, type ConnectionConfig } from '../source/open-source.js';
import { findDivisions } from '../source/divisions.js';
import { RowTally } from '../source/row-tally.js';
import { findBoundary, readInSnapshot, readPage } from '../source/page-reader.js';
import type { PageBounds } from '../source/page.js';
import { quoteIdentifier } from '../source/sql.js';
import { BatchBuilder } from '../transform/batch.js';
import type { Checksum } from '../transform/checksum.js';
import { ClosedFiles } from './closed-files.js';
import { keysWithoutRows } from './change-keys.js';
import { HeldCaches } from './held-caches.js';
import { lookAt, readCursorSteps, readRowsByKey } from './cursor-pages.js';
import type {
  EncodedPage,
  EncodedRound,
  LanePage,
  FollowedTable,
  ReaderTasks,
  SourceRef,
} from './messages.js';
import { lookUpRows } from '../read-through/look-up.js';
import { untilAborted } from '../until-aborted.js';
import { WireKernel } from '../load/kernel/wire-kernel.js';
import { LoadHost } from '../load/load-host.js';
import type { EntryTaker } from '../source/entry-taker.js';
import type { VerifyHost } from '../verify/verify-host.js';
import { encodedPage } from './encoded-page.js';
import { laneBoundary } from './lane-boundary.js';
import { decodePosition, encodePosition } from './position.js';

export interface ReaderHostOptions {
  readonly checksum: Checksum;
  /** Where the caches are counted that it has open. */
  readonly held?: HeldCaches;
  /** How a source is reached. The seam by which tests put faults between. */
  readonly connect?: (config: ConnectionConfig) => Promise<SourceConnection>;
}

const ENDED_REMEMBERED = 64;

interface Session {
  readonly connection: Promise<SourceConnection>;
  readonly abort: AbortController;
  /** Of the connection's retries, those already told. */
  retriesTold: number;
  /** The request that was made last. */
  tail: Promise<unknown>;
}

/**
 * What a reader thread does: asks the source, encodes what it answers. Keeps one connection for each session. On a
 * native one requests run one after the other, because its snapshots belong to the connection.
 */
export class ReaderHost {
  readonly #sessions = new Map<string, Session>();
  readonly #ended = new Set<string>();
  readonly #closedFiles = new ClosedFiles();
  readonly #checksum: Checksum;
  readonly #connect: (config: ConnectionConfig) => Promise<SourceConnection>;
  readonly load: LoadHost;
  readonly #held: HeldCaches;
  #verify: Promise<VerifyHost> | null = null;
  #entries: Promise<EntryTaker> | null = null;

  constructor(options: ReaderHostOptions) {
    this.#checksum = options.checksum;
    this.#connect = options.connect ?? connectToSource;
    this.#held = options.held ?? new HeldCaches();
    this.load = new LoadHost(
      this.#checksum,
      async (source, work) => await this.#on(source, async (connection) => await work(connection)),
    );
  }

  /** What a thread does for a verify. Its modules, LMDB among them, are many: a sync mostly does without. */
  verify(): Promise<VerifyHost> {
    this.#verify ??= this.#loadVerify();
    return this.#verify;
  }

  #entryTaker(): Promise<EntryTaker> {
    this.#entries ??= this.load.kernels.load().then((kernel) => new WireKernel(kernel));
    return this.#entries;
  }

  async #loadVerify(): Promise<VerifyHost> {
    const { VerifyHost } = await import('../verify/verify-host.js');
    return new VerifyHost(
      this.#checksum,
      async (source, work) =>
        await this.#on(
          source,
          async (connection, signal) =>
            await work(connection, signal, () => this.#newRetries(source.session, connection)),
        ),
      this.load.kernels,
      this.#held,
    );
  }

  async schema({
    source,
  }: ReaderTasks['schema']['request']): Promise<ReaderTasks['schema']['response']> {
    return await this.#on(source, async (connection) => {
      const tally = new RowTally();
      const batch = tally.overBatch(connection.batch);
      const schema = await introspect(batch);
      const logs = await readLogStates(batch, schema);
      const { transport } = connection;
      const retries = this.#newRetries(source.session, connection);
      return { schema, transport, logs, sourceRows: tally.rows, retries };
    });
  }

  async schemaVersion({
    source,
  }: ReaderTasks['schemaVersion']['request']): Promise<ReaderTasks['schemaVersion']['response']> {
    return await this.#on(source, async (connection) => {
      const tally = new RowTally();
      const { version } = await readVersion(tally.overBatch(connection.batch));
      return { version, sourceRows: tally.rows };
    });
  }

  async count({
    source,
    plan,
  }: ReaderTasks['count']['request']): Promise<ReaderTasks['count']['response']> {
    const where = plan.filter === null ? '' : ` WHERE ${plan.filter}`;
    return await this.#on(source, async (connection) => {
      const rows = await countRows(connection.query, `main.${quoteIdentifier(plan.name)}${where}`);
      return { rows: Math.min(rows, plan.limit?.count ?? rows) };
    });
  }

  async boundary(
    request: ReaderTasks['boundary']['request'],
  ): Promise<ReaderTasks['boundary']['response']> {
    const { source, plan, rows } = request;
    const position = decodePosition(request.position);
    return await this.#on(source, async (connection) => ({
      position: encodePosition(await findBoundary(connection.query, plan, position, rows)),
    }));
  }

  async page(request: ReaderTasks['page']['request']): Promise<LanePage> {
    const { source, plan, spare } = request;
    const before = performance.eventLoopUtilization();
    const position = decodePosition(request.position);
    const bounds = {
      ...request.bounds,
      upTo: decodePosition(request.upTo),
      // The rows behind a limit are no page's.
      ahead: plan.limit === null,
    };
    return await this.#on(source, async (connection, signal) => {
      const entries = (await connection.wire()) && (await this.#entryTaker());
      const builder = new BatchBuilder(plan, this.#checksum, spare ?? undefined, entries);
      const page = await readPage(connection, plan, position, bounds, builder, signal);
      return {
        ...encodedPage(page, builder),
        retries: this.#newRetries(source.session, connection),
        idleShare: 1 - performance.eventLoopUtilization(before).utilization,
      };
    });
  }

  async divisions(
    request: ReaderTasks['divisions']['request'],
  ): Promise<ReaderTasks['divisions']['response']> {
    const { source, plan, parts } = request;
    const position = decodePosition(request.position);
    return await this.#on(source, async (connection) => {
      const tally = new RowTally();
      const found = await findDivisions(tally.over(connection.query), plan, position, parts);
      const boundaries = found.positions.flatMap((each) => laneBoundary(plan, each) ?? []);
      return { boundaries, shareBehind: found.shareBehind, sourceRows: tally.rows };
    });
  }

  async changes(
    request: ReaderTasks['changes']['request'],
  ): Promise<ReaderTasks['changes']['response']> {
    const { source, tables, bounds } = request;
    return await this.#on(source, async (connection, signal) => {
      const read = async (maxRows: number) =>
        await readInSnapshot(
          connection,
          { ...bounds, maxRows },
          async (query, fitting) => await this.#round(connection, query, tables, fitting),
          signal,
        );
      const round = await withFewerRows(bounds.maxRows, read);
      return { ...round, retries: this.#newRetries(source.session, connection) };
    });
  }

  async cursors({
    source,
    plans,
  }: ReaderTasks['cursors']['request']): Promise<ReaderTasks['cursors']['response']> {
    return await this.#on(source, async ({ query }) => {
      const tally = new RowTally();
      const looks = await lookAt(tally.over(query), plans);
      return { looks, sourceRows: tally.rows };
    });
  }

  async cursorSteps(
    request: ReaderTasks['cursorSteps']['request'],
  ): Promise<ReaderTasks['cursorSteps']['response']> {
    const { source, tables, bounds } = request;
    return await this.#on(source, async (connection, signal) => {
      const steps = await readInSnapshot(
        connection,
        bounds,
        async (query, fitting) =>
          await readCursorSteps(connection, query, tables, fitting, this.#checksum),
        signal,
      );
      return { steps, retries: this.#newRetries(source.session, connection) };
    });
  }

  async rowsByKey(request: ReaderTasks['rowsByKey']['request']): Promise<EncodedPage> {
    const { source, plan, keys, position, bounds } = request;
    return await this.#on(source, async (connection, signal) => {
      const page = await readInSnapshot(
        connection,
        bounds,
        async (query, fitting) =>
          await readRowsByKey(connection, query, plan, keys, position, fitting, this.#checksum),
        signal,
      );
      return { ...page, retries: this.#newRetries(source.session, connection) };
    });
  }

  async lookUp(request: ReaderTasks['lookUp']['request']): Promise<EncodedPage> {
    const { source, plan, keys, position, bounds } = request;
    const checksum = this.#checksum;
    return await this.#on(source, async (connection, signal) => {
      const page = await lookUpRows(connection, plan, keys, position, bounds, checksum, signal);
      return { ...page, retries: this.#newRetries(source.session, connection) };
    });
  }

  async acknowledge(
    request: ReaderTasks['acknowledge']['request'],
  ): Promise<ReaderTasks['acknowledge']['response']> {
    const { source, reader, positions } = request;
    // A file is open for reading only; this is seldom, and has a connection of its own.
    const { ClientConnection } = await import('../source/client-connection.js');
    const { url, authToken, ...options } = source.connection;
    const connection = new ClientConnection({ ...options, url, authToken });
    try {
      await connection.write(
        positions.map(({ log, version }) => acknowledgement(reader, log, version)),
      );
      return {};
    } finally {
      await connection.close();
      if (connection.stored) this.#closedFiles.note();
    }
  }

  /** Reads the tables' changes one after the other, as far as they fit the bounds together. */
  async #round(
    connection: SourceConnection,
    query: Query,
    tables: readonly FollowedTable[],
    bounds: PageBounds,
  ): Promise<Omit<EncodedRound, 'retries'>> {
    const round: (EncodedChanges | null)[] = [];
    let { maxRows, maxBytes } = bounds;
    let complete = true;
    const others = new RowTally();
    const kept = await readKeptChanges(others.over(query));
    for (const { plan, tableId, own, scopes } of tables) {
      if (maxRows <= 0 || maxBytes <= 0) {
        return { changes: round, complete: false, sourceRows: others.rows };
      }
      const builder = new BatchBuilder(plan, this.#checksum);
      const left = { ...bounds, maxRows, maxBytes };
      if (![own, ...scopes].every((window) => isKept(kept, window))) {
        round.push(null);
        continue;
      }
      const tally = new RowTally();
      const found = isScoped(plan)
        ? await readScopedChanges(connection, query, plan, own, scopes, bounds, builder, tally)
        : await readChanges(connection, query, plan, own, left, builder, tally);
      if (found === null) {
        others.add(tally.rows);
        round.push(null);
        continue;
      }
      const batch = builder.finish();
      round.push({
        tableId,
        after: own.after,
        version: found.version,
        scopeVersions: found.scopeVersions,
        batch,
        removed: keysWithoutRows(found.keys, batch),
        rejected: found.page.rejected,
        sourceRows: tally.rows,
      });
      maxRows -= found.count;
      maxBytes -= found.page.bytes;
      complete &&= found.complete;
    }
    return { changes: round, complete, sourceRows: others.rows };
  }

  /** Gives up a session: what it waits for fails at once, and its connection is closed. */
  endSession(session: string): void {
    // A request that was under way to this thread may still arrive, but not for long.
    this.#ended.add(session);
    if (this.#ended.size > ENDED_REMEMBERED) this.#ended.delete(this.#ended.values().next().value!);
    const entry = this.#sessions.get(session);
    if (!entry) return;
    this.#sessions.delete(session);
    entry.abort.abort(new SyncAbortedError());
    void this.#closeConnection(entry);
    // What is under way reads the cache until it notices.
    void entry.tail.then(async () => await (await this.#verify)?.endSession(session));
  }

  /** A native statement cannot be interrupted, and its connection must outlive it. Others are cut at once. */
  async #closeConnection({ connection, tail }: Session): Promise<void> {
    try {
      const opened = await connection;
      if (opened.transport === 'native') await tail;
      await opened.close();
      if (opened.stored) this.#closedFiles.note();
    } catch {
      // Whoever asked for the connection was told why there is none.
    }
  }

  async #on<T>(
    source: SourceRef,
    work: (connection: SourceConnection, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (this.#ended.has(source.session)) throw new SyncAbortedError();
    const session = this.#session(source);
    const { signal } = session.abort;
    const { tail } = session;
    const take = async (): Promise<T> => {
      const connection = await session.connection;
      if (connection.transport === 'native') await tail;
      signal.throwIfAborted();
      return await work(connection, signal);
    };
    const turn = take();
    session.tail = Promise.allSettled([tail, turn]);
    return await untilAborted(turn, signal);
  }

  #newRetries(name: string, connection: SourceConnection): number {
    const session = this.#sessions.get(name);
    if (!session) return 0;
    const retries = connection.retries - session.retriesTold;
    session.retriesTold = connection.retries;
    return retries;
  }

  #session(source: SourceRef): Session {
    let session = this.#sessions.get(source.session);
    if (!session) {
      session = {
        connection: this.#connect(source.connection),
        abort: new AbortController(),
        retriesTold: 0,
        tail: Promise.resolve(),
      };
      this.#sessions.set(source.session, session);
    }
    return session;
  }
}

/**
 * Asks again for half as many rows while the answer is too large for the server. In another snapshot each time: the
 * client ends a transaction whose first statement fails.
 */
async function withFewerRows<T>(
  maxRows: number,
  read: (maxRows: number) => Promise<T>,
): Promise<T> {
  for (;;) {
    try {
      return await read(maxRows);
    } catch (error) {
      const tooLarge = error instanceof SourceError && error.code === 'SOURCE_RESPONSE_TOO_LARGE';
      if (!tooLarge || maxRows === 1) throw error;
      maxRows = Math.floor(maxRows / 2);
    }
  }
}

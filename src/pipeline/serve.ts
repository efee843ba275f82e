import { createRequire } from 'node:module';
import { BroadcastChannel, workerData } from 'node:worker_threads';
import { encodeError } from './error-codec.js';
import { HeldCaches } from './held-caches.js';
import type {
  EncodedPage,
  EncodedRound,
  ReaderTasks,
  SessionEnded,
  SyncReaderTasks,
  TaskMessage,
  TaskResult,
  WriterTasks,
} from './messages.js';
import type { LoadTasks } from '../load/tasks.js';
import type { VerifyTasks } from '../verify/tasks.js';

/** A host: a method for each task. */
export type TaskHandlers<Tasks> = {
  readonly [Name in keyof Tasks]: (
    request: Tasks[Name] extends { readonly request: infer Request } ? Request : never,
  ) => unknown;
};

export type PiscinaHandler<Tasks> = (message: TaskMessage<Tasks>) => Promise<unknown>;

/** The piscina handler of a reader thread. Batches are moved out. */
export function serveReader(
  host: TaskHandlers<SyncReaderTasks> & {
    readonly load: TaskHandlers<LoadTasks>;
    verify(): Promise<TaskHandlers<VerifyTasks>>;
  },
): PiscinaHandler<ReaderTasks> {
  const hostOf = async (task: string): Promise<object> => {
    if (task in host) return host;
    return task in host.load ? host.load : await host.verify();
  };
  return serve(hostOf, (response) => {
    const { batch, changes, steps } = response as Partial<EncodedPage & EncodedRound & Steps>;
    const batches = batch ? [batch] : (changes ?? steps ?? []).flatMap((each) => each?.batch ?? []);
    return batches.flatMap(({ arena, spans }) => [arena, spans]);
  });
}

/** The piscina handler of a writer thread. The memory of batches is moved back. */
export function serveWriter(host: TaskHandlers<WriterTasks>): PiscinaHandler<WriterTasks> {
  return serve(
    () => host,
    (response) => {
      const { spare, batch } = response as Partial<
        WriterTasks['write']['response'] & WriterTasks['absentKeys']['response']
      >;
      const memory = spare ?? batch;
      return memory ? [memory.arena, memory.spans] : [];
    },
  );
}

type Steps = ReaderTasks['cursorSteps']['response'];

/**
 * Makes a piscina handler of hosts, each of which has a method for each of its tasks. Errors come back as values, because
 * piscina drops their fields; memory named by `transfer` is moved, not copied.
 */
function serve<Tasks>(
  hostOf: (task: string) => object | Promise<object>,
  transfer: (response: object) => ArrayBuffer[],
): PiscinaHandler<Tasks> {
  return async (message) => {
    let result: TaskResult<object>;
    let moved: ArrayBuffer[] = [];
    try {
      const task = String(message.task);
      const host = (await hostOf(task)) as Record<string, (request: object) => unknown>;
      const response = (await host[task]!(message.request as object)) as object;
      result = { ok: true, response };
      moved = transfer(response);
    } catch (error) {
      result = { ok: false, error: encodeError(error) };
    }
    if (moved.length === 0) return result;
    const { move, transferableSymbol, valueSymbol } = piscina();
    return move({ [transferableSymbol]: moved, [valueSymbol]: result } as never);
  };
}

/** What a thread that moves no memory does without. */
function piscina(): typeof import('piscina') {
  // Unlike `import` it tries again what could not be loaded: there may have been no free file descriptor.
  return createRequire(import.meta.url)('piscina') as typeof import('piscina');
}

/** Calls back when a session ends. The channel does not keep the thread alive. */
export function onSessionEnded(end: (session: string) => void): void {
  const channel = new BroadcastChannel((workerData as WorkerData).channel);
  channel.onmessage = (event) => end(((event as MessageEvent).data as SessionEnded).session);
  channel.unref();
}

/** The count of the caches that the threads of this one's pool have open. */
export function heldCaches(): HeldCaches {
  return new HeldCaches((workerData as WorkerData).held);
}

/** What every worker of a pool is started with. */
export interface WorkerData {
  /** The name of the broadcast channel on which ended sessions are told. */
  readonly channel: string;
  /** The ES module whose default export handles the thread's tasks. */
  readonly entry: string;
  /** Of {@link HeldCaches}. */
  readonly held: SharedArrayBuffer;
  /** The file of the kernel for loads. */
  readonly kernel: string;
  /** When to load it where no task has come by then. */
  readonly loadAfterMs: number;
  /** Of the thread, beside that of the process. */
  readonly niceness: number;
}

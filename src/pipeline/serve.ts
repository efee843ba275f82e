import { BroadcastChannel, workerData } from 'node:worker_threads';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { encodeError } from './error-codec.js';
import type { SessionEnded, TaskMessage, TaskResult } from './messages.js';

/** A host's methods by task name. */
export type TaskHandlers<Tasks> = {
  readonly [Name in keyof Tasks]: (
    request: Tasks[Name] extends { readonly request: infer Request } ? Request : never,
  ) => unknown;
};

/**
 * Makes a piscina handler of a host. Errors come back as values, because piscina drops their fields; memory named by
 * `transfer` is moved, not copied.
 */
export function serve<Tasks>(
  handlers: TaskHandlers<Tasks>,
  transfer: (response: object) => ArrayBuffer[],
): (message: TaskMessage<Tasks>) => Promise<unknown> {
  return async (message) => {
    let result: TaskResult<object>;
    let moved: ArrayBuffer[] = [];
    try {
      const handler = handlers[message.task] as (request: object) => unknown;
      const response = (await handler(message.request as object)) as object;
      result = { ok: true, response };
      moved = transfer(response);
    } catch (error) {
      result = { ok: false, error: encodeError(error) };
    }
    if (moved.length === 0) return result;
    return move({ [transferableSymbol]: moved, [valueSymbol]: result } as never);
  };
}

/** Calls back when a session ends. The channel does not keep the thread alive. */
export function onSessionEnded(end: (session: string) => void): void {
  const channel = new BroadcastChannel((workerData as WorkerData).channel);
  channel.onmessage = (event) => end(((event as MessageEvent).data as SessionEnded).session);
  channel.unref();
}

/** What every worker of a pool is started with. */
export interface WorkerData {
  /** The name of the broadcast channel on which ended sessions are told. */
  readonly channel: string;
}

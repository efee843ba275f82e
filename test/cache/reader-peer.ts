import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { openCache, type CacheSnapshot } from '../../src/index.js';

/** A reader of a cache in another thread or another process. */
export interface ReaderPeer extends AsyncDisposable {
  ask(question: string): Promise<unknown>;
}

/** Starts a reader elsewhere. */
export async function startReader(
  kind: 'thread' | 'process',
  cacheDir: string,
): Promise<ReaderPeer> {
  const path = fileURLToPath(import.meta.url);
  const peer: Worker | ChildProcess =
    kind === 'thread'
      ? new Worker(path, { argv: ['reader', cacheDir] })
      : fork(path, ['reader', cacheDir]);
  const send = (question: string): void => {
    if (peer instanceof Worker) peer.postMessage(question);
    else peer.send(question);
  };
  const ask = async (question: string): Promise<unknown> =>
    await new Promise((resolve, reject) => {
      const failed = () => reject(new Error(`the reader ended at ${JSON.stringify(question)}`));
      peer.once('exit', failed);
      peer.once('message', (answer: unknown) => {
        peer.off('exit', failed);
        resolve(answer);
      });
      send(question);
    });
  return {
    ask,
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => peer.once('exit', resolve));
      send('end');
      await ended;
    },
  };
}

function serve(cacheDir: string): void {
  const cache = openCache(cacheDir);
  let snapshot: CacheSnapshot | undefined;
  const count = (from: Pick<CacheSnapshot, 'table'>): object => {
    const rows = [...from.table('t').range()];
    return { rows: rows.length, old: rows.filter((row) => row['v'] === 'old').length };
  };
  const answer = (question: string): object => {
    try {
      switch (question) {
        case 'snapshot':
          snapshot = cache.snapshot();
          return { ok: true };
        case 'count in snapshot':
          return count(snapshot!);
        case 'count':
          return count({ table: (name: string) => cache.table(name) } as Pick<
            CacheSnapshot,
            'table'
          >);
        default:
          return { generation: cache.generation };
      }
    } catch (error) {
      return { error: String(error) };
    }
  };
  const onMessage = async (question: string): Promise<void> => {
    if (question !== 'end') {
      if (parentPort) parentPort.postMessage(answer(question));
      else process.send!(answer(question));
      return;
    }
    snapshot?.close();
    await cache.close();
    if (parentPort) parentPort.close();
    else process.disconnect();
  };
  const listen = (question: unknown): void => void onMessage(String(question));
  if (isMainThread) process.on('message', listen);
  else parentPort!.on('message', listen);
}

const [, , role, dir] = process.argv;
if (role === 'reader' && dir !== undefined) serve(dir);

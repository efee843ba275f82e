import { fileURLToPath } from 'node:url';

/** The thread entries. The only place in `src` that names files of `workers`. */
export interface WorkerUrls {
  readonly reader: string;
  readonly writer: string;
}

export const WORKER_URLS: WorkerUrls = {
  reader: new URL('../../workers/reader.js', import.meta.url).href,
  writer: new URL('../../workers/writer.js', import.meta.url).href,
};

/** What piscina loads in each thread. It loads the thread's entry, by `WorkerData`. */
export const THREAD_FILE = fileURLToPath(new URL('../../workers/thread.cjs', import.meta.url));

/** What reader threads load for loads, in WebAssembly. Its source is in `src/load/kernel/assembly`. */
export const KERNEL_FILE = fileURLToPath(new URL('../load/kernel/rows.wasm', import.meta.url));

import type { WorkerUrls } from '../../../src/pipeline/worker-urls.js';

/** The thread entries with faults between. */
export const FAULTY_WORKER_URLS: WorkerUrls = {
  reader: new URL('./reader.js', import.meta.url).href,
  writer: new URL('./writer.js', import.meta.url).href,
};

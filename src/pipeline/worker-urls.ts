/** The thread entries. The only place in `src` that names files of `workers`. */
export interface WorkerUrls {
  readonly reader: string;
  readonly writer: string;
}

export const WORKER_URLS: WorkerUrls = {
  reader: new URL('../../workers/reader.js', import.meta.url).href,
  writer: new URL('../../workers/writer.js', import.meta.url).href,
};

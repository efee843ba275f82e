import type { WriterTasks } from '../src/pipeline/messages.js';
import { serve } from '../src/pipeline/serve.js';
import { WriterHost } from '../src/pipeline/writer-host.js';
import { loadChecksum } from '../src/transform/checksum.js';

const host = new WriterHost({ checksum: await loadChecksum() });

export default serve<WriterTasks>(
  {
    open: (request) => host.open(request),
    prepare: (request) => host.prepare(request),
    write: (request) => host.write(request),
    sweep: (request) => host.sweep(request),
    complete: (request) => host.complete(request),
    close: (request) => host.close(request),
  },
  (response) => {
    const { spare } = response as Partial<WriterTasks['write']['response']>;
    return spare ? [spare.arena, spare.lengths] : [];
  },
);

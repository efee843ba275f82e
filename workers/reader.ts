import { ReaderHost } from '../src/pipeline/reader-host.js';
import type { EncodedPage, ReaderTasks } from '../src/pipeline/messages.js';
import { onSessionEnded, serve } from '../src/pipeline/serve.js';
import { loadChecksum } from '../src/transform/checksum.js';

const host = new ReaderHost({ checksum: await loadChecksum() });
onSessionEnded((session) => host.endSession(session));

export default serve<ReaderTasks>(
  {
    schema: (request) => host.schema(request),
    count: (request) => host.count(request),
    page: (request) => host.page(request),
  },
  (response) => {
    const { batch } = response as Partial<EncodedPage>;
    return batch ? [batch.arena, batch.lengths] : [];
  },
);

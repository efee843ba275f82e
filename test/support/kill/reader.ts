import type { EncodedPage, ReaderTasks } from '../../../src/pipeline/messages.js';
import { ReaderHost } from '../../../src/pipeline/reader-host.js';
import { onSessionEnded, serve } from '../../../src/pipeline/serve.js';
import { connect } from '../../../src/source/open-source.js';
import { loadChecksum } from '../../../src/transform/checksum.js';
import { reachAsync } from './fault.js';
import { WatchedConnection } from './watched-connection.js';

const host = new ReaderHost({
  checksum: await loadChecksum(),
  connect: (config) => new WatchedConnection(connect(config)),
});
onSessionEnded((session) => host.endSession(session));

/** The thread entry `workers/reader.ts` with faults between. */
export default serve<ReaderTasks>(
  {
    schema: (request) => host.schema(request),
    count: (request) => host.count(request),
    page: async (request) => {
      const page = await host.page(request);
      await reachAsync('page:encoded');
      return page;
    },
  },
  (response) => {
    const { batch } = response as Partial<EncodedPage>;
    return batch ? [batch.arena, batch.lengths] : [];
  },
);

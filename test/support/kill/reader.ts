import type { EncodedPage, ReaderTasks } from '../../../src/pipeline/messages.js';
import { ReaderHost } from '../../../src/pipeline/reader-host.js';
import { onSessionEnded, serveReader } from '../../../src/pipeline/serve.js';
import { connect } from '../../../src/source/open-source.js';
import { loadChecksum } from '../../../src/transform/checksum.js';
import { countRowsFetched, reachAsync } from './fault.js';
import { watched, WrappedConnection } from './watched-connection.js';

class WatchedReaderHost extends ReaderHost {
  override async page(request: ReaderTasks['page']['request']): Promise<EncodedPage> {
    const page = await super.page(request);
    countRowsFetched(page.batch.count + page.rejected.length);
    await reachAsync('page:encoded');
    return page;
  }
}

const host = new WatchedReaderHost({
  checksum: await loadChecksum(),
  connect: async (config) => new WrappedConnection(await connect(config), watched),
});
onSessionEnded((session) => host.endSession(session));

/** The thread entry `workers/reader.ts` with faults between. */
export default serveReader(host);

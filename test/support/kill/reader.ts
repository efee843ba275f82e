import type { LoadTasks } from '../../../src/load/tasks.js';
import type { EncodedPage, LanePage, ReaderTasks } from '../../../src/pipeline/messages.js';
import { ReaderHost } from '../../../src/pipeline/reader-host.js';
import { heldCaches, onSessionEnded, serveReader } from '../../../src/pipeline/serve.js';
import { connect } from '../../../src/source/open-source.js';
import { loadChecksum } from '../../../src/transform/checksum.js';
import { countRowsFetched, reachAsync } from './fault.js';
import { watched, WrappedConnection } from './watched-connection.js';

class WatchedReaderHost extends ReaderHost {
  override async page(request: ReaderTasks['page']['request']): Promise<LanePage> {
    const page = await super.page(request);
    countRowsFetched(page.batch.count + page.rejected.length);
    await reachAsync('page:encoded');
    return page;
  }

  override async lookUp(request: ReaderTasks['lookUp']['request']): Promise<EncodedPage> {
    const page = await super.lookUp(request);
    await reachAsync('lookUp:done');
    return page;
  }
}

const host = new WatchedReaderHost({
  checksum: await loadChecksum(),
  held: heldCaches(),
  connect: async (config) => new WrappedConnection(await connect(config), watched),
});
onSessionEnded((session) => host.endSession(session));

function step<Name extends keyof LoadTasks>(
  name: Name,
  work: (request: LoadTasks[Name]['request']) => Promise<LoadTasks[Name]['response']>,
): (request: LoadTasks[Name]['request']) => Promise<LoadTasks[Name]['response']> {
  return async (request) => {
    const response = await work(request);
    if ('spooled' in response) countRowsFetched(response.spooled?.rows ?? 0);
    await reachAsync(`${name}:done`);
    return response;
  };
}

const serve = serveReader(host);
const { load } = host;
const serveLoad = serveReader({
  verify: async () => await host.verify(),
  load: {
    outline: step('outline', (request) => load.outline(request)),
    spool: step('spool', (request) => load.spool(request)),
    pack: step('pack', (request) => load.pack(request)),
  },
} as never);

/** The thread entry `workers/reader.ts` with faults between. */
export default (async (message) =>
  await (message.task in load ? serveLoad : serve)(message)) satisfies typeof serve;

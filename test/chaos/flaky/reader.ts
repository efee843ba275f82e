import { SourceError } from '../../../src/errors.js';
import { ReaderHost } from '../../../src/pipeline/reader-host.js';
import { heldCaches, onSessionEnded, serveReader } from '../../../src/pipeline/serve.js';
import { connect } from '../../../src/source/open-source.js';
import { loadChecksum } from '../../../src/transform/checksum.js';
import { WrappedConnection } from '../../support/kill/watched-connection.js';
import { statementIsCut } from './countdowns.js';

const host = new ReaderHost({
  checksum: await loadChecksum(),
  held: heldCaches(),
  connect: async (config) =>
    new WrappedConnection(await connect(config), (query) => async (sql, params) => {
      if (statementIsCut()) {
        throw new SourceError('SOURCE_UNAVAILABLE', 'The connection was cut by the test.');
      }
      return await query(sql, params);
    }),
});
onSessionEnded((session) => host.endSession(session));

/** The thread entry `workers/reader.ts` with connections that are cut. */
export default serveReader(host);

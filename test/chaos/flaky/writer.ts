import { serveWriter } from '../../../src/pipeline/serve.js';
import { openGeneration, WriterHost } from '../../../src/pipeline/writer-host.js';
import { loadChecksum } from '../../../src/transform/checksum.js';
import { watchEnvironment } from '../../support/kill/watched-environment.js';
import { transactionFails } from './countdowns.js';

const host = new WriterHost({
  checksum: await loadChecksum(),
  openEnvironment: (generation) => {
    const environment = openGeneration(generation);
    watchEnvironment(environment, (step) => {
      if (step === 'before-commit' && transactionFails()) {
        throw new Error('the transaction was failed by the test');
      }
    });
    return environment;
  },
});

/** The thread entry `workers/writer.ts` with transactions that fail. */
export default serveWriter(host);

import { serveWriter } from '../../src/pipeline/serve.js';
import { WriterHost } from '../../src/pipeline/writer-host.js';
import { loadChecksum } from '../../src/transform/checksum.js';
import { losing } from './faulty-threads.js';

/** The thread entry `workers/writer.ts`, which may be lost. */
export default serveWriter(losing(new WriterHost({ checksum: await loadChecksum() })));
